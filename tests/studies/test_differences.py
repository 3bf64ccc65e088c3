from __future__ import annotations

import numpy as np
import pytest

from oracles import made_up_scores, planted_scores
from relevance import metrics
from relevance.studies import differences


def test_the_evidence_has_the_planted_size():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1})
    rows = differences.comparisons(planted, "deterministic", "Bayesian, 100")
    assert len(rows) == 4
    assert np.allclose(rows["mean"], 0.1, atol=0.02)
    assert (rows["low"] < rows["mean"]).all()
    wide = planted.pivot(index=["attack", "layer", "image"], columns="model", values="lrp_robustness")
    wanted = (wide["Bayesian, 100"] - wide["deterministic"]).groupby(level=["attack", "layer"]).mean()
    assert np.allclose(
        rows.set_index(["attack", "layer"])["mean"], wanted.loc[list(zip(rows["attack"], rows["layer"], strict=True))]
    )
    assert (rows["asterisks"] == "****").all()


def test_of_several_runs_a_difference_is_crossed():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, runs=5, spread=0.02)
    rows = differences.comparisons(planted, "deterministic", "Bayesian, 100")
    part = planted[(planted["attack"] == "FGSM") & (planted["layer"] == "1")]
    scores = {
        model: own.pivot(index="run", columns="image", values="lrp_robustness").to_numpy()
        for model, own in part.groupby("model")
    }
    wanted = metrics.crossed_difference(scores["deterministic"], scores["Bayesian, 100"])
    row = rows[(rows["attack"] == "FGSM") & (rows["layer"] == "1")].iloc[0]
    assert tuple(row[["mean", "low", "high", "p_value"]]) == pytest.approx(wanted[:4])
    assert (rows["n_runs"] == 5).all()
    assert (rows["run_share"] > 0.9).all()
    one = differences.comparisons(planted[planted["run"] == 0], "deterministic", "Bayesian, 100")
    assert one["run_share"].isna().all()
    # The spread between runs is what the interval over images does not see.
    assert ((rows["high"] - rows["low"]) > 3 * (one["high"] - one["low"])).all()


def test_a_model_that_was_trained_once_leaves_the_interval_over_images():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, runs=3)
    mixed = planted[(planted["model"] == "deterministic") | (planted["run"] == 1)]
    rows = differences.comparisons(mixed, "deterministic", "Bayesian, 100")
    assert (rows["n_runs"] == 1).all()
    assert np.allclose(rows["mean"], 0.1, atol=0.02)


def test_runs_that_are_not_of_the_same_images_are_refused():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 100": 0.1}, runs=2)
    torn = planted.drop(planted.index[(planted["run"] == 1) & (planted["image"] == 3)][0])
    with pytest.raises(
        ValueError, match="1799 scores of 2 runs on 900 images; each run must have one score of each image"
    ):
        differences.comparisons(torn, "deterministic", "Bayesian, 100")


@pytest.mark.parametrize("runs", [None, 3])
def test_an_attack_is_as_noise_weaker_or_stronger(runs):
    def shift(attack, layer):
        return {"FGSM": -0.1, "PGD": 0.005, "PGD on the margin": 0.1}.get(attack, 0.0)

    attacks = ("FGSM", "PGD", "PGD on the margin", "target map", "noise")
    planted = planted_scores({"deterministic": shift}, attacks=attacks, layers=("5",), runs=runs)
    found = differences.beside_noise(planted).set_index("attack")
    assert found["standing"].to_dict() == {"FGSM": "lower", "PGD": "equivalent", "PGD on the margin": "higher"}
    assert np.allclose(found["mean"], [-0.1, 0.005, 0.1], atol=0.02)
    both = planted_scores({"deterministic": shift, "Bayesian, 10": 0.0}, attacks=attacks, layers=("5",), runs=runs)
    rows = differences.comparisons(both, "deterministic", "Bayesian, 10").set_index("attack")["as_noise"]
    assert rows["FGSM"] == "Bayesian, 10"
    assert rows["PGD"] == rows["PGD on the margin"] == "deterministic and Bayesian, 10"
    assert rows["target map"] == rows["noise"] == ""


def test_what_an_attack_takes_beyond_noise_is_a_score_of_its_own():
    models = {"deterministic": lambda attack, layer: -0.2 if attack == "FGSM" else 0.0, "Bayesian, 10": 0.3}
    planted = planted_scores(models, attacks=("FGSM", "noise"), runs=2)
    rows = differences.beyond_noise(planted)
    assert set(rows["attack"]) == {"FGSM"}
    wide = planted.pivot(index=["run", "model", "layer", "image"], columns="attack", values="lrp_robustness")
    found = rows.set_index(["run", "model", "layer", "image"])["lrp_robustness"].sort_index()
    assert np.allclose(found, (wide["FGSM"] - wide["noise"]).sort_index())
    cells = differences.comparisons(rows, "deterministic", "Bayesian, 10")
    assert np.allclose(cells["mean"], 0.2, atol=0.02)
    assert np.allclose(cells["scaled"], 0.2 / 0.8, atol=0.03)


def test_images_whose_prediction_stayed_are_those_of_both_models():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 10": lambda attack, layer: 0.1})
    for model, every in (("deterministic", 2), ("Bayesian, 10", 3)):
        fooled = (planted["model"] == model) & (planted["attack"] == "FGSM") & (planted["image"] % every > 0)
        planted.loc[fooled, "attacked_class"] = 2
    rows = differences.comparisons(planted, "deterministic", "Bayesian, 10", kept=True).set_index(["attack", "layer"])
    assert rows.loc["FGSM", "n_images"].tolist() == [150, 150]
    assert rows.loc["PGD", "n_images"].tolist() == [900, 900]
    few = planted[planted["image"] < 300]
    rows = differences.comparisons(few, "deterministic", "Bayesian, 10", kept=True).set_index(["attack", "layer"])
    assert rows.loc["FGSM", "reason"].tolist() == ["too few images"] * 2
    assert rows.loc["FGSM", "mean"].isna().all()


def test_differences_are_paired_by_image_whatever_the_order_of_rows():
    scores = np.linspace(0.1, 0.6, 20)
    table = made_up_scores(scores, scores + 0.1).sample(frac=1, random_state=0)
    found = differences.paired_differences(table, "deterministic").loc["10 samples"]
    assert found["mean"] == pytest.approx(0.1)
    assert found["low"] == pytest.approx(0.1)
    assert found["direction"] == 1
    with pytest.raises(ValueError, match="baseline is 'nobody'; it may be one of: 10 samples, deterministic"):
        differences.paired_differences(table, "nobody")


def test_differences_are_paired_by_image(galleries):
    found = differences.by_attack(galleries, "one", "five")
    pair = [galleries[name].scores("PGD")["lrp_robustness"].to_numpy() for name in ("one", "five")]
    assert found.loc["PGD", "mean"] == pytest.approx(metrics.paired_difference(*pair).mean)
    with pytest.raises(ValueError, match="model is 'ten'; it may be one of: five, one"):
        differences.by_attack(galleries, "one", "ten")
