"""What is given to make reaches the program as it was typed, and nothing of it is run."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess

import pytest

from campaign.sentences import assert_sentence
from oracles import ROOT
from relevance.pages.press import __main__ as press
from relevance.pages.press import recording
from relevance.pages.press.parameters import assignments
from relevance.pages.press.press import print_book

pytestmark = pytest.mark.slow

# In place of Python and JupyterLab: it keeps what it was given. Python itself would take a second to start.
STUB = "#!/bin/sh\nenv -0 > told\nprintf '%s' \"$*\" > arguments\n"
TYPED = [
    "$(touch ran)", "`touch ran`", "$(shell touch ran)", "${shell touch ran}", "x; touch ran", "x' ; touch ran; '",
    'x" ; touch ran; "', "x && touch ran", "x | touch ran", "x > ran", "$$(touch ran)", "attacks=['FGSM']",
    'a=["PGD", "noise"]', "a='b c' d=\"e\"", "$HOME $$HOME ${HOME}", "# no comment", "back\\slash", "two\nlines", "50% *?[a]",
    "größer 'ähnlich'", "(x, y)", "$(error stop)", "$(eval X := $(shell touch ran))", "--help", "-n",
]  # fmt: skip
# A target and a variable that it hands on.
HANDED = [("chapter", "CHAPTER"), ("chapter", "PARAMETERS"), ("chapter", "DATASET"), ("book", "PARAMETERS"),
          ("book", "PROFILE"), ("book", "DATASET"), ("record", "RUNS")]  # fmt: skip
# The same from the environment that make is started in.
INHERITED = [("chapter", "PARAMETERS"), ("record", "RUNS")]


@pytest.fixture
def project(tmp_path):
    """A project of the Makefile alone, with a stub for what it starts."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/install.sh").touch()
    os.utime(tmp_path / "requirements/install.sh", (0, 0))
    (tmp_path / "book").mkdir()
    (tmp_path / "book/explore.md").touch()
    folder = tmp_path / ".venv/bin"
    folder.mkdir(parents=True)
    (tmp_path / ".venv/.installed").touch()
    for name in ("python", "jupyter"):
        (folder / name).write_text(STUB)
        (folder / name).chmod(0o755)
    return tmp_path


def make(project, *arguments, **environment):
    known = {name: value for name, value in os.environ.items() if not name.startswith(("RELEVANCE_", "MAKE"))}
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=project, env=known | environment, capture_output=True, text=True, timeout=20, check=False
    )


def told(project):
    """What the program found in its environment."""
    return dict(line.split("=", 1) for line in (project / "told").read_text().split("\0") if line)


@pytest.mark.parametrize(("how", "typed"), list(itertools.product(HANDED, TYPED)))
def test_what_is_typed_arrives_as_it_is(project, how, typed):
    target, variable = how
    done = make(project, target, f"{variable}={typed}")
    assert done.returncode == 0, done.stderr
    assert told(project)[f"RELEVANCE_{variable}"] == typed
    assert not (project / "ran").exists()


@pytest.mark.parametrize(("how", "typed"), list(itertools.product(INHERITED, TYPED)))
def test_what_is_inherited_arrives_as_it_is(project, how, typed):
    target, variable = how
    done = make(project, target, **{variable: typed})
    assert done.returncode == 0, done.stderr
    assert told(project)[f"RELEVANCE_{variable}"] == typed
    assert not (project / "ran").exists()


@pytest.mark.parametrize("variable", ["RELEVANCE_DATA", "RELEVANCE_DEVICE", "PYTHON"])
@pytest.mark.parametrize("typed", TYPED)
def test_what_the_program_reads_itself_arrives_as_it_is(project, variable, typed):
    done = make(project, "book", f"{variable}={typed}")
    assert done.returncode == 0, done.stderr
    assert told(project)[variable] == typed
    assert not (project / "ran").exists()


@pytest.mark.parametrize("variable", ["CHAPTER", "RELEVANCE_DATA"])
@pytest.mark.parametrize("typed", TYPED)
def test_nothing_is_run_on_the_way_to_the_laboratory(project, variable, typed):
    done = make(project, "lab", f"{variable}={typed}")
    assert not (project / "ran").exists()
    if variable == "CHAPTER":
        assert done.returncode != 0
        assert f"make: there is no chapter {typed}; _toc.yml lists them" in done.stderr
        assert not (project / "told").exists()


def test_the_laboratory_opens_the_playground_if_no_chapter_is_named(project):
    assert make(project, "lab").returncode == 0
    assert (project / "arguments").read_text().endswith("--LabApp.default_url=/lab/tree/book/explore.md")


@pytest.mark.parametrize(
    "name", ["epsilon", "CHAPTERS", "profile", "n_images", "RELEVANCE_CHAPTER", "PY", "VENV", "SHELL"]
)
def test_a_variable_that_nobody_reads_is_named(project, name):
    done = make(project, "book", f"{name}=$(shell touch ran)")
    assert done.returncode != 0
    assert f"{name}: not a variable of this Makefile" in done.stderr
    assert not (project / "ran").exists()


def test_a_chapter_is_not_for_the_book(project):
    done = make(project, "book", "CHAPTER=$(shell touch ran)")
    assert "CHAPTER is for a single chapter: make chapter CHAPTER=$(shell touch ran)" in done.stderr
    assert not (project / "ran").exists()


@pytest.mark.parametrize("text", ["x", "=1", "x y=1", "1", "=", "'a'", "$(touch ran)"])
def test_what_is_no_assignment_gets_a_sentence(text):
    with pytest.raises(press.BookError) as caught:
        assignments(text)
    assert_sentence(caught.value, "name=value")


@pytest.mark.parametrize("text", ["attacks=['FGSM']", 'attacks=["FGSM"]'])
def test_a_list_keeps_its_quotes(text):
    assert assignments(text) == {"attacks": ["FGSM"]}


def test_the_press_does_what_make_was_asked(monkeypatch, tmp_path):
    asked = {"PROFILE": "paper", "DATASET": "mnist", "CHAPTER": "explore", "PARAMETERS": "attacks=['FGSM']"}
    for name, value in asked.items():
        monkeypatch.setenv(f"RELEVANCE_{name}", value)
    calls = []
    monkeypatch.setattr(press, "print_book", lambda root, **given: calls.append(given) or root)
    monkeypatch.setattr(press, "page_of", lambda *_: "page")
    assert press.main(["--root", str(tmp_path)]) == 0
    assert calls == [
        {"profile": "paper", "common": {"dataset": "mnist"}, "chapter": "explore", "parameters": {"attacks": ["FGSM"]},
         "jobs": None}
    ]  # fmt: skip


def test_recording_does_what_make_was_asked(monkeypatch, capsys):
    monkeypatch.setenv("RELEVANCE_RUNS", "$(touch x)")
    assert recording.main(["--root", str(ROOT)]) == 1
    assert "run is '$(touch" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "explorer", "../README", "$(touch ran)", "explore.md", "book/explore"])
def test_an_unknown_chapter_gets_a_sentence(name):
    with pytest.raises(press.BookError) as caught:
        print_book(ROOT, chapter=name)
    assert_sentence(caught.value, "chapter", repr(name), "it may be one of: ")


@pytest.mark.parametrize("name", ["", "quicker", "../quick", "paper.yml", "$(touch ran)"])
def test_an_unknown_profile_gets_a_sentence(name):
    with pytest.raises(press.BookError) as caught:
        print_book(ROOT, profile=name)
    assert_sentence(caught.value, "profile", repr(name), "paper, quick")
