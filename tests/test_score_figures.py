"""Figures of scores: a panel for each setting, with the numbers of the table in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from relevance import figures, geometry, robustness, stories
from test_claims import table

PLANTED = {"deterministic": 0.0, "adversarially trained": -0.2, "Bayesian, 10": 0.05, "Bayesian, 100": 0.1}


def texts(axis):
    return [text.get_text() for text in axis.texts]


def test_a_panel_for_each_setting_with_boxes_where_the_differences_are():
    rows = table(PLANTED)
    drawn = figures.difference_grid(rows, "deterministic", rows="layer", columns="attack")
    axes = drawn.axes
    assert len(axes) == 4
    assert [axis.get_title() for axis in axes] == ["FGSM", "PGD", "", ""]
    assert [axis.get_ylabel() for axis in axes] == ["layer 1", "", "layer 5", ""]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        name for name in PLANTED if name != "deterministic"
    ]
    part = rows[(rows["attack"] == "PGD") & (rows["layer"] == "1")].pivot(
        index="image", columns="model", values="lrp_robustness"
    )
    means = sorted(line.get_xdata()[0] for line in axes[1].lines if line.get_marker() == "D")
    wanted = sorted((part[name] - part["deterministic"]).mean() for name in PLANTED if name != "deterministic")
    assert np.allclose(means, wanted)
    assert all(axis.get_xlim() == pytest.approx([-axes[0].get_xlim()[1], axes[0].get_xlim()[1]]) for axis in axes)


def test_the_share_without_a_gradient_and_the_asterisks_stand_there():
    rows = table(PLANTED)
    rows.loc[(rows["model"] == "Bayesian, 100") & (rows["image"] % 4 == 0), "gradient_is_zero"] = True
    drawn = stories.grid(rows, "layer", "attack", asterisks=True)
    assert [text.strip() for text in texts(drawn.axes[0])] == ["0%", "0%", "25%", "****"]
    with pytest.raises(ValueError, match="attack is 'DeepFool'; it may be one of: FGSM, PGD"):
        stories.grid(rows, "layer", "attack", attack="DeepFool")


def test_the_scatter_says_rho_and_what_could_not_move():
    rows = table(PLANTED, attacks=("FGSM",))
    drawn = stories.scatter(rows, attack="FGSM")
    assert len(drawn.axes) == 2 * 4
    part = rows[(rows["model"] == "deterministic") & (rows["layer"] == "1")]
    rho = robustness.spearman(part["softmax_robustness"].to_numpy(), part["lrp_robustness"].to_numpy()).rho
    assert f"= {rho:.2f} [" in texts(drawn.axes[0])[0]
    assert texts(drawn.axes[0])[1] == "zero gradients 0%"
    (points,) = drawn.axes[0].collections
    assert np.allclose(np.sort(points.get_offsets()[:, 1]), np.sort(part["lrp_robustness"]))


def test_averages_and_what_survives_are_drawn_as_they_are():
    rows = pd.DataFrame({"part": ["tangent"] * 2, "n_samples": [1, 4], "kept": [1.0, 0.9], "independent": [1.0, 0.5]})
    drawn = figures.averaging({"a": rows, "b": rows})
    assert [list(line.get_ydata()) for line in drawn.axes[0].lines] == [[1.0, 0.9], [1.0, 0.5]]
    parts = [geometry.ALONG, geometry.OUTSIDE]
    case = {"manifold": "sphere", "method": "hmc", "training points": 50, "width": 16}
    for part, value in zip(parts, (0.9, 0.0), strict=True):
        case |= {part: value, f"{part}, low": value - 0.1, f"{part}, high": value + 0.1}
    sweep = pd.DataFrame([case])
    (axis,) = figures.survival(sweep, parts).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["hmc, 50 points, width 16"]
    assert sorted(line.get_xdata()[0] for line in axis.lines if line.get_marker() in "os") == [0.0, 0.9]


def test_the_theorem_is_judged_by_the_largest_case():
    cases = []
    for count, inside in ((50, 0.0), (800, 0.6)):
        row = {"manifold": "sphere", "method": "hmc", "training points": count, "width": 16, "R-hat": 1.02}
        for part, value in ((geometry.OUTSIDE, 0.001), (geometry.CURVED, inside)):
            row |= {part: value, f"{part}, low": value - 0.01, f"{part}, high": value + 0.01}
        cases.append(row)
    found = geometry.theorem(pd.DataFrame(cases))
    assert found[geometry.OUTSIDE].startswith("vanishes: sphere 0.00")
    wide = geometry.theorem(pd.DataFrame(cases).assign(**{f"{geometry.OUTSIDE}, high": 0.2}))
    assert wide[geometry.OUTSIDE].startswith("cannot be told from zero: sphere 0.00")
    assert found[geometry.CURVED].startswith("does not vanish: sphere 0.60 [0.59, 0.61], R-hat 1.02")


def test_noise_that_does_as_much_is_named():
    rows = table({"deterministic": lambda attack, layer: 0.1 if attack == "PGD" else 0.0, "Bayesian, 10": 0.0},
                 attacks=("FGSM", "PGD", "noise")).assign(rule="epsilon")  # fmt: skip
    rows.loc[rows["attack"] == "FGSM", "lrp_robustness"] -= 0.3
    told = stories.against_noise(rows).data
    assert "deterministic, epsilon: PGD" in told
    assert "FGSM" not in told
    assert "not known" in stories.against_noise(rows[rows["attack"] != "noise"]).data


def test_several_rules_in_one_panel_get_a_sentence():
    rows = table({"deterministic": 0.0, "Bayesian, 10": 0.0}).assign(rule="epsilon")
    both = pd.concat([rows, rows.assign(rule="gamma")])
    with pytest.raises(ValueError, match="several rows of the same image and model; choose one rule"):
        figures.difference_grid(both, "deterministic", rows="layer", columns="attack")
