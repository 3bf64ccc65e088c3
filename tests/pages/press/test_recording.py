from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from notebooks import RECORDABLE, recordable_project
from oracles import ROOT, chapter_text
from relevance.pages.press import recording
from relevance.pages.press.chapters import BookError
from relevance.pages.press.press import print_book
from relevance.studies import records, repeated

CHAPTER = f"""{RECORDABLE}
```{{code-cell}} ipython3
from relevance.studies import carbone, records

study = carbone.study.Study(
    "digits", n_train=20, n_images=2, hidden=hidden, epochs=2, n_draws=10, n_samples=[5, 10],
    inference={{"warmup": 2, "n_steps": 2}},
)
records.keep(record, "layers", study.table(["FGSM", "top-k"], rules=["epsilon", "gamma"]), study)
```
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one chapter, with its own store and its own recorded tables."""
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    return recordable_project(tmp_path, CHAPTER)


def command(project):
    words = [
        sys.executable,
        "-m",
        "relevance.pages.press.recording",
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


def test_wrong_runs_get_a_sentence(project, capsys):
    assert recording.main(["fast", "--root", str(project)]) == 1
    assert "run is 'fast'; it may be one of: tiny." in capsys.readouterr().err
    (project / "book/runs.yml").write_text(json.dumps({"tiny": {"chapters": {}}}))
    with pytest.raises(BookError, match="run 'tiny' of book/runs.yml must have the parts parameters and chapters"):
        recording.read_runs(project)
    (project / "book/runs.yml").write_text("a: [")
    with pytest.raises(BookError, match="book/runs.yml cannot be read"):
        recording.read_runs(project)


def test_nothing_is_recorded_before_all_is_known_to_be_possible(project, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(recording, "record", lambda root, name, run, into: done.append(name))
    root = ["--root", str(project)]
    assert recording.main(["tiny", "unknown", *root]) == 1
    assert "run is 'unknown'; it may be one of: tiny." in capsys.readouterr().err
    assert recording.main(["tiny", *root, "--into", str(project / "_toc.yml" / "x")]) == 1
    assert "_toc.yml/x'; it must be a folder that can be made and written into." in capsys.readouterr().err
    assert done == []
    assert recording.main(["tiny", *root, "--into", str(project / "new/recorded")]) == 0
    assert done == ["tiny"]


def test_a_check_says_what_differs_and_fails(project, monkeypatch, capsys):
    monkeypatch.setattr(recording, "SMALLEST", "tiny")
    for found, status, said in (
        (["tiny, layers: It has 3 rows."], 1, "It has 3 rows."),
        ([], 0, "tiny is what was recorded"),
    ):
        monkeypatch.setattr(recording, "repeat", lambda *_, found=found: found)
        assert recording.main(["--check", "--root", str(project)]) == status
        assert said in capsys.readouterr().out
    assert recording.main(["tiny", "--check", "--root", str(project)]) == 1
    assert "check repeats tiny beside what is recorded" in capsys.readouterr().err


def test_a_run_is_repeated_beside_what_is_recorded(monkeypatch):
    source = records.folder()

    def record(root, name, run, into):
        shutil.copytree(source / name, into / name)

    monkeypatch.setattr(recording, "record", record)
    assert recording.repeat(ROOT, "digits-small", {}) == []
    monkeypatch.setattr(repeated, "differences", lambda before, after: ["It is another."])
    assert recording.repeat(ROOT, "digits-small", {}) == ["digits-small, layers: It is another."]


@pytest.mark.slow
def test_a_chapter_with_a_damaged_recording_names_the_file(project):
    (project / "data").mkdir()
    shutil.copytree(ROOT / "data/recorded/geometry", project / "data/recorded/geometry")
    (project / "data/recorded/geometry/geometry.json").write_text("[]")
    shown = "from relevance.pages import recorded\nrecorded.Recorded('geometry', 'geometry').theorem()"
    (project / "book/chapter.md").write_text(chapter_text("Shown", shown))
    with pytest.raises(
        BookError, match="ValueError: data/recorded/geometry/geometry.json holds a list, and not names with"
    ):
        print_book(project, profile="paper", chapter="chapter", jobs=1)
