"""Verdicts on planted tables: what holds is said to hold, and what does not is not."""

from __future__ import annotations

import re

import numpy as np
import pytest

from oracles import OF_STUDIES, planted_scores, recorded_tables
from relevance.studies import differences, names, records, tables
from relevance.studies.carbone import claims


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (0.1, "higher in all 4 (one run)"),
        (-0.1, "lower in all 4 (one run)"),
        (0.0, "equivalent in all 4 (one run)"),
        (lambda attack, layer: 0.1 if layer == "5" else -0.1, "higher in 2 of 4, lower in 2 (one run)"),
        (
            lambda attack, layer: 0.1 if (attack, layer) == ("PGD", "5") else 0,
            "higher in 1 of 4, equivalent in 3 (one run)",
        ),
    ],
)
def test_a_planted_difference_is_judged(shift, verdict):
    found = claims.bayesian_is_more_robust(planted_scores({"deterministic": 0.0, "Bayesian, 100": shift}))
    assert found.verdict == verdict


def test_a_gain_that_unrelated_maps_share_is_told_beside_the_score():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, unrelated={"Bayesian, 100": 0.36})
    found = claims.bayesian_is_more_robust(planted)
    # (0.6 - 0.36) / (1 - 0.36) is (0.5 - 0.2) / (1 - 0.2): all of the gain is in the floor.
    assert found.verdict == "higher in all 4 (one run)"
    assert "Scaled: equivalent in all 4." in found.evidence
    worse = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, unrelated={"Bayesian, 100": 0.5})
    assert "Scaled: lower in all 4." in claims.bayesian_is_more_robust(worse).evidence


def test_less_excess_in_much_less_room_is_more_robust():
    # Excess 0.25 of 0.35 beside 0.3 of 0.8.
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.4}, unrelated={"Bayesian, 100": 0.65})
    rows = differences.comparisons(planted, "deterministic", "Bayesian, 100")
    assert np.allclose(rows["scaled"], 0.25 / 0.35 - 0.3 / 0.8, atol=0.01)
    assert (rows["scaled_low"] > 0).all()
    no_room = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.4}, unrelated={"Bayesian, 100": 0.95})
    assert claims.bayesian_is_more_robust(no_room).verdict == "not judged: too little room"


def test_an_attack_that_does_no_more_than_noise_is_named():
    models = {"deterministic": 0.0, "Bayesian, 100": 0.1}
    alike = planted_scores(models, attacks=("FGSM", "noise"))
    found = claims.judge(claims.CLAIMS["bayesian"], alike)
    assert found.verdict == "higher in all 2; as noise in 2 (one run)"
    assert "As noise: deterministic and Bayesian, 100 in 2." in found.evidence
    stronger = {
        name: lambda attack, layer, up=up: up + (0.2 if attack == "noise" else 0) for name, up in models.items()
    }
    found = claims.judge(claims.CLAIMS["bayesian"], planted_scores(stronger, attacks=("FGSM", "noise")))
    assert found.verdict == "higher in all 2 (one run)"
    one = planted_scores({**stronger, "deterministic": 0.0}, attacks=("FGSM", "PGD", "noise"))
    found = claims.judge(claims.CLAIMS["bayesian"], one)
    assert found.verdict == "higher in all 4; as noise in 4 (one run)"
    assert "As noise: deterministic in 4." in found.evidence


@pytest.mark.parametrize(
    ("shift", "verdict", "told"),
    [
        (0.05, "higher in all 4", "Of 4 where it is higher, it is modestly so in 4, and more than modestly in 0."),
        (-0.1, "lower in all 4", "Of 0 where it is higher, it is modestly so in 0, and more than modestly in 0."),
        (0.3, "higher in all 4", "Of 4 where it is higher, it is modestly so in 0, and more than modestly in 4."),
        (lambda attack, layer: 0.05 if attack == "PGD" else 0.3, "higher in all 4", "modestly so in 2, and more than"),
    ],
)  # fmt: skip
def test_a_modest_improvement_is_told_from_none_and_from_a_large_one(shift, verdict, told):
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": shift})
    found = claims.improvement_is_modest(planted)
    assert found.verdict == f"{verdict} (one run)"
    assert told in found.evidence


def test_the_most_and_the_fewest_samples_are_compared():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.2, "Bayesian, 10": 0.1})
    assert names.most_samples(planted) == "Bayesian, 100"
    assert claims.more_samples_help(planted).verdict == "higher in all 4 (one run)"
    alone = claims.more_samples_help(planted[planted["model"] != "Bayesian, 10"])
    assert alone[:2] == ("not judged: no such setting", "Not testable: Bayesian, 100 is the only Bayesian model here.")
    with pytest.raises(ValueError, match="none of them is Bayesian"):
        names.most_samples(planted_scores({"deterministic": 0.0}))


def test_what_an_attack_takes_beyond_noise_is_judged():
    models = {"deterministic": lambda attack, layer: -0.2 if attack == "FGSM" else 0.0, "Bayesian, 100": 0.0}
    planted = planted_scores(models, attacks=("FGSM", "noise"))
    assert claims.judge(claims.CLAIMS["direction"], planted).verdict == "higher in all 2 (one run)"
    without = claims.judge(claims.CLAIMS["direction"], planted[planted["attack"] != "noise"])
    assert without[:2] == ("not judged: no such setting", "Noise of the same size is not in this table.")


