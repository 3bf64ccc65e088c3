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

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from notebooks import HEAD
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


def test_a_recorded_run_repeated_from_scratch_gives_its_medians(tmp_path, monkeypatch):
    if "digits-small" not in records.runs("layers"):
        pytest.skip("digits-small is not recorded")
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    settings = records.provenance("digits-small", "layers")["settings"]
    recorded = records.read_run("digits-small", "layers")
    # With another number of threads sums round differently, and a chain that is short goes elsewhere.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        again = studies.Study(**settings).table(list(recorded["attack"].unique()))
    finally:
        torch.set_num_threads(threads)
    generator = np.random.default_rng(0)
    keys = ["model", "attack", "layer"]
    anew = again.groupby(keys)["lrp_robustness"].median()
    for key, part in recorded.groupby(keys):
        scores = part["lrp_robustness"].to_numpy()
        medians = np.median(generator.choice(scores, (1000, len(scores))), axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        assert low - 1e-3 <= anew[key] <= high + 1e-3, key


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
