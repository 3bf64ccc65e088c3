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
        (0.1, "holds"),
        (-0.1, "does not hold"),
        (0.0, "undecided"),
        (lambda attack, layer: 0.1 if layer == "5" else -0.1, "depends on the layer: holds for 5"),
        (lambda attack, layer: 0.1 if attack == "PGD" else -0.1, "depends on the attack: holds for PGD"),
        (lambda attack, layer: 0.1 if (attack, layer) == ("PGD", "5") else -0.1, "depends on the setting"),
    ],
)
def test_a_planted_difference_is_judged(shift, verdict):
    found = claims.bayesian_is_more_robust(planted_scores({"deterministic": 0.0, "Bayesian, 100": shift}))
    assert found.verdict == verdict


def test_a_gain_that_unrelated_maps_share_does_not_hold():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, unrelated={"Bayesian, 100": 0.36})
    found = claims.bayesian_is_more_robust(planted)
    # (0.6 - 0.36) / (1 - 0.36) is (0.5 - 0.2) / (1 - 0.2): all of the gain is in the floor.
    assert found.verdict == "holds, by the score; undecided, scaled"
    assert "of 4 settings 4 higher; scaled, of 4 settings 4 not distinguishable" in found.evidence
    worse = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, unrelated={"Bayesian, 100": 0.5})
    assert claims.bayesian_is_more_robust(worse).verdict == "holds, by the score; does not hold, scaled"


def test_less_excess_in_much_less_room_is_more_robust():
    # Excess 0.25 of 0.35 beside 0.3 of 0.8.
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.4}, unrelated={"Bayesian, 100": 0.65})
    rows = differences.comparisons(planted, "deterministic", "Bayesian, 100")
    assert np.allclose(rows["scaled"], 0.25 / 0.35 - 0.3 / 0.8, atol=0.01)
    assert (rows["scaled_direction"] == 1).all()
    no_room = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.4}, unrelated={"Bayesian, 100": 1.0})
    assert claims.bayesian_is_more_robust(no_room).verdict == "holds, by the score; undecided, scaled"


def test_an_attack_that_does_no_more_than_noise_is_named():
    models = {"deterministic": 0.0, "Bayesian, 100": 0.1}
    alike = planted_scores(models, attacks=("FGSM", "noise"))
    found = claims.judge(claims.CLAIMS["bayesian"], alike)
    assert found.verdict == "holds (attack no stronger than noise)"
    assert "of 2 settings 2 higher" in found.evidence
    assert "In 2 of them the attack changed maps no more than noise of its size did" in found.evidence
    stronger = {
        name: lambda attack, layer, up=up: up + (0.2 if attack == "noise" else 0) for name, up in models.items()
    }
    assert (
        claims.judge(claims.CLAIMS["bayesian"], planted_scores(stronger, attacks=("FGSM", "noise"))).verdict == "holds"
    )
    one = planted_scores({**stronger, "deterministic": 0.0}, attacks=("FGSM", "PGD", "noise"))
    found = claims.judge(claims.CLAIMS["bayesian"], one)
    assert found.verdict == "holds (attack no stronger than noise)"
    assert "(deterministic 4)" in found.evidence


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [
        (0.05, "holds"),
        (-0.1, "does not hold"),
        (0.3, "does not hold"),
        (0.0, "undecided"),
        (lambda attack, layer: 0.05 if attack == "PGD" else 0.3, "depends on the setting"),
    ],
)
def test_a_modest_improvement_is_told_from_none_and_from_a_large_one(shift, verdict):
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": shift})
    assert claims.improvement_is_modest(planted).verdict == verdict


def test_the_most_and_the_fewest_samples_are_compared():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.2, "Bayesian, 10": 0.1})
    assert names.most_samples(planted) == "Bayesian, 100"
    assert claims.more_samples_help(planted).verdict == "holds"
    with pytest.raises(ValueError, match="none of them is Bayesian"):
        names.most_samples(planted_scores({"deterministic": 0.0}))


def test_correlations_are_found_where_they_are_planted():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.0, "Bayesian, 100": 0.0})
    rising = planted["model"] == "Bayesian, 100"
    planted.loc[rising, "lrp_robustness"] += planted.loc[rising, "softmax_robustness"]
    assert claims.bayesian_is_correlated(planted).verdict == "holds"
    assert claims.deterministic_is_uncorrelated(planted).verdict == "holds"
    few = planted[planted["image"] % 30 == 0]
    assert claims.deterministic_is_uncorrelated(few).verdict == "undecided"
    constant = planted.assign(softmax_robustness=1.0)
    assert claims.deterministic_is_uncorrelated(constant).verdict == "undecided"
    assert claims.bayesian_is_correlated(constant).verdict == "undecided"
    falling = planted.assign(lrp_robustness=1 - planted["softmax_robustness"])
    assert claims.bayesian_is_correlated(falling).verdict.startswith("does not hold")
    assert claims.deterministic_is_uncorrelated(falling).verdict == "does not hold"


def test_steady_predictions_with_lost_explanations():
    weak = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.0})
    assert claims.steady_but_weak(weak).verdict == "holds"
    kept = weak.assign(lrp_robustness=0.99)
    assert claims.steady_but_weak(kept).verdict == "does not hold"
    assert claims.steady_but_weak(weak.assign(softmax_robustness=0.1)).verdict == "undecided"
    # An image that was wrong at the start, or is now, is not one on which the attack failed.
    assert claims.steady_but_weak(weak.assign(clean_class=2)).verdict == "undecided"
    assert claims.steady_but_weak(weak.assign(attacked_class=2)).verdict == "undecided"


def test_steady_maps_of_a_model_that_could_not_be_moved_are_no_robustness():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1})
    planted.loc[(planted["model"] == "Bayesian, 100") & (planted["image"] % 4 == 0), "gradient_is_zero"] = True
    assert claims.bayesian_is_more_robust(planted).verdict == "undecided"
    assert (differences.comparisons(planted, "deterministic", "Bayesian, 100")["zero_gradients"] == 0.25).all()


def test_most_predictions_survive_or_do_not():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.0})
    assert claims.bayesian_predictions_survive(planted.assign(softmax_robustness=0.8)).verdict == "holds"
    assert claims.bayesian_predictions_survive(planted.assign(softmax_robustness=0.2)).verdict == "does not hold"


def test_a_claim_looks_only_at_its_own_attacks():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": lambda attack, layer: -0.1 if attack == "noise" else 0.1},
                    attacks=("FGSM", "noise"))  # fmt: skip
    assert claims.judged(planted, ["bayesian"])["verdict"].tolist() == ["holds (attack no stronger than noise)"]
    assert claims.judged(planted, ["saliency"])["verdict"].tolist() == ["undecided"]
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