@pytest.mark.parametrize(("runs", "once"), [(None, " (one run)"), (3, "")])
def test_correlations_are_found_where_they_are_planted(runs, once):
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.0, "Bayesian, 100": 0.0}, runs=runs)
    rising = planted["model"] == "Bayesian, 100"
    planted.loc[rising, "lrp_robustness"] += planted.loc[rising, "softmax_robustness"]
    found = claims.bayesian_is_correlated(planted)
    assert found.verdict == "higher in all 2" + once
    assert found.evidence.startswith("Rho is at least 0.5 in 2 of 2.")
    assert claims.deterministic_is_uncorrelated(planted).verdict == "equivalent in all 2" + once
    falling = planted.assign(lrp_robustness=1 - planted["softmax_robustness"])
    assert claims.bayesian_is_correlated(falling).verdict == "lower in all 2" + once
    assert claims.deterministic_is_uncorrelated(falling).verdict == "lower in all 2" + once


def test_correlations_of_few_images_or_of_a_constant_are_not_judged():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.0})
    few = planted[planted["image"] % 30 == 0]
    assert claims.deterministic_is_uncorrelated(few).verdict == "not judged: too few images"
    constant = planted.assign(softmax_robustness=1.0)
    for judge in (claims.deterministic_is_uncorrelated, claims.bayesian_is_correlated):
        assert judge(constant).verdict == "not judged: no rank"


@pytest.mark.parametrize(("runs", "once"), [(None, " (one run)"), (3, "")])
def test_steady_predictions_with_lost_explanations(runs, once):
    models = {"deterministic": 0.0, "Bayesian, 100": 0.0}
    weak = planted_scores(models, runs=runs).assign(softmax_robustness=0.95)
    assert claims.steady_but_weak(weak).verdict == "higher in all 2" + once
    assert claims.steady_but_weak(weak.assign(lrp_robustness=0.99)).verdict == "lower in all 2" + once
    assert claims.steady_but_weak(weak.assign(lrp_robustness=0.9)).verdict == "equivalent in all 2" + once
    # Of 900 images only 90 are so steady; and on one that was wrong at the start, or is now, the attack did not fail.
    for few in (planted_scores(models, runs=runs), weak.assign(clean_class=2), weak.assign(attacked_class=2)):
        assert claims.steady_but_weak(few).verdict == "not judged: too few images"


@pytest.mark.parametrize(("runs", "once"), [(None, " (one run)"), (3, "")])
def test_most_predictions_survive_or_do_not(runs, once):
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.0}, runs=runs)
    assert (
        claims.bayesian_predictions_survive(planted.assign(softmax_robustness=0.8)).verdict == "higher in all 2" + once
    )
    assert (
        claims.bayesian_predictions_survive(planted.assign(softmax_robustness=0.2)).verdict == "lower in all 2" + once
    )
    # Whether explanations had room is no matter of predictions.
    tight = planted.assign(softmax_robustness=0.8, unrelated_lrp_robustness=0.95)
    assert claims.bayesian_predictions_survive(tight).verdict == "higher in all 2" + once


def test_a_claim_looks_only_at_its_own_attacks():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": lambda attack, layer: -0.1 if attack == "noise" else 0.1},
                    attacks=("FGSM", "noise"))  # fmt: skip
    found = claims.judged(planted, ["bayesian", "uncorrelated", "saliency"])
    assert found["verdict"].iloc[0] == "higher in all 2; as noise in 2 (one run)"
    assert found["says"].tolist() == ["higher", "equivalent", "higher"]
    assert found["verdict"].iloc[2] == "not judged: no such setting"
    assert found["evidence"].iloc[2].startswith("None of the attacks it is about is here: top-k")
    with pytest.raises(ValueError, match="claim is 'speed'; it may be one of"):
        claims.judged(planted, ["speed"])


@pytest.mark.parametrize(("run", "experiment"), [one for one in recorded_tables() if one[1] in OF_STUDIES])
def test_what_is_said_of_a_recorded_table_follows_from_its_rows(run, experiment):
    # Anew, from the file: means of differences by image, without the library's own way to them.
    table = records.read_run(run, experiment)
    first, second = "deterministic", names.most_samples(table)
    rows = differences.comparisons(table, first, second)
    for row in rows.to_dict("records"):
        part = table[np.logical_and.reduce([table[name] == row[name] for name in tables.SETTING])]
        scores = {
            name: part[part["model"] == name].sort_values("image")["lrp_robustness"].to_numpy()
            for name in (first, second)
        }
        assert row["mean"] == pytest.approx((scores[second] - scores[first]).mean(), abs=1e-12)
        assert row["low"] <= row["mean"] <= row["high"]
    told = claims.bayesian_is_more_robust(table).evidence
    extremes = re.findall(r"([+\N{MINUS SIGN}]\d\.\d{3}) \[", told)
    rows = rows[rows["attack"] != "noise"]
    wanted = [f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") for value in (rows["mean"].min(), rows["mean"].max())]
    assert extremes == wanted
