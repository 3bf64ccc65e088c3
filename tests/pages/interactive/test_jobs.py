from __future__ import annotations

import time

import pytest

from relevance.pages.interactive.jobs import Newest, Training
from relevance.studies.carbone import study
from relevance.studies.carbone.study import Study


@pytest.mark.slow
def test_a_training_that_fails_says_its_last_line(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    training = Training(study.Study("no such data"), lambda *_: None)
    with pytest.raises(RuntimeError, match="The training failed: ValueError: .*'no such data'"):
        training.wait()


@pytest.mark.slow
def test_a_training_leaves_its_models_in_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    study = Study(
        "digits", n_train=100, hidden=4, epochs=2, n_draws=2, n_samples=(2,), inference={"warmup": 2, "n_steps": 2}
    )
    assert not study.is_trained
    seen = []
    assert Training(study, lambda title, share: seen.append(share)).wait()
    assert study.is_trained
    assert seen[-1] == 1


def test_only_the_newest_is_done():
    done, begun = [], []

    def work(asked):
        begun.append(asked)
        time.sleep(0.2 if asked == 0 else 0)
        done.append(asked)

    newest = Newest(work, failed=done.append)
    newest.ask(0)
    while not begun:
        time.sleep(0.01)
    for asked in (1, 2, 3):
        newest.ask(asked)
    assert newest.settle(10)
    assert done == [0, 3]
    newest.close()
