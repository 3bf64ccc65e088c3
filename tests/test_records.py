"""Recorded runs: written as they are, read as they were, repeated with the same numbers, and finished after any kill."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from notebooks import HEAD
from oracles import MOST
from relevance import recording, records, studies
from relevance.chapters import BookError

ROOT = Path(__file__).parents[1]
CHAPTER = f"""{HEAD}
```{{code-cell}} ipython3
:tags: [parameters]

hidden = 8
record = ""
```

```{{code-cell}} ipython3
from relevance import records, studies

study = studies.Study(
    "digits", n_train=20, n_images=2, hidden=hidden, epochs=2, n_draws=10, n_samples=[5, 10],
    inference={{"warmup": 2, "n_steps": 2}},
)
records.keep(record, "layers", study.table(["FGSM", "top-k"], rules=["epsilon", "gamma"]), study)
```
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one chapter, with its own store and its own recorded tables."""
    (tmp_path / "book/profiles").mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/chapter\n")
    (tmp_path / "book/chapter.md").write_text(CHAPTER)
    (tmp_path / "book/profiles/paper.yml").write_text("common: {}\n")
    run = {"parameters": {"hidden": 8}, "chapters": {"chapter": None}}
    (tmp_path / "book/runs.yml").write_text(yaml.safe_dump({"tiny": run}))
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    return tmp_path


def command(project):
    words = [
        sys.executable,
        "-m",
        "relevance.recording",
        "tiny",
        "--root",
        str(project),
        "--into",
        str(project / "recorded"),
    ]
    return subprocess.Popen(words, cwd=project, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            start_new_session=True)  # fmt: skip


def kill_all(process):
    """End the process, and the kernels that it started, as a loss of power would."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_run_killed_three_times_finishes_with_the_same_table(project, tmp_path_factory):
    unbroken = command(project)
    _, errors = unbroken.communicate(timeout=300)
    assert unbroken.returncode == 0, errors
    wanted = (project / "recorded/tiny/layers.csv.xz").read_bytes()
    n_results = len([path for path in (project / "store").iterdir() if path.is_dir()])

    for folder in ("recorded", "store", "_build"):
        shutil.rmtree(project / folder)
    for kill in range(1, 4):
        process = command(project)
        # Until some more of the results are there, wherever it then is.
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            done = [path for path in project.glob("store/*") if path.is_dir()]
            if len(done) >= kill * n_results // 4:
                break
            time.sleep(random.Random(kill).uniform(0.01, 0.05))
        assert process.poll() is None
        kill_all(process)
        assert not (project / "recorded/tiny/layers.csv.xz").exists()
    last = command(project)
    _, errors = last.communicate(timeout=300)
    assert last.returncode == 0, errors
    assert (project / "recorded/tiny/layers.csv.xz").read_bytes() == wanted


# Standard deviations of the median score over the images of digits-small, each the largest of its kind. From training to training
# on images that are changed in their last digits, as another CPU's rounding would (4 trainings): of plain and hardened networks.
OF_TRAINING = 0.0055
# From chain to chain with seeds of their own (8 chains): of 20 draws, which are few, by the layer that is explained.
OF_CHAIN = {"noise": dict.fromkeys("135", 0.006), "attack": {"1": 0.017, "3": 0.046, "5": 0.031}}


@pytest.mark.stochastic
def test_a_recorded_run_repeated_from_scratch_gives_its_medians(tmp_path, monkeypatch):
    """The chain that was recorded and this one are two of many, each with its own error; and tables have three decimals."""
    if "digits-small" not in records.runs("layers"):
        pytest.skip("digits-small is not recorded")
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    settings = records.provenance("digits-small", "layers")["settings"]
    recorded = records.read_run("digits-small", "layers")
    again = studies.Study(**settings).table(list(recorded["attack"].unique()))
    keys = ["model", "attack", "layer"]
    # What no training has a part in is the same.
    for column in ("image", "label", "n_samples"):
        assert again[column].tolist() == recorded[column].tolist()
    anew, before = (table.groupby(keys)["lrp_robustness"].median() for table in (again, recorded))
    assert anew.index.equals(before.index)
    for model, attack, layer in before.index:
        kind = OF_CHAIN["noise" if attack == "noise" else "attack"]
        error = kind[layer] if model.startswith(studies.BAYESIAN) else OF_TRAINING
        off = anew[model, attack, layer] - before[model, attack, layer]
        assert abs(off) < MOST * 2**0.5 * error + 0.5e-3, (model, attack, layer)


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    return studies.Study("digits", n_train=60, n_images=10, hidden=4, epochs=1, n_draws=2, n_samples=(2,),
                         inference={"warmup": 1, "n_steps": 1})  # fmt: skip


def test_what_is_kept_is_read_as_it_was(study, tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)  # which is now the project
    table = study.table(["FGSM"])
    records.keep("", "layers", table, study)
    assert not (tmp_path / records.FRESH).exists()
    records.keep("some-run", "layers", table, study)
    shutil.copytree(tmp_path / records.FRESH, tmp_path / "data/recorded")
    found = records.read_run("some-run", "layers")
    pd.testing.assert_frame_equal(found[table.columns], table, atol=2e-3, check_dtype=False)
    story = records.provenance("some-run", "layers")
    assert story["settings"]["n_train"] == 60
    assert story["posteriors"]["Bayesian"]["method"] == "hmc"
    assert story["seconds"] > 0
    assert len(story["data"]["digest"]) == 32
    with pytest.raises(ValueError, match="run is 'other'; it may be one of: some-run"):
        records.read_run("other", "layers")


def test_wrong_runs_get_a_sentence(project, capsys):
    assert recording.main(["fast", "--root", str(project)]) == 1
    assert "run is 'fast'; it may be one of: tiny." in capsys.readouterr().err
    (project / "book/runs.yml").write_text(json.dumps({"tiny": {"chapters": {}}}))
    with pytest.raises(BookError, match="run 'tiny' of book/runs.yml must have the parts parameters and chapters"):
        recording.read_runs(project)
    (project / "book/runs.yml").write_text("a: [")
    with pytest.raises(BookError, match="book/runs.yml cannot be read"):
        recording.read_runs(project)
