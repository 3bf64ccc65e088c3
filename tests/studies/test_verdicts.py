"""Verdicts: counts of settings that are judged together, and reasons for those that are not."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from oracles import planted_scores
from relevance.studies import verdicts


def cells(*rows):
    return pd.DataFrame(rows, columns=["low", "high", "p_value", "reason"])


HIGH, LOW, SAME, OPEN = (0.03, 0.09, 1e-6, ""), (-0.09, -0.03, 1e-6, ""), (-0.01, 0.01, 0.9, ""), (-0.1, 0.1, 0.9, "")
CHANCE, FEW = (math.nan, math.nan, math.nan, "at chance"), (0.1, 0.2, 1e-9, "too few images")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([HIGH], "higher"),
        ([CHANCE], "not judged: at chance"),
        ([HIGH] * 3, "higher in all 3"),
        ([FEW, CHANCE, FEW], "not judged: too few images (2), at chance (1)"),
        ([HIGH, HIGH, SAME, LOW, CHANCE], "higher in 2 of 5, equivalent in 1, lower in 1; 1 not judged: at chance"),
        ([OPEN, LOW], "lower in 1 of 2, undecided in 1"),
        ([], "not judged: no such setting"),
    ],
)
def test_a_claim_over_settings_is_a_count(rows, told):
    assert verdicts.counted(verdicts.standings(cells(*rows))) == told


def test_settings_of_one_claim_are_judged_together():
    # Alone it is higher; with as many others it is not, and those that are not judged do not count among them.
    alone = (0.03, 0.09, 0.02, "")
    assert verdicts.standings(cells(alone))["standing"].tolist() == ["higher"]
    assert verdicts.standings(cells(alone, *[OPEN] * 2))["standing"].tolist() == ["undecided"] * 3
    assert verdicts.standings(cells(alone, *[CHANCE] * 2))["standing"].tolist() == ["higher", *["not judged"] * 2]
    # What is equivalent is so by its interval alone, whatever the p-value.
    assert verdicts.standings(cells(SAME, (0.001, 0.01, 1e-9, "")))["standing"].tolist() == ["equivalent"] * 2


def test_a_margin_of_its_own():
    wide = cells((-0.1, 0.15, 0.5, ""))
    assert verdicts.standings(wide)["standing"].tolist() == ["undecided"]
    assert verdicts.standings(wide, 0.2)["standing"].tolist() == ["equivalent"]


def test_rows_keep_their_index():
    found = verdicts.standings(cells(HIGH, CHANCE, LOW).set_axis([7, 3, 5]))
    assert found["standing"].to_dict() == {7: "higher", 3: "not judged", 5: "lower"}


def test_one_run_is_said_and_so_is_noise():
    judged = verdicts.standings(cells(HIGH, SAME))
    assert verdicts.verdict(judged, "").verdict == "higher in 1 of 2, equivalent in 1 (one run)"
    assert verdicts.verdict(judged.assign(n_runs=5), "").verdict == "higher in 1 of 2, equivalent in 1"
    assert verdicts.verdict(judged.assign(n_runs=[5, 1]), "").verdict.endswith("(one run)")
    noisy = judged.assign(n_runs=5, as_noise=["", "deterministic"])
    assert verdicts.verdict(noisy, "").verdict == "higher in 1 of 2, equivalent in 1; as noise in 1"
    nothing = verdicts.untold("There is none.")
    assert nothing[:2] == ("not judged: no such setting", "There is none.")
    assert nothing.cells.empty


@pytest.mark.parametrize(
    ("shift", "told"),
    [
        (0.03, "higher in all 4"),
        (-0.03, "lower in all 4"),
        (0.0, "equivalent in all 4"),
        (lambda attack, layer: 0.1 if layer == "5" else -0.1, "higher in 2 of 4, lower in 2"),
    ],
)
def test_a_difference_that_was_planted_in_five_runs_is_found(shift, told):
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": shift}, runs=5, spread=0.004)
    found = verdicts.is_more_robust(planted, "deterministic", "Bayesian, 100")
    assert found.verdict == told
    assert f"Scaled: {told}." in found.evidence
    assert f"Where the prediction stayed: {told}." in found.evidence
    assert "Of 5 runs of each model, which make up to" in found.evidence


def test_the_spread_of_runs_makes_a_difference_undecided():
    models = {"deterministic": 0.0, "Bayesian, 100": 0.03}
    once = planted_scores(models, runs=1, spread=0.06)
    assert verdicts.is_more_robust(once, "deterministic", "Bayesian, 100").verdict.endswith("(one run)")
    several = planted_scores(models, runs=5, spread=0.06)
    assert verdicts.is_more_robust(several, "deterministic", "Bayesian, 100").verdict == "undecided in all 4"


def test_settings_without_a_reason_are_judged_and_those_with_one_are_shown():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1})
    blind = (planted["model"] == "Bayesian, 100") & (planted["attack"] == "PGD") & (planted["image"] % 4 == 0)
    found = verdicts.is_more_robust(planted.assign(gradient_is_zero=blind), "deterministic", "Bayesian, 100")
    assert found.verdict == "higher in 2 of 4; 2 not judged: nothing to follow (one run)"
    shown = found.cells.set_index("attack")
    assert (shown.loc["PGD", "standing"] == "not judged").all()
    assert np.allclose(shown["mean"], 0.1, atol=0.02)


def test_noise_is_no_setting():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, attacks=("FGSM", "noise"))
    assert set(verdicts.judged(planted, "deterministic", "Bayesian, 100")["attack"]) == {"FGSM"}


def test_of_one_image_there_is_no_difference():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1})
    found = verdicts.is_more_robust(planted[planted["image"] == 0], "deterministic", "Bayesian, 100")
    assert found.verdict == "not judged: too few images"
    assert found.evidence.startswith("There are too few images for a difference.")


def test_nothing_is_said_of_a_posterior_whose_chains_have_not_converged(monkeypatch):
    cells = pd.DataFrame({"standing": ["higher", "not judged"], "reason": ["", "at chance"], "n_runs": 5})
    given = verdicts.verdict(cells, "numbers")
    told = {}
    monkeypatch.setattr(
        verdicts.records, "provenance", lambda run, experiment: {"posteriors": {"Bayesian": {"diagnostics": told}}}
    )
    assert verdicts.of_posterior(given, "a", "layers") is given
    told["certificate"] = "nearly"
    assert verdicts.of_posterior(given, "a", "layers") is given
    for unsure in ({"certificate": "not converged"}, {"rhat_95": 1.8}):
        told.clear()
        told.update(unsure)
        found = verdicts.of_posterior(given, "a", "layers")
        assert list(found.cells["reason"]) == ["chains not converged", "at chance"]
        assert found.verdict == "not judged: chains not converged (1), at chance (1)"
        assert found.evidence == "numbers"
