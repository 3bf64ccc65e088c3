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
