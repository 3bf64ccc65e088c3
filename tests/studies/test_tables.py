from __future__ import annotations

import pytest

from oracles import made_up_scores
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


def test_the_summary_has_means_and_accuracies():
    table = made_up_scores([0.2, 0.4], [0.6, 1.0])
    table.loc[0, ["clean_class", "attacked_class"]] = [0, 1]
    found = tables.summary(table)
    assert found.loc["deterministic", "accuracy"] == 1
    assert found.loc["deterministic", "accuracy under attack"] == 0.5
    assert found.loc["10 samples", "LRP robustness"] == pytest.approx(0.8)
    assert list(found.index) == ["deterministic", "10 samples"]
