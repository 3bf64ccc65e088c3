from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from relevance.base import environment
from relevance.base.environment import chosen_device


def test_the_data_folder_is_the_project_s_also_from_a_chapter_s(tmp_path, monkeypatch):
    (tmp_path / "book/method").mkdir(parents=True)
    (tmp_path / "_toc.yml").touch()
    monkeypatch.delenv("RELEVANCE_DATA", raising=False)
    monkeypatch.chdir(tmp_path / "book/method")
    assert environment.data_root() == tmp_path / "data"


def test_devices_are_named_or_refused(monkeypatch):
    assert chosen_device("cpu") == torch.device("cpu")
    for wanted in ("gpu", "mps", "meta"):
        with pytest.raises(ValueError, match=f"device is '{wanted}'; it may be cpu, cuda or cuda:N"):
            chosen_device(wanted)
    monkeypatch.setenv("RELEVANCE_DEVICE", "cuda:99")
    with pytest.raises(ValueError, match="RELEVANCE_DEVICE is 'cuda:99', but this machine has"):
        chosen_device(None)


@pytest.fixture
def variables(monkeypatch):
    """The environment, empty, in a dictionary that is thrown away. (Into the true one, pytest writes.)"""
    found = {}
    monkeypatch.setattr("relevance.base.environment.os", SimpleNamespace(environ=found))
    return found


@pytest.mark.parametrize(
    ("value", "show", "hidden"), [("0", True, True), ("1", True, False), (None, True, False), (None, False, True)]
)
def test_bars_are_hidden_where_nobody_watches(variables, value, show, hidden):
    if value is not None:
        variables["RELEVANCE_PROGRESS"] = value
    with environment.bar(3, "walk", "step", show=show) as shown:
        assert bool(shown.disable) == hidden
        shown.update(2)
    if not hidden:
        assert (shown.n, shown.total, shown.desc, shown.unit) == (2, 3, "walk", "step")


ROOTS = {"RELEVANCE_STORE": (environment.store_root, "_build/store"), "RELEVANCE_DATA": (environment.data_root, "data")}


@pytest.mark.parametrize(("name", "root", "usual"), [(name, *how) for name, how in ROOTS.items()], ids=list(ROOTS))
def test_a_folder_follows_its_variable_and_else_lies_in_the_project(
    tmp_path, monkeypatch, variables, name, root, usual
):
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)
    assert root() == tmp_path / usual
    for chosen in (tmp_path / "elsewhere", Path("near")):
        variables[name] = str(chosen)
        assert root() == chosen
    variables[name] = ""
    assert root() == tmp_path / usual


def test_a_relative_data_folder_is_made_absolute_once(tmp_path, monkeypatch, variables):
    monkeypatch.chdir(tmp_path)
    environment.settle_data_root()
    assert variables == {}
    variables["RELEVANCE_DATA"] = "near/../images"
    environment.settle_data_root()
    assert variables == {"RELEVANCE_DATA": str(tmp_path.resolve() / "images")}
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    environment.settle_data_root()
    assert environment.data_root() == tmp_path.resolve() / "images"


def test_a_process_whose_bars_are_read_shows_them(variables):
    variables.update(RELEVANCE_PROGRESS="0", RELEVANCE_PRINTING="1", HOME="/")
    found = environment.with_progress()
    assert found == {"RELEVANCE_PRINTING": "1", "HOME": "/"}
    found["HOME"] = "elsewhere"
    assert variables == {"RELEVANCE_PROGRESS": "0", "RELEVANCE_PRINTING": "1", "HOME": "/"}


def test_who_prints_has_no_bars_and_no_widgets_until_it_is_done(variables):
    assert not environment.printing()
    with environment.pages_printed(2):
        assert variables == {
            "RELEVANCE_PROGRESS": "0", "RELEVANCE_PRINTING": "1", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2",
        }  # fmt: skip
        assert environment.printing()
    assert variables == {}


def test_printing_does_not_override_what_is_set(variables):
    given = {"RELEVANCE_PROGRESS": "1", "RELEVANCE_PRINTING": "", "OMP_NUM_THREADS": "3"}
    variables.update(given)
    with environment.pages_printed(2):
        assert variables == given | {"MKL_NUM_THREADS": "3"}
        assert not environment.printing()
    assert variables == given


def test_the_public_clone_is_that_of_the_variable(variables):
    assert environment.repository() is None
    variables["RELEVANCE_REPOSITORY"] = "https://example.org/a/b"
    assert environment.repository() == "https://example.org/a/b"


@pytest.mark.parametrize("device", ["gpu", 1.5, ["cpu"]], ids=repr)
def test_what_is_no_device_gets_a_sentence(device):
    with pytest.raises(ValueError, match="device is .*; it may be cpu, cuda or cuda:N"):
        environment.chosen_device(device)
