"""The book's answer to every sentence of the paper: complete, and derived from the recorded tables."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import yaml

from oracles import ROOT, chapters
from relevance.inference.certificate import LIMITS, NEARLY
from relevance.studies.carbone import claims, geometry, reproduction, source
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
    tables = {"mnist-why": said, "mnist-why-released": said[said["switch"] != "start"]}
    monkeypatch.setattr(reproduction.records, "runs", lambda experiment=None: list(tables))
    monkeypatch.setattr(reproduction.records, "read_run", lambda run, experiment: tables[run])
    assert reproduction.explained_by(panels["9a"]) == "start (mnist-why alone)"
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
    assert "% in runs with HMC" in told
    assert len(re.findall(r"\d", told.replace("%", ""))) < 8


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


@pytest.fixture
def cases():
    """HMC cases of two sizes on one manifold: nothing is left out of the span; within it, of the larger, much."""
    rows = []
    for count, inside in ((50, 0.0), (800, 0.6)):
        row = {"manifold": "sphere", "method": "hmc", "training points": count, "width": 16, "R-hat": 1.02}
        for part, value in ((geometry.OUTSIDE, 0.001), (geometry.CURVED, inside)):
            row |= {part: value, f"{part}, low": value - 0.01, f"{part}, high": value + 0.01}
        rows.append(row)
    return pd.DataFrame(rows)


def test_the_theorem_is_judged_by_the_largest_case(cases):
    found = reproduction.theorem(cases)
    assert found[geometry.OUTSIDE].startswith("vanishes: sphere 0.00")
    wide = reproduction.theorem(cases.assign(**{f"{geometry.OUTSIDE}, high": 0.2}))
    assert wide[geometry.OUTSIDE].startswith("cannot be told from zero: sphere 0.00")
    assert found[geometry.CURVED].startswith("premise not met: sphere 0.60 [0.59, 0.61], R-hat 1.02")


@pytest.mark.parametrize("rhat", [LIMITS[NEARLY][0], 1.6, np.nan])
def test_the_theorem_is_not_judged_by_chains_that_have_not_converged(cases, rhat):
    unmixed = cases.assign(**{"R-hat": rhat})
    found = reproduction.theorem(unmixed)
    assert all(told.startswith("not judged (chains not converged): sphere") for told in found.values())
    # Of several manifolds, each is judged by its own chains; those of smaller cases decide nothing.
    both = pd.concat([cases, unmixed.assign(manifold="half-moons")])
    assert reproduction.theorem(both)[geometry.OUTSIDE].startswith(
        "vanishes on sphere, not judged (chains not converged) on half-moons: sphere"
    )
    mixed_last = cases.assign(**{"R-hat": [rhat, 1.02]})
    assert reproduction.theorem(mixed_last)[geometry.CURVED].startswith("premise not met: sphere")


def test_the_theorem_s_row_has_the_verdict_that_its_chains_allow(monkeypatch, cases):
    monkeypatch.setattr(reproduction.records, "runs", lambda _: ["geometry"])
    monkeypatch.setattr(reproduction.records, "read_run", lambda *_: cases.assign(**{"R-hat": 1.6}))
    rows = reproduction.theory()
    assert rows.loc[f"Theorem IV.1, {geometry.CURVED}", "verdict"] == "not judged (chains not converged)"
    assert rows.loc[f"Theorem IV.1, {geometry.CURVED}", "evidence"].endswith("R-hat 1.60")


def test_a_run_that_is_smaller_than_the_paper_s_says_in_what():
    settings = {
        "dataset": "mnist", "architecture": "fully_connected", "method": "hmc", "n_images": 500, "hidden": 128, "epochs": 5,
        "n_draws": 100, "inference": {"warmup": 30}, "adversarial": {"epsilon": 0.1}, "epsilon": 0.2,
    }  # fmt: skip
    story = {"settings": settings, "posteriors": {"deterministic": {"n_train": 6000}}}
    found = reproduction.smaller(story)
    assert found[:2] == ["6,000 training images of 60,000", "128 neurons a layer of 512"]
    assert found[-2:] == ["30 draws of warm-up of 100", "adversarial training at size 0.1, attacks at 0.2"]
    assert not any("test images" in text or "posterior draws" in text for text in found)
