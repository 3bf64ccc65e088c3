"""Figures of scores: a panel for each setting, with the numbers of the table in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from oracles import PLANTED_SHIFTS, planted_scores
from relevance.pages import figures
from relevance.pages.figures.scores import lrp_against_softmax


def test_a_panel_for_each_setting_with_boxes_where_the_differences_are():
    rows = planted_scores(PLANTED_SHIFTS)
    drawn = figures.difference_grid(rows, "deterministic", rows="layer", columns="attack")
    axes = drawn.axes
    assert len(axes) == 4
    assert [axis.get_title() for axis in axes] == ["FGSM", "PGD", "", ""]
    assert [axis.get_ylabel() for axis in axes] == ["layer 1", "", "layer 5", ""]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        name for name in PLANTED_SHIFTS if name != "deterministic"
    ]
    part = rows[(rows["attack"] == "PGD") & (rows["layer"] == "1")].pivot(
        index="image", columns="model", values="lrp_robustness"
    )
    means = sorted(line.get_xdata()[0] for line in axes[1].lines if line.get_marker() == "D")
    wanted = sorted((part[name] - part["deterministic"]).mean() for name in PLANTED_SHIFTS if name != "deterministic")
    assert np.allclose(means, wanted)
    assert all(axis.get_xlim() == pytest.approx([-axes[0].get_xlim()[1], axes[0].get_xlim()[1]]) for axis in axes)


def test_runs_of_a_model_are_averaged_image_by_image():
    first = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.1}).assign(run=0)
    second = first.assign(run=1, lrp_robustness=first["lrp_robustness"] + 0.1 * (first["model"] == "Bayesian, 10"))
    both = pd.concat([first, second])
    figure = figures.difference_grid(both, "deterministic", rows="layer", columns="attack")
    part = both[(both["attack"] == "PGD") & (both["layer"] == "1")]
    wanted = part.groupby(["image", "model"])["lrp_robustness"].mean().unstack()
    points = figure.axes[1].collections[0].get_offsets()[:, 0]
    assert np.allclose(points, wanted["Bayesian, 10"] - wanted["deterministic"])
    one = part.assign(softmax_robustness=np.random.default_rng(0).random(len(part)))
    scatter = lrp_against_softmax(one)
    bayesian = one[one["model"] == "Bayesian, 10"]
    rhos = [spearmanr(run["softmax_robustness"], run["lrp_robustness"]).statistic for _, run in bayesian.groupby("run")]
    assert f"= {np.mean(rhos):.2f} [" in scatter.axes[1].texts[0].get_text()


def test_several_rules_in_one_panel_get_a_sentence():
    rows = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.0}).assign(rule="epsilon")
    both = pd.concat([rows, rows.assign(rule="gamma")])
    with pytest.raises(ValueError, match="several rows of the same image and model; choose one rule"):
        figures.difference_grid(both, "deterministic", rows="layer", columns="attack")
