from __future__ import annotations

import numpy as np
import pytest

from oracles import PLANTED_SHIFTS, planted_scores
from relevance import metrics
from relevance.pages import study


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_the_share_without_a_gradient_and_the_asterisks_stand_there():
    rows = planted_scores(PLANTED_SHIFTS)
    rows.loc[(rows["model"] == "Bayesian, 100") & (rows["image"] % 4 == 0), "gradient_is_zero"] = True
    drawn = study.grid(rows, "layer", "attack", asterisks=True)
    assert [text.strip() for text in texts(drawn.axes[0])] == ["0%", "0%", "25%", "****"]
    with pytest.raises(ValueError, match="attack is 'DeepFool'; it may be one of: FGSM, PGD"):
        study.grid(rows, "layer", "attack", attack="DeepFool")


def test_the_scatter_says_rho_and_what_could_not_move():
    rows = planted_scores(PLANTED_SHIFTS, attacks=("FGSM",))
    drawn = study.scatter(rows, attack="FGSM")
    assert len(drawn.axes) == 2 * 4
    part = rows[(rows["model"] == "deterministic") & (rows["layer"] == "1")]
    rho = metrics.spearman(part["softmax_robustness"].to_numpy(), part["lrp_robustness"].to_numpy()).rho
    assert f"= {rho:.2f} [" in texts(drawn.axes[0])[0]
    assert texts(drawn.axes[0])[1] == "zero gradients 0%"
    (points,) = drawn.axes[0].collections
    assert np.allclose(np.sort(points.get_offsets()[:, 1]), np.sort(part["lrp_robustness"]))


def test_noise_that_does_as_much_is_named():
    rows = planted_scores({"deterministic": lambda attack, layer: 0.1 if attack == "PGD" else 0.0, "Bayesian, 10": 0.0},
                 attacks=("FGSM", "PGD", "noise")).assign(rule="epsilon")  # fmt: skip
    rows.loc[rows["attack"] == "FGSM", "lrp_robustness"] -= 0.3
    told = study.against_noise(rows)
    assert "deterministic, epsilon: PGD" in told
    assert "FGSM" not in told
    assert "not known" in study.against_noise(rows[rows["attack"] != "noise"])
