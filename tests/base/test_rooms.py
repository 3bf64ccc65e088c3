"""Modules of a room are handed on when they are asked for."""

from __future__ import annotations

import sys

import pytest

from relevance.base.rooms import on_demand
from relevance.studies import carbone


@pytest.fixture
def room(tmp_path, monkeypatch):
    """The face of a made-up package with one module, which nothing has imported."""
    folder = tmp_path / "made_up_room"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from relevance.base.rooms import on_demand\n\n__getattr__ = on_demand(__name__)\n"
    )
    (folder / "words.py").write_text("SAID = 3\n")
    (folder / "broken.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    import made_up_room

    yield made_up_room
    for name in [name for name in sys.modules if name.split(".")[0] == "made_up_room"]:
        del sys.modules[name]


def test_a_module_is_imported_when_it_is_asked_for_and_not_before(room):
    assert "made_up_room.words" not in sys.modules
    assert room.words.SAID == 3
    assert room.words is sys.modules["made_up_room.words"]


def test_a_source_s_room_hands_on_its_modules():
    assert carbone.words.__name__ == "relevance.studies.carbone.words"
    assert on_demand("relevance.studies.carbone")("words") is carbone.words
    assert hasattr(carbone, "claims")


@pytest.mark.parametrize("name", ["nothing", "_words", "__path_of__"])
def test_an_unknown_name_is_named_with_its_room(room, name):
    assert not hasattr(room, name)
    with pytest.raises(AttributeError, match=f"module 'made_up_room' has no attribute '{name}'"):
        getattr(room, name)


def test_a_module_that_cannot_be_imported_is_no_unknown_name(room):
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        hasattr(room, "broken")


def test_a_wrong_name_in_an_import_is_an_import_error():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from relevance.studies.carbone import nothing  # noqa: F401
