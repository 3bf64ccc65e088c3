from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from oracles import normal_points, softened_posterior
from relevance.pages import figures
from relevance.studies.dombrowski import curvature, theorem_1, words


def test_a_path_on_a_circle_has_the_length_of_its_arc():
    start, end = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double()
    found, change = theorem_1.path(lambda x: x.square().sum(1), start, end)
    assert found.length == pytest.approx(math.pi / 2, rel=1e-3)
    assert change <= theorem_1.REFINED
    # A circle turns the normal by as much as its length: every inequality is tight but that of arc and chord.
    assert found.bound == pytest.approx(math.pi / 2, rel=1e-3)
    assert found.turning == pytest.approx(math.pi / 2, rel=1e-3)
    assert found.turned == pytest.approx(math.sqrt(2), rel=1e-6)


def test_refinement_finds_a_bend_between_the_first_points():
    """A straight level set with one sharp bend, in the middle between two of the first points."""
    beta = 400.0

    def g(x: torch.Tensor) -> torch.Tensor:
        return x[:, 1] - functional.softplus(beta * (x[:, 0] - 0.47)) / beta

    ends = torch.tensor([[0.0, 0.0], [1.0, 0.53]]).double()
    found, change = theorem_1.path(g, ends[0], ends[1], n_points=17, at_most=8193)
    # y = softplus_beta(x - x0) has curvature beta s (1 - s) / (1 + s^2)^1.5 with s the slope; its peak is near s = 0.4.
    slopes = torch.linspace(0, 1, 2001).double()
    peak = (beta * slopes * (1 - slopes) / (1 + slopes**2) ** 1.5).max().item()
    assert found.shape.largest.max().item() == pytest.approx(peak, rel=0.01)
    assert len(found.points) > 200
    assert change <= theorem_1.REFINED


def test_the_planted_network_breaks_the_bound_for_the_gradient_and_not_for_the_normal():
    g = curvature.logit(theorem_1.planted(3.0), 0)
    ends = g.coordinates(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))
    found, _ = theorem_1.path(g.function, ends[0], ends[1])
    sigmoid = 1 / (1 + math.exp(-3))
    assert found.changed == pytest.approx(2 * (2 * sigmoid - 1), rel=1e-6)
    assert found.bound < 1e-9
    assert found.turned < 1e-9
    assert found.changed <= found.gradient_bound == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("beta", [1.0, 10.0, 100.0])
def test_the_bounds_hold_on_random_networks(beta):
    posterior = softened_posterior(beta)
    g = curvature.logit(posterior, 0).function
    constant = curvature.weights_constant(posterior, 0)
    turned = []
    for seed in range(3):
        start, step = normal_points(2, 6, seed)
        found, _ = theorem_1.path(g, start, start + 0.5 * step, at_most=257)
        assert found.turned <= found.turning + 1e-12
        assert found.turning <= found.integral * 1.01 <= found.bound * 1.02
        assert found.changed <= found.gradient_bound
        turned.append(found.turned)
        norms = torch.linalg.matrix_norm(curvature.hessians(g, found.points), 2)
        assert norms.max() <= beta * constant
    assert max(turned) > 0.05


@pytest.mark.stochastic
def test_the_sweep_reports_both_sides(relu_posterior):
    images = torch.rand((3, 1, 3, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = relu_posterior.predict(images).argmax(1)
    rows = theorem_1.sweep(relu_posterior, images, target, [2.0, 20.0], epsilon=1.0, n_steps=20, at_most=257)
    assert len(rows) == 6
    # Where the search found no better image, nothing turned, and there is no slack.
    rows = rows.dropna(subset=["slack"]).reset_index()
    assert set(rows["beta"]) == {2.0, 20.0}
    assert (rows["slack"] >= 1).all()
    assert (rows["gradient slack"] >= 1).all()
    np.testing.assert_allclose(rows["worst point"] * rows["worst direction"] * rows["there and back"], rows["slack"])
    assert (rows["curvature"] <= rows["beta"] * rows["constant"]).all()
    assert (rows["to target, after"] > rows["to target, before"]).mean() > 0.5
    text = words.theorem_1(rows)
    assert "direction was never broken" in text
    soft, sharp = rows.groupby("beta")["slack"].median()
    assert (
        f"{soft:.1f} times the turn that happened in the softest network (beta 2), and {sharp:.0f} times in the sharpest (20)"
        in text
    )
    rows.loc[0, "slack"] = 0.9
    assert "direction was broken 1 times" in words.theorem_1(rows)
    assert list(theorem_1.by_beta(rows).index) == [2.0, 20.0]
    assert len(figures.curvature_bounds(rows).axes) == 3
