from __future__ import annotations

import compileall
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from oracles import ROOT, chapter_text
from relevance.pages.press import chapters, press
from relevance.pages.press.press import Press, RecordedReads, print_book, tidy
from relevance.pages.press.reads import Reads

NOTING = """
import os, sys
from pathlib import Path
from relevance.pages.press import reads
folder, log = Path(sys.argv[1]), sys.argv[2]
(folder / "before").read_text()
reads.note(log, [str(folder)])
# Where torch is its CPU build, every Python imports this one when it starts.
started = ("relevance.base", "relevance.base.operators")
assert not [name for name in sys.modules if name.startswith("relevance.base") and name not in started]
(folder / "read").read_text()
(folder / "read").read_text()
os.chdir(folder)
open("relative").close()
os.close(os.open(folder / "by number", os.O_RDONLY))
list((folder / "globbed").glob("*/*"))
os.listdir("listed")
sys.path.insert(0, "")
import helper
(folder / "written").write_text("x")
with open("appended", "a+") as file:
    file.seek(0)
try:
    open("missing")
except OSError:
    pass
Path(sys.argv[3]).read_text()
"""


def test_what_a_process_opens_and_lists_is_noted(tmp_path):
    folder, log, elsewhere = tmp_path / "folder", tmp_path / "log", tmp_path / "folder-beside"
    (folder / "globbed/inner").mkdir(parents=True)
    (folder / "listed").mkdir()
    (folder / "helper.py").touch()
    compileall.compile_file(folder / "helper.py", quiet=1)
    for path in (*(folder / name for name in ("before", "read", "relative", "by number", "appended")), elsewhere):
        path.write_text("content")
    subprocess.run([sys.executable, "-c", NOTING, str(folder), str(log), str(elsewhere)], check=True)
    states = Reads({"here": folder}, []).states(log)
    wanted = {"read", "relative", "by number", "globbed", "globbed/inner", "listed", "appended", "missing", "helper.py"}
    assert states.keys() == {f"here:{name}" for name in wanted}
    assert states["here:missing"] == "missing"


@pytest.fixture
def reads(tmp_path):
    (tmp_path / "a/inner").mkdir(parents=True)
    (tmp_path / "a/file").write_text("1")
    return Reads({"inner": tmp_path / "a/inner", "a": tmp_path / "a"}, [tmp_path / "a/left"])


