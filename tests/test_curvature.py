"""Curvature of level sets against surfaces whose curvature is known, and the source's two theorems."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from conftest import random_posterior
from relevance import attacks, bounds, counterexamples, curvature, depth, explanations, figures, networks, smoothed
from relevance.posterior import Posterior


def points_of(n, d, seed=0):
    return torch.randn((n, d), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def soft_posterior(beta=5.0, n_samples=1, **settings):
    network = networks.fully_connected((1, 3, 3), hidden=6, n_classes=3, **settings)
    return attacks.softened(random_posterior(network, n_samples, scale=1.5), beta)


@pytest.fixture
def relu_posterior():
    """A dense network with ReLUs and random weights."""
    return random_posterior(networks.fully_connected((1, 3, 3), 6, 3, activation="relu"), 1, seed=1)


def test_a_sphere_has_the_curvature_of_its_radius():
    points = points_of(5, 4)
    found = curvature.shape(lambda x: x.square().sum(1), points)
    wanted = (1 / points.norm(dim=1))[:, None].expand(-1, 3)
    torch.testing.assert_close(found.curvatures, wanted)
    # The Hessian is 2, on tangents too.
    torch.testing.assert_close(found.bending, torch.full((5,), 2.0, dtype=torch.float64))


def test_a_sphere_seen_from_inside_has_the_opposite_sign_and_any_scale_of_g_the_same_curvature():
    points = points_of(5, 4)
    found = curvature.shape(lambda x: -7 * x.square().sum(1).exp(), points)
    torch.testing.assert_close(found.curvatures, (-1 / points.norm(dim=1))[:, None].expand(-1, 3))


def test_a_cylinder_is_flat_along_its_axis():
    points = points_of(5, 3)
    found = curvature.shape(lambda x: x[:, 0].square() + x[:, 1].square(), points)
    wanted = torch.stack([torch.zeros(5), 1 / points[:, :2].norm(dim=1)], 1).double()
    torch.testing.assert_close(found.curvatures, wanted)


def test_a_saddle_bends_both_ways():
    found = curvature.shape(lambda x: x[:, 2] + x[:, 0].square() - 3 * x[:, 1].square(), torch.zeros(1, 3).double())
    torch.testing.assert_close(found.curvatures, torch.tensor([[-6.0, 2.0]]).double())
    assert found.largest.item() == pytest.approx(6)


def test_a_plane_is_flat():
    found = curvature.shape(lambda x: x @ torch.tensor([1.0, -2.0, 0.5]).double(), points_of(4, 3))
    assert found.curvatures.abs().max() < 1e-12
    assert found.bending.max() < 1e-12


def test_the_normal_s_change_of_length_is_in_the_bending_and_not_in_the_curvature():
    g = curvature.logit(counterexamples.planted(3.0), 0)
    found = curvature.shape(g.function, g.coordinates(torch.tensor([[0.0, 0.0]])))
    assert found.largest.item() < 1e-12
    # d/dy of 2 sigmoid(beta y) at 0 is beta / 2.
    assert found.bending.item() == pytest.approx(1.5)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_the_logit_by_the_rows_that_it_sees_is_the_logit(n_samples):
    posterior = soft_posterior(n_samples=n_samples)
    images = torch.rand((4, 1, 3, 3), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    g = curvature.logit(posterior, 2)
    torch.testing.assert_close(g.function(g.coordinates(images)), posterior.logits(images).mean(0)[:, 2])
    slopes, _ = curvature.gradients(g.function, g.coordinates(images))
    wanted = explanations.gradient(posterior, images, torch.full((4,), 2))
    torch.testing.assert_close(slopes @ g.basis.T, wanted.flatten(1))
    assert g.basis.shape == (9, min(9, 6 * n_samples))


def test_second_derivatives_are_those_of_finite_differences():
    g = curvature.logit(soft_posterior(), 1)
    points = points_of(3, 6)
    found, step = curvature.hessians(g.function, points), 1e-5
    for index, unit in enumerate(torch.eye(6).double()):
        ahead, _ = curvature.gradients(g.function, points + step * unit)
        behind, _ = curvature.gradients(g.function, points - step * unit)
        torch.testing.assert_close(found[:, index], (ahead - behind) / (2 * step), atol=1e-7, rtol=1e-6)
    assert found.abs().max() > 0.01


def test_a_convolutional_network_is_taken_as_a_whole():
    posterior = random_posterior(networks.convolutional((1, 16, 16), 2, 3, activation="softplus"), 1)
    g = curvature.logit(posterior, 0)
    assert g.basis.shape == (256, 256)
    images = torch.rand((2, 1, 16, 16), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(g.function(g.coordinates(images)), posterior.logits(images)[0][:, 0])


def test_curvature_turns_the_normal():
    """Finite differences of the unit normal along tangents have the principal curvatures as eigenvalues."""
    g = curvature.logit(soft_posterior(), 0).function
    point = points_of(1, 6)
    found = curvature.shape(g, point)
    tangents = torch.linalg.svd(found.normals)[2][0:][1:]
    step = 1e-5
    turned = [
        (curvature.shape(g, point + step * v).normals - curvature.shape(g, point - step * v).normals)[0] / (2 * step)
        for v in tangents
    ]
    values = torch.linalg.eigvalsh(torch.stack(turned) @ tangents.T)
    torch.testing.assert_close(values, found.curvatures[0], atol=1e-6, rtol=1e-5)


def test_the_path_stays_on_the_level_set():
    g = curvature.logit(soft_posterior(), 0).function
    start, end = points_of(2, 6)
    path = curvature.level_path(g, start, end, 20)
    torch.testing.assert_close(g(path), g(start[None]).expand(20), atol=1e-8, rtol=0)
    torch.testing.assert_close(path[0], start)
    # Where the line itself is on the level set, it is the path.
    assert (g(start + torch.linspace(0, 1, 20).double()[:, None] * (end - start)) - g(start[None])).abs().max() > 0.1


def test_a_path_on_a_circle_has_the_length_of_its_arc():
    start, end = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 2.0]).double()
    found, change = bounds.path(lambda x: x.square().sum(1), start, end)
    assert found.length == pytest.approx(math.pi / 2, rel=1e-3)
    assert change <= bounds.REFINED
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
    found, change = bounds.path(g, ends[0], ends[1], n_points=17, at_most=8193)
    # y = softplus_beta(x - x0) has curvature beta s (1 - s) / (1 + s^2)^1.5 with s the slope; its peak is near s = 0.4.
    slopes = torch.linspace(0, 1, 2001).double()
    peak = (beta * slopes * (1 - slopes) / (1 + slopes**2) ** 1.5).max().item()
    assert found.shape.largest.max().item() == pytest.approx(peak, rel=0.01)
    assert len(found.points) > 200
    assert change <= bounds.REFINED


def test_the_planted_network_breaks_the_bound_for_the_gradient_and_not_for_the_normal():
    g = curvature.logit(counterexamples.planted(3.0), 0)
    ends = g.coordinates(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))
    found, _ = bounds.path(g.function, ends[0], ends[1])
    sigmoid = 1 / (1 + math.exp(-3))
    assert found.changed == pytest.approx(2 * (2 * sigmoid - 1), rel=1e-6)
    assert found.bound < 1e-9
    assert found.turned < 1e-9
    assert found.changed <= found.gradient_bound == pytest.approx(3.0, rel=1e-3)
    assert "the gradient changes by 1.81" in counterexamples.told()


@pytest.mark.parametrize("beta", [1.0, 10.0, 100.0])
def test_the_bounds_hold_on_random_networks(beta):
    posterior = soft_posterior(beta)
    g = curvature.logit(posterior, 0).function
    constant = curvature.weights_constant(posterior, 0)
    turned = []
    for seed in range(3):
        start, step = points_of(2, 6, seed)
        found, _ = bounds.path(g, start, start + 0.5 * step, at_most=257)
        assert found.turned <= found.turning + 1e-12
        assert found.turning <= found.integral * 1.01 <= found.bound * 1.02
        assert found.changed <= found.gradient_bound
        turned.append(found.turned)
        norms = torch.linalg.matrix_norm(curvature.hessians(g, found.points), 2)
        assert norms.max() <= beta * constant
    assert max(turned) > 0.05


def test_the_weights_constant_is_reached_where_it_can_be():
    """One neuron with slope 0: the Hessian is |w|^2 |v| beta / 4 at the kink, and nowhere more."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    for parameter, value in zip(network.parameters(), ([[3.0, 4.0]], [0.0], [[-2.0]], [0.0]), strict=True):
        parameter.data = torch.tensor(value)
    posterior = attacks.softened(Posterior.of(network), 8.0)
    assert curvature.weights_constant(posterior, 0) == pytest.approx(25 * 2 / 4)
    g = curvature.logit(posterior, 0)
    assert curvature.hessians(g.function, torch.zeros(1, 1).double()).abs().item() == pytest.approx(8 * 12.5)


