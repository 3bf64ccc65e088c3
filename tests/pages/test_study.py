from __future__ import annotations

import numpy as np
import pandas as pd
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


def test_gaps_are_those_of_the_table_and_layers_are_called_by_their_place():
    rows = planted_scores(
        {"deterministic": 0.0, "adversarially trained": 0.1, "Bayesian, 5": 0.05, "Bayesian, 10": 0.2}
    )
    figure = study.gaps(rows, ["layer"], "attack")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["layer 1", "class"]
    part = rows[(rows["attack"] == "FGSM") & (rows["layer"] == "1")]
    part = part.pivot(index="image", columns="model", values="lrp_robustness")
    means = [bar.lines[0].get_xdata()[0] for bar in figure.axes[0].containers]
    wanted = [
        (part[name] - part["deterministic"]).mean() for name in ("adversarially trained", "Bayesian, 5", "Bayesian, 10")
    ]
    assert means == pytest.approx(wanted)
    starred = study.gaps(rows, ["attack"], "layer", asterisks=True, layer="last")
    assert [text.get_text() for text in starred.axes[0].texts] == ["****", "****"]
    assert [text.get_text() for text in starred.legends[0].get_texts()] == ["adversarially trained", "Bayesian, 10"]


def test_what_others_do_not_judge_is_hollow():
    rows = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.2})
    several = pd.concat([
        rows.assign(recorded=name, unjudged=np.where(rows["model"] == "Bayesian, 10", why, ""))
        for name, why in (("mixed", ""), ("stuck", "chains not converged"))
    ])  # fmt: skip
    for figure in (
        study.gaps(several, ["attack", "layer"], "recorded"),
        study.rhos(several, ["attack", "layer"], "recorded"),
    ):
        assert [axis.get_title() for axis in figure.axes] == ["mixed", "stuck"]
        faces = [axis.containers[-1].lines[0].get_markerfacecolor() for axis in figure.axes]
        assert faces[1] == "#ffffff" != faces[0]


def test_the_scatter_shows_the_models_that_are_asked_for():
    rows = planted_scores({"deterministic": 0.0, "Bayesian, 5": 0.1, "Bayesian, 10": 0.1})
    drawn = study.scatter(rows, "attack", ["deterministic", "Bayesian"], layer="last")
    assert [axis.get_title() for axis in drawn.axes] == ["deterministic", "Bayesian, 10", "", ""]
