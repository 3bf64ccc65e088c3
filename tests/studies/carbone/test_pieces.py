"""What is made in pieces is what is made as a whole."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import AbstractContextManager

import pandas as pd
import pytest

from relevance.studies import parallel
from relevance.studies.carbone import pieces, when
from relevance.studies.carbone.study import Study
from relevance.studies.names import DETERMINISTIC
from relevance.studies.store import Store

SIZES = {"n_train": 30, "n_images": 4, "hidden": 4, "epochs": 1, "n_members": 2}
STUDIES = {
    "chains": Study("digits", inference={"warmup": 2, "n_steps": 2}, n_draws=8, n_samples=[2, 8], **SIZES),
    "runs": Study(
        "digits", inference={"warmup": 2, "n_steps": 2}, n_draws=8, n_samples=[2, 4], n_runs=2, seed=1, **SIZES
    ),
    "no chains": Study("digits", method="variational", n_draws=4, n_samples=[4], n_runs=2, **SIZES),
}


class Here(AbstractContextManager):
    """Makes calls at once, in this process and thread, as an executor would elsewhere."""

    def __exit__(self, *_):
        pass

    def __init__(self):
        self.sent = 0

    def submit(self, function, /, *arguments):
        self.sent += 1
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A cluster of this process alone, which is asked for from now on."""
    found = Here()
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "pieces"))
    monkeypatch.setenv("RELEVANCE_CLUSTER", "local:1")
    # What is made elsewhere does not meet what is made here.
    monkeypatch.setattr(pieces, "ThreadPoolExecutor", lambda _: Here())
    monkeypatch.setattr("joblib.externals.loky.get_reusable_executor", lambda *_, **__: found)
    return found


def whole(monkeypatch, tmp_path, function, *arguments, **settings):
    with monkeypatch.context() as alone:
        alone.delenv("RELEVANCE_CLUSTER", raising=False)
        alone.setenv("RELEVANCE_STORE", str(tmp_path / "whole"))
        return function(*arguments, **settings)


def results(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", STUDIES)
def test_a_table_in_pieces_is_the_table_and_of_the_same_results(cluster, tmp_path, monkeypatch, name):
    given = {"rules": ["epsilon", "gamma"], "top_percent": 30}
    wanted = whole(monkeypatch, tmp_path, STUDIES[name].table, ["FGSM", "noise"], **given)
    found = pieces.table(STUDIES[name], ["FGSM", "noise"], **given)
    pd.testing.assert_frame_equal(found, wanted)
    # Nothing that the table does not use, and nothing that was left to whoever asked for it.
    assert results(tmp_path / "pieces") == results(tmp_path / "whole")
    n_sent = cluster.sent
    assert n_sent > 0
    # Once more, and nobody is asked for what is there.
    pd.testing.assert_frame_equal(pieces.table(STUDIES[name], ["FGSM", "noise"], **given), wanted)
    assert cluster.sent == n_sent


def test_after_the_pieces_nothing_is_left_to_compute(cluster, monkeypatch):
    pieces.make([STUDIES["runs"]], ["FGSM"])

    def computed(*_, **__):
        raise AssertionError("it was not made before")

    monkeypatch.setattr("relevance.studies.store._computed", computed)
    STUDIES["runs"].table(["FGSM"])


def test_an_executor_that_is_given_makes_the_pieces(cluster, monkeypatch):
    monkeypatch.delenv("RELEVANCE_CLUSTER")
    pieces.make([STUDIES["runs"]], ["FGSM"], executor=(given := Here()))
    assert given.sent > 0
    assert cluster.sent == 0


def test_only_the_models_that_are_asked_for_are_attacked(cluster):
    pieces.make([STUDIES["chains"]], ["FGSM"], models=[DETERMINISTIC])
    assert len(list(Store().folder.glob("perturbed-*"))) == 1


def test_a_crossing_in_pieces_is_the_crossing(cluster, tmp_path, monkeypatch):
    given = (STUDIES["runs"], [{"prior_scale": 0.5}], [30, 20], ["FGSM"])
    wanted = whole(monkeypatch, tmp_path, when.crossing, *given)
    pd.testing.assert_frame_equal(pieces.crossing(*given), wanted)


def test_without_a_cluster_nothing_is_made_beforehand(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    monkeypatch.delenv("RELEVANCE_CLUSTER", raising=False)
    monkeypatch.setattr(parallel, "made_elsewhere", None)
    assert len(pieces.table(STUDIES["no chains"], ["noise"])) > 0