@pytest.mark.stochastic
def test_the_sweep_reports_both_sides(relu_posterior):
    images = torch.rand((3, 1, 3, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = relu_posterior.predict(images).argmax(1)
    rows = bounds.sweep(relu_posterior, images, target, [2.0, 20.0], epsilon=1.0, n_steps=20, at_most=257)
    assert len(rows) == 6
    # Where the search found no better image, nothing turned, and there is no slack.
    rows = rows.dropna(subset=["slack"]).reset_index()
    assert set(rows["beta"]) == {2.0, 20.0}
    assert (rows["slack"] >= 1).all()
    assert (rows["gradient slack"] >= 1).all()
    np.testing.assert_allclose(rows["worst point"] * rows["worst direction"] * rows["there and back"], rows["slack"])
    assert (rows["curvature"] <= rows["beta"] * rows["constant"]).all()
    assert (rows["to target, after"] > rows["to target, before"]).mean() > 0.5
    text = bounds.told(rows)
    assert "the bound for the normal was never broken" in text
    assert "beta 20" in text
    rows.loc[0, "slack"] = 0.9
    assert "the bound for the normal was broken 1 times" in bounds.told(rows)
    assert "at beta 2 and from" in bounds.reached(rows)
    assert list(bounds.by_beta(rows).index) == [2.0, 20.0]
    assert len(figures.curvature_bounds(rows).axes) == 3


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            lambda p: curvature.logit(p, 0),
            "the network has ReLUs, so its second derivatives are zero almost everywhere",
        ),
        (
            lambda p: curvature.logit(attacks.softened(p, 1.0), 3),
            "target is 3; it must be a whole number of at least 0",
        ),
        (lambda p: attacks.softened(p, 0.0), "beta is 0.0; it must be a finite number above 0"),
        (
            lambda p: curvature.weights_constant(p, 0),
            "the network has a ReLU; the constant is known for dense softened",
        ),
        (lambda p: curvature.shape(lambda x: x.sum(1), torch.zeros(3)), "points have shape [3]; they must be [n, d]"),
        (lambda p: curvature.shape(lambda x: x.square().sum(1), torch.zeros(1, 2)), "the gradient is zero at a point"),
        (
            lambda p: curvature.on_level(lambda x: x.square().sum(1), torch.ones(1, 2).double(), -1.0),
            "the points could not be brought to the level set",
        ),
        (lambda p: smoothed.density(0.0, -1.0), "beta is -1.0; it must be a finite number above 0"),
        (lambda p: smoothed.gaussian_sigma(0), "beta is 0; it must be a finite number above 0"),
        (lambda p: smoothed.closed_form(torch.zeros(2), torch.zeros(1, 2), 1.0), "they must be [d] and not zero"),
        (lambda p: depth.exact_noise(p, torch.zeros(1, 1, 3, 3), torch.tensor([0]), 1.0), "the network has 2 hidden"),
        (
            lambda p: depth.each_its_beta(attacks.softened(p, 1.0), None, None, 1.0),
            "a beta for each neuron is known for",
        ),
    ],
)
def test_bad_input_gets_a_sentence(relu_posterior, wrong, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        wrong(relu_posterior)


@pytest.mark.parametrize("beta", [0.5, 3.0, 100.0])
def test_theorem_2_by_quadrature(beta):
    weights = torch.tensor([0.7, -2.0, 0.3])
    points = torch.cat([points_of(12, 3) / beta, torch.zeros(1, 3).double()])
    exact = smoothed.closed_form(weights, points, beta)
    # By hand: w times the logistic function of beta w^T x / |w|.
    size = weights.double().norm()
    by_hand = torch.sigmoid(beta * (points @ weights.double()) / size)[:, None] * weights.double()
    torch.testing.assert_close(exact, by_hand)
    assert (smoothed.by_quadrature(weights, points, beta) - exact).abs().max() < 1e-6
    # With beta in the place of beta / |w| it would not hold.
    wrong = torch.sigmoid(beta * (points @ weights.double()))[:, None] * weights.double()
    assert (wrong - exact).abs().max() > 1e-2


def test_the_density_is_the_logistic_one():
    from scipy import stats

    noise = np.linspace(-400, 400, 41)
    for beta in (0.1, 1.0, 30.0):
        np.testing.assert_allclose(
            smoothed.density(noise, beta), stats.logistic.pdf(noise, scale=1 / beta), atol=1e-300
        )


@pytest.mark.stochastic
def test_theorem_2_by_sampling_within_its_standard_error():
    weights, points = torch.tensor([0.7, -2.0, 0.3]), points_of(30, 3)
    exact = smoothed.closed_form(weights, points, 2.0) @ weights.double() / weights.double().square().sum()
    found = smoothed.by_sampling(weights, points, 2.0, 20_000)
    off = (found.mean - exact) / (exact * (1 - exact) / 20_000).sqrt()
    assert off.abs().max() < 4
    # One seed for all points, so they are not independent; still they are off by about as much as they say.
    assert 0.2 < off.square().mean().sqrt() < 2.5


def test_gaussian_noise_is_off_by_the_same_share_for_every_beta():
    errors = [smoothed.gaussian_curve(beta)["error"].abs().max() for beta in (0.1, 1.0, 50.0)]
    np.testing.assert_allclose(errors, errors[0])
    assert 0.01 < errors[0] < 0.02
    # sigma is that at which E[relu(e)] is softplus at the kink, log(2) / beta.
    assert smoothed.gaussian_sigma(4.0) / math.sqrt(2 * math.pi) == pytest.approx(math.log(2) / 4)
    rows = smoothed.theorem(torch.tensor([1.0, 2.0]), points_of(10, 2), [1.0, 10.0], n_draws=2000)
    assert "Quadrature and closed form differ by" in smoothed.told_theorem(rows)
    assert "too much" not in smoothed.told_theorem(rows)


@pytest.mark.stochastic
def test_spherical_noise_is_logistic_in_every_direction():
    from scipy import stats

    noise = smoothed.spherical_logistic((20_000, 4), 3.0, np.random.default_rng(0))
    for direction in ([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.6, 0, -0.8, 0]):
        assert stats.kstest(noise @ np.array(direction), stats.logistic(scale=1 / 3).cdf).pvalue > 0.01
    # Independent logistic components are not.
    apart = np.random.default_rng(0).logistic(scale=1 / 3, size=(200_000, 4))
    assert stats.kstest(apart @ np.full(4, 0.5), stats.logistic(scale=1 / 3).cdf).pvalue < 1e-6


def one_hidden_layer(seed=0):
    network = depth.dense((1, 2, 2), hidden=5, n_classes=3, depth=1)
    generator = torch.Generator().manual_seed(seed)
    samples = {
        name: 2 * torch.randn((1, *value.shape), generator=generator) for name, value in network.named_parameters()
    }
    return Posterior(network, samples)


@pytest.mark.stochastic
def test_one_hidden_layer_is_smoothed_exactly_by_a_beta_for_each_neuron():
    posterior, images = one_hidden_layer(), torch.rand((6, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    rows = depth.exact_noise(posterior, images, torch.tensor([0, 1, 2, 0, 1, 2]), 5.0)
    assert rows.loc[depth.EACH, "in standard errors"] < 4.5
    assert rows.loc[depth.ONE, "in standard errors"] > 20
    assert rows.loc[depth.EACH, "error of the maps"] < 1e-3 < rows.loc[depth.ONE, "error of the maps"]


def test_a_beta_for_each_neuron_is_the_same_beta_where_all_weights_are_as_long():
    posterior, images = one_hidden_layer(), torch.rand((4, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 1, 2, 0])
    weight = posterior.samples["1.weight"]
    even = Posterior(posterior.network, {**posterior.samples, "1.weight": 3 * functional.normalize(weight, dim=2)})
    wanted = explanations.gradient(attacks.softened(even, 4.0), images, target)
    torch.testing.assert_close(depth.each_its_beta(even, images, target, 12.0), wanted)


def test_very_sharp_smoothing_of_deep_networks_is_the_gradient(relu_posterior):
    images = torch.rand((4, 1, 3, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 0])
    wanted = explanations.gradient(relu_posterior, images, target)
    torch.testing.assert_close(depth.each_its_beta(relu_posterior, images, target, 1e6), wanted)


@pytest.mark.stochastic
def test_the_comparison_knows_what_chance_allows():
    posterior, images = one_hidden_layer(), torch.rand((6, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    rows = depth.compare({"one": posterior}, images, torch.zeros(6, dtype=torch.int64), [2.0, 20.0], n_noise=200)
    assert len(rows) == 6
    by_case = rows.set_index(["beta", "smoothing"])["error"]
    for beta in (2.0, 20.0):
        assert by_case[beta, depth.EACH] < by_case[beta, depth.ONE]
    chance = rows.loc[rows["smoothing"] == depth.EACH, "error by chance"]
    assert (by_case.xs(depth.EACH, level="smoothing").to_numpy() < 10 * chance.to_numpy() + 1e-3).all()
    assert "in 2 of 2 cases" in depth.told(rows)
    assert len(figures.smoothing_depth(rows).axes) == 1
    assert len(figures.smoothing_curve().axes) == 2
    assert isinstance(rows, pd.DataFrame)
