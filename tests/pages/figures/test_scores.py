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


def found():
    return pd.DataFrame([
        {"model": model, "attack": attack, "layer": layer, "mean": mean, "low": mean - 0.02, "high": mean + 0.01,
         "reason": "at chance" if attack == "PGD" else "", "asterisks": "**"}
        for attack in ("FGSM", "PGD") for layer in ("1", "5") for model, mean in (("MAP", 0.1), ("Bayesian, 10", 0.2))
    ])  # fmt: skip


def test_intervals_stand_where_their_numbers_are_and_are_hollow_where_nothing_is_judged():
    figure = figures.intervals(found(), rows=["layer"], columns="attack", about="what it is")
    first, second = figure.axes
    assert [axis.get_title() for axis in figure.axes] == ["FGSM", "PGD"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["1", "5"]
    marks = [bar.lines[0] for bar in first.containers]
    assert [line.get_xdata().tolist() for line in marks] == [[0.1, 0.1], [0.2, 0.2]]
    ends = first.containers[0].lines[2][0].get_segments()[0][:, 0]
    assert ends == pytest.approx([0.08, 0.11])
    faces = [{bar.lines[0].get_markerfacecolor() for bar in axis.containers} for axis in (first, second)]
    assert faces[1] == {"#ffffff"}
    assert not faces[0] & faces[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["MAP", "Bayesian, 10"]
    assert [text.get_text() for text in first.texts] == ["**", "**"]
    assert first.get_xlim() == second.get_xlim()
    with pytest.raises(ValueError, match="rows and columns is 'depth'; it may be one of"):
        figures.intervals(found(), rows=["depth"], columns="attack", about="")


def test_one_mark_a_place_needs_no_legend():
    figure = figures.intervals(found()[::2], rows=["layer", "model"], columns="attack", about="")
    assert not figure.legends
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["1, MAP", "5, MAP"]
