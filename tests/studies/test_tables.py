from __future__ import annotations

import pytest

from oracles import made_up_scores, planted_scores
from relevance.studies import tables


def test_the_table_has_a_row_for_each_model_and_image(outcome_rows, outcomes):
    assert len(outcome_rows) == 12
    assert not outcome_rows.duplicated(["model", "image"]).any()
    first = outcome_rows[(outcome_rows["model"] == "5 samples") & (outcome_rows["image"] == 2)].iloc[0]
    outcome = outcomes["5 samples"]
    assert first["n_samples"] == 5
    assert first["lrp_robustness"] == outcome.lrp_robustness[2].item()
    assert first["softmax_robustness"] == outcome.softmax_robustness[2].item()
    assert first["attack_linf"] == pytest.approx(0.05)
    assert first["label"] == 2
    assert not outcome_rows["gradient_is_zero"].any()


def test_images_whose_prediction_stayed_are_those_of_each_setting():
    planted = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.0}, runs=2)
    planted = planted[planted["image"] < 6]
    for attack, model, run, image in (
        ("FGSM", "deterministic", 0, 1),
        ("FGSM", "Bayesian, 10", 1, 2),
        ("PGD", "Bayesian, 10", 1, 3),
    ):
        fooled = (planted["attack"] == attack) & (planted["model"] == model) & (planted["run"] == run)
        planted.loc[fooled & (planted["image"] == image), "attacked_class"] = 7
    kept = tables.stayed(planted)
    assert kept.groupby("attack")["image"].unique().map(sorted).to_dict() == {
        "FGSM": [0, 3, 4, 5],
        "PGD": [0, 1, 2, 4, 5],
    }
    # Whether they were right does not count, and no image is kept in part.
    assert len(tables.stayed(planted.assign(label=9))) == len(kept) == (4 + 5) * 2 * 2 * 2


def test_the_summary_has_means_and_accuracies():
    table = made_up_scores([0.2, 0.4], [0.6, 1.0])
    table.loc[0, ["clean_class", "attacked_class"]] = [0, 1]
    found = tables.summary(table)
    assert found.loc["deterministic", "accuracy"] == 1
    assert found.loc["deterministic", "accuracy under attack"] == 0.5
    assert found.loc["10 samples", "LRP robustness"] == pytest.approx(0.8)
    assert list(found.index) == ["deterministic", "10 samples"]
