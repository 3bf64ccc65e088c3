"""A plan says what there is to make, from what was used the last time."""

from __future__ import annotations

import pytest

from notebooks import RECORDABLE, recordable_project
from relevance.pages.press import plans, recording

PIECES = {"hmc-aa": 7200.0, "perturbed-bb": 1.5, "perturbed-cc": 2.5}


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return recordable_project(tmp_path, RECORDABLE)


def left_behind(project, head=None):
    """Leave what a recording leaves."""
    path = plans.list_of(project, "tiny", "chapter")
    path.parent.mkdir(parents=True)
    told = plans.state_of(project)("chapter", {"hidden": 8, "record": "tiny"}) if head is None else head
    path.write_text("\n".join([told, *(f"{name} {seconds:.3f}" for name, seconds in PIECES.items()), "hmc-aa 720"]))


def plan(project):
    (found,) = plans.read(project, recording.read_runs(project))
    return found


def test_of_what_was_never_recorded_nothing_is_known(project):
    assert plan(project).told() == "tiny: chapter: not recorded here yet, so its pieces are not known."
    assert plans.total([plan(project)]).endswith("and 1 chapter(s) of which nothing is known here.")


def test_what_is_kept_is_not_left(project):
    left_behind(project)
    (project / "store/perturbed-cc").mkdir(parents=True)
    found = plan(project)
    assert found.pieces.keys() == PIECES.keys()
    assert found.there == {"perturbed-cc"}
    assert found.is_same
    assert found.missing == pytest.approx(720 + 1.5)
    assert found.told().splitlines() == [
        "tiny: chapter: 3 pieces, 1 of them kept; 12 min of work left",
        "     1 hmc, 12 min when last made",
        "     2 perturbed, 4.0 s when last made",
    ]
    assert plans.total([found, found]) == "left in all: 2 pieces, 12 min of work, one after the other."


def test_what_has_changed_since_is_said(project):
    left_behind(project)
    (project / "book/chapter.md").write_text(RECORDABLE + "\nMore.\n")
    assert "chapter, parameters or library have changed since" in plan(project).told()


@pytest.mark.parametrize("damage", ["", "x", "x\nhmc-aa\nhmc-aa soon\n\n", "\0"])
def test_a_damaged_list_knows_nothing(project, damage):
    left_behind(project)
    plans.list_of(project, "tiny", "chapter").write_text(damage)
    assert plan(project).pieces == {}


def test_a_dry_run_makes_nothing(project, monkeypatch, capsys):
    monkeypatch.setattr(recording, "record", lambda *_: pytest.fail("it recorded"))
    into = project / "recorded"
    assert recording.main(["tiny", "--root", str(project), "--into", str(into), "--dry-run"]) == 0
    assert "left in all: 0 pieces" in capsys.readouterr().out
    assert not into.exists()