CHANGES = {
    "content": (lambda folder: (folder / "file").write_text("2"), "a:file"),
    "gone": (lambda folder: (folder / "file").unlink(), "a:file"),
    "come": (lambda folder: (folder / "new").touch(), "a:new"),
    "one more in a folder": (lambda folder: (folder / "new").touch(), "a:."),
    "a folder in its place": (lambda folder: ((folder / "file").unlink(), (folder / "file").mkdir()), "a:file"),
    "in an inner folder": (lambda folder: (folder / "inner/new").touch(), "inner:."),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_was_read_is_seen(reads, tmp_path, change):
    names = ["a:file", "a:new", "a:.", "inner:."]
    states = {name: reads.state(name) for name in names}
    assert reads.are_unchanged(states)
    make, name = CHANGES[change]
    make(tmp_path / "a")
    assert not reads.are_unchanged({name: states[name]})
    assert not reads.are_unchanged({"unknown:file": "missing"})


def test_names_are_of_the_innermost_folder_and_what_does_not_count_is_left_out(reads, tmp_path):
    log = tmp_path / "log"
    paths = [tmp_path / "a/inner/x", tmp_path / "a/file", tmp_path / "a/left/x", tmp_path / "elsewhere"]
    log.write_text("".join(json.dumps(str(path)) + "\n" for path in paths))
    assert list(reads.states(log)) == ["a:file", "inner:x"]
    with pytest.raises(OSError):
        reads.states(tmp_path / "no log")


def test_code_data_sets_and_what_is_built_do_not_count_as_read(book, monkeypatch):
    monkeypatch.delenv("RELEVANCE_STORE", raising=False)
    monkeypatch.chdir(book)
    reads = RecordedReads(book)
    left_out = ["_build/store/x", ".venv/x", ".git/HEAD", "data/MNIST/raw/x"]
    assert all(reads._is_left_out(book / name) for name in left_out)
    assert reads._is_left_out(press.LIBRARY / "base/checks.py")
    counted = [book / name for name in ("data/recorded", "data/recorded/run/layers.json", "book/runs.yml")]
    assert not any(map(reads._is_left_out, [*counted, press.LIBRARY / "pages/static/scene.js"]))


def test_whether_a_table_is_of_older_code_is_part_of_its_storys_state(book, monkeypatch):
    path = book / "data/recorded/run/layers.json"
    path.parent.mkdir(parents=True)
    reads = RecordedReads(book)
    seen = [reads.state("recorded:run/layers.json")]
    for story in ("{}", json.dumps({"code": "now"}), "[]", "[", json.dumps({"code": "older"})):
        path.write_text(story)
        seen.append(reads.state("recorded:run/layers.json"))
    monkeypatch.setattr(press.records, "code_now", lambda experiment, library: "older")
    seen.append(reads.state("recorded:run/layers.json"))
    assert len(set(seen)) == len(seen)


@pytest.mark.slow
def test_a_chapter_is_executed_anew_when_what_it_read_has_changed_and_only_then(book):
    for name in ("digits-small/layers.json", "digits-small/layers.csv.xz", "geometry/geometry.json"):
        (book / "data/recorded" / name).parent.mkdir(parents=True, exist_ok=True)
        (book / "data/recorded" / name).write_bytes((ROOT / "data/recorded" / name).read_bytes())
    code = "from relevance.studies import records\nprint(len(records.read_run('digits-small', 'layers')))"
    (book / "book/two.md").write_text(chapter_text("Two", code))
    (book / "read.txt").write_text("1")
    (book / "book/one.md").write_text(chapter_text("One", "print(open('read.txt').read())"))

    def waiting():
        given = {one.name: one.parameters for one in chapters.read_chapters(book)}
        machine = Press(book)
        return [
            job.chapter.name
            for job in machine.plan(chapters.read_chapters(book), given)
            if not machine._is_finished(job)
        ]

    for chapter in ("one", "two"):
        print_book(book, chapter=chapter)
    assert waiting() == []
    (book / "data/recorded/geometry/geometry.json").write_text("{}")  # not read
    (book / "written.txt").touch()
    assert waiting() == []
    (book / "data/recorded/digits-small/layers.csv.xz").write_bytes(b"")
    assert waiting() == ["two"]
    (book / "read.txt").write_text("2")
    assert waiting() == ["one", "two"]
    print_book(book, chapter="one")
    (book / "data/recorded/digits-small/layers.csv.xz").write_bytes(
        (ROOT / "data/recorded/digits-small/layers.csv.xz").read_bytes()
    )
    assert waiting() == []
    (book / "data/recorded/another").mkdir()
    assert waiting() == ["two"]
    assert not list((book / "_build/executing").rglob("*.reads"))


def test_what_a_killed_build_left_is_taken_away_and_the_book_before_comes_back(tmp_path):
    for name in ("html.old", "rendering/_build", "executing"):
        (tmp_path / "_build" / name).mkdir(parents=True)
        (tmp_path / "_build" / name / "index.html").write_text("old")
    tidy(tmp_path)
    assert sorted(path.name for path in (tmp_path / "_build").iterdir()) == ["html"]
    assert (tmp_path / "_build/html/index.html").read_text() == "old"
    (tmp_path / "_build/html.old").mkdir()
    (tmp_path / "_build/html.old/index.html").write_text("older")
    tidy(tmp_path)
    assert sorted(path.name for path in (tmp_path / "_build").iterdir()) == ["html"]
    assert (tmp_path / "_build/html/index.html").read_text() == "old"


def test_a_build_begins_by_taking_away_what_another_left(book):
    (book / "_build/rendering").mkdir(parents=True)
    (book / "_build/html.old").mkdir()
    with press.alone(book):
        assert not (book / "_build/rendering").exists()
        assert (book / "_build/html").exists()


def test_temporary_folders_of_killed_processes_are_taken_away_and_those_in_use_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("relevance-dead", "relevance-alive", "relevance-begun", "relevance-old", "other-dead"):
        (tmp_path / name).mkdir()
        if name not in ("relevance-begun", "relevance-old"):
            (tmp_path / name / chapters.HELD).touch()
    os.utime(tmp_path / "relevance-old", (0, 0))
    with (tmp_path / "relevance-alive" / chapters.HELD).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with chapters.temporary_folder() as own, chapters.temporary_folder() as another:
            names = {path.name for path in tmp_path.iterdir()}
            assert names == {"relevance-alive", "relevance-begun", "other-dead", own.name, another.name}
    assert not own.exists()


KILLED = """
import os, signal
from relevance.pages.press.chapters import kernel_sockets
with kernel_sockets():
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_build_leaves_no_temporary_folder_for_long(tmp_path, monkeypatch):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with chapters.temporary_folder() as own:
        assert list(tmp_path.iterdir()) == [own]


def test_an_impossible_store_is_said_before_anything_is_executed(book, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", "/proc/x")
    with pytest.raises(ValueError, match="^RELEVANCE_STORE is '/proc/x'; it must be a folder"):
        print_book(book)
    assert not (book / "_build").exists()
    assert Path.cwd() != book
