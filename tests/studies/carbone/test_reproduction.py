"""The book's answer to every sentence of the paper: complete, and derived from the recorded tables."""

from __future__ import annotations

import pytest
import yaml

from oracles import ROOT, chapters
from relevance.studies.carbone import claims, reproduction, source


@pytest.mark.slow
@pytest.mark.parametrize("part", [reproduction.figures, reproduction.claimed, reproduction.theory, reproduction.tables])
def test_no_row_without_a_verdict_and_a_reason(part):
    rows = part()
    assert len(rows)
    assert (rows["verdict"].str.len() > 0).all()
    unsure = rows[~rows["verdict"].isin(["built", "used"])]
    assert (unsure["evidence"].str.len() > 0).all()
    labels = "\n".join(chapter.source for chapter in chapters().values())
    assert all(f"({label})=" in labels for label in rows["chapter"])


def test_every_panel_and_every_claim_is_there():
    assert list(reproduction.figures().index) == [f"Figure {panel.figure}" for panel in source.FIGURES]
    assert set(reproduction.claimed().index) == {claim.text for claim in claims.CLAIMS.values()}


def test_every_run_of_the_book_is_one_that_can_be_recorded():
    runs = yaml.safe_load((ROOT / "book/runs.yml").read_text())
    assert set(reproduction.RUNS.values()) <= runs.keys()
    for name, run in runs.items():
        for chapter, own in run["chapters"].items():
            resolved = chapters()[chapter].resolved({**run["parameters"], **(own or {}), "record": name})
            assert resolved["record"] == name
