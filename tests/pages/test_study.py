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
