"""The book's answer to every sentence of the paper: complete, and derived from the recorded tables."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import yaml

from oracles import ROOT, chapters
from relevance.studies import verdicts
from relevance.studies.carbone import claims, reproduction, source
from relevance.studies.verdicts import counted


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


def test_panels_are_explained_by_what_recorded_runs_say(monkeypatch):
    said = pd.DataFrame({"switch": ["start", "KL", "nothing"], "figures": ["4b, 9", "2a, 4a", "14"],
                         "explains": ["yes", "yes", "no"]})  # fmt: skip
    panels = {panel.figure: panel for panel in source.FIGURES}
    monkeypatch.setattr(reproduction.records, "runs", lambda experiment=None: [])
    assert reproduction.explained_by(panels["4b"]) == "not recorded"
    monkeypatch.setattr(reproduction.records, "runs", lambda experiment=None: ["mnist-why"])
    monkeypatch.setattr(reproduction.records, "read_run", lambda run, experiment: said)
    settings = {"dataset": "mnist", "architecture": "fully_connected"}
    monkeypatch.setattr(reproduction.records, "provenance", lambda run, experiment: {"settings": settings})
    found = [reproduction.explained_by(panels[name]) for name in ("4b", "9a", "6")]
    assert found == ["start", "start", ""]
    # A run on other networks says nothing of a panel.
    assert reproduction.explained_by(panels["4a"]) == "not recorded"
    settings["architecture"] = "convolutional"
    found = [reproduction.explained_by(panels[name]) for name in ("4b", "4a", "14a")]
    assert found == ["not recorded", "KL", "nothing found"]


def test_the_settings_of_all_claims_are_counted():
    found = reproduction.claimed_settings()
    rows = reproduction.claimed()
    judged = rows[rows["verdict"] != reproduction.NOT_RECORDED]
    assert set(found["item"]) <= set(judged.index)
    assert ((found["standing"] == "not judged") == (found["reason"] != "")).all()
    told = reproduction.in_short()
    assert f"in {len(found)} settings: " in told
    counts = re.findall(r"(?:higher|equivalent|lower|undecided) in (\d+)", told)
    assert sum(map(int, counts)) == (found["reason"] == "").sum()
    allowed = found[found["reason"] == ""]
    assert f"{(allowed['standing'] != 'undecided').mean():.0%} are decided" in told


def test_the_answer_has_the_shares_of_what_can_be_judged():
    told, found = reproduction.answer(), reproduction.claimed_settings()
    allowed = found[(found["reason"] == "") & ~found["item"].str.contains("beyond noise")]
    agreed = (allowed["standing"] == allowed["says"]).mean()
    assert told.startswith("**Most of" if agreed > 0.5 else "**Less than half of")
    assert f"{agreed:.0%} come out as the claim says" in told
    assert len(re.findall(r"\d", told.replace("%", ""))) < 8


def test_nothing_is_said_of_a_posterior_whose_chains_have_not_converged(monkeypatch):
    cells = pd.DataFrame({"standing": ["higher", "not judged"], "reason": ["", "at chance"], "n_runs": 5})
    given = verdicts.verdict(cells, "numbers")
    told = {}
    monkeypatch.setattr(
        reproduction.records, "provenance", lambda run, experiment: {"posteriors": {"Bayesian": {"diagnostics": told}}}
    )
    assert reproduction.of_posterior(given, "a", "layers") is given
    told["certificate"] = "nearly"
    assert reproduction.of_posterior(given, "a", "layers") is given
    for unsure in ({"certificate": "not converged"}, {"rhat_95": 1.8}):
        told.clear()
        told.update(unsure)
        found = reproduction.of_posterior(given, "a", "layers")
        assert list(found.cells["reason"]) == ["chains not converged", "at chance"]
        assert found.verdict == "not judged: chains not converged (1), at chance (1)"
        assert found.evidence == "numbers"


@pytest.mark.parametrize(
    ("standing", "says", "found"),
    [
        ("higher", "higher", reproduction.AGREES),
        ("equivalent", "equivalent", reproduction.AGREES),
        ("equivalent", "higher", reproduction.NO_DIFFERENCE),
        ("lower", "higher", reproduction.DIFFERS),
        ("higher", "equivalent", reproduction.DIFFERS),
        ("undecided", "higher", "undecided"),
        ("not judged", "higher", "not judged"),
    ],
)
def test_what_a_setting_says_of_its_claim(standing, says, found):
    assert list(reproduction.agreement(pd.DataFrame({"standing": [standing], "says": [says]}))) == [found]


def test_every_run_of_the_book_is_one_that_can_be_recorded():
    runs = yaml.safe_load((ROOT / "book/runs.yml").read_text())
    assert {*reproduction.RUNS.values(), *reproduction.SWITCHED} <= runs.keys()
    for name, run in runs.items():
        for chapter, own in run["chapters"].items():
            resolved = chapters()[chapter].resolved({**run["parameters"], **(own or {}), "record": name})
            assert resolved["record"] == name


def test_the_settings_of_a_claim_are_those_that_its_verdict_counts():
    cells = reproduction.settings_of("bayesian", "mnist-dense")
    (row,) = reproduction.claimed("layers").reset_index().query("run == 'mnist-dense'").to_dict("records")[:1]
    assert row["verdict"].startswith(counted(cells))
    assert reproduction.settings_of("bayesian", "no-such-run").empty
    assert set(reproduction.claimed("cifar10")["run"]) == {"cifar10-residual"}
