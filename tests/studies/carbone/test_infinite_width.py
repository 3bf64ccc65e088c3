"""The process beside what it is the limit of, and its slopes by finite differences."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from oracles import MOST, errors_off
from relevance.studies.carbone import geometry, infinite_width, manifolds
from relevance.studies.carbone.infinite_width import Prior

ONE, TWO, ITS = Prior(n_layers=1, bias=0.3), Prior(bias=0.3), Prior()


@pytest.fixture
def points():
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def drawn(prior, n_draws, width):
    """Draws of finite networks of a prior, as functions."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(n_draws):
        sizes = [3, *[width] * prior.n_layers, 1]
        layers = [nn.Linear(*pair, dtype=torch.float64) for pair in itertools.pairwise(sizes)]
        for layer in layers:
            layer.weight.data.normal_(0, (prior.weight / layer.in_features) ** 0.5, generator=generator)
            layer.bias.data.normal_(0, prior.bias**0.5, generator=generator)
        modules = [part for layer in layers for part in (layer, nn.ReLU())]
        yield nn.Sequential(*modules[:-1])


@pytest.mark.stochastic
def test_the_kernel_is_the_covariance_of_networks_of_one_layer(points):
    """It is so at every width: only higher moments need a limit."""
    with torch.no_grad():
        outputs = torch.stack([network(points)[:, 0] for network in drawn(ONE, 4000, 8)])
    products = outputs[:, :, None] * outputs[:, None]
    assert errors_off(products, infinite_width.kernel(points, points, ONE)).abs().max() < MOST


@pytest.mark.stochastic
def test_a_layer_more_is_the_mean_product_of_normal_units(points):
    covariance = infinite_width.kernel(points, points, ONE)
    root = torch.linalg.cholesky(covariance)
    units = (torch.randn(100_000, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64) @ root.T).relu()
    products = TWO.bias + TWO.weight * units[:, :, None] * units[:, None]
    assert errors_off(products, infinite_width.kernel(points, points, TWO)).abs().max() < MOST


@pytest.mark.stochastic
def test_slopes_have_one_variance_everywhere(points):
    found = []
    for network in drawn(TWO, 2000, 8):
        leaf = points.clone().requires_grad_()
        found.append(torch.autograd.grad(network(leaf).sum(), leaf)[0])
    slopes = torch.stack(found)
    products = slopes[..., None] * slopes[..., None, :]
    wanted = infinite_width.slope_variance(3, TWO) * torch.eye(3, dtype=torch.float64)
    assert errors_off(products, wanted).abs().max() < MOST
    assert infinite_width.slope_variance(3, TWO._replace(scale=3.0)) == pytest.approx(9 * wanted[0, 0].item())


def test_slopes_are_those_of_the_posterior_by_finite_differences(points):
    train = torch.randn(12, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    values = infinite_width.known(train)
    mean, variance, slope, covariance = infinite_width.slopes(points, train, values, ITS)

    def of(some):
        """The posterior's mean and covariance, solved directly."""
        noise = (infinite_width.NOISE**2 * values.square().mean()) * torch.eye(12, dtype=torch.float64)
        between = infinite_width.kernel(some, train, ITS)
        solved = torch.linalg.solve(
            infinite_width.kernel(train, train, ITS) + noise, torch.column_stack([values, between.T])
        )
        return between @ solved[:, 0], infinite_width.kernel(some, some, ITS) - between @ solved[:, 1:]

    found, around = of(points)
    assert torch.allclose(mean, found)
    assert torch.allclose(variance, around.diagonal())
    step = 1e-4
    shifts = step * torch.eye(3, dtype=torch.float64)
    for index, point in enumerate(points):
        means, covariances = of(torch.cat([point + shifts, point - shifts]))
        assert torch.allclose(slope[index], (means[:3] - means[3:]) / (2 * step), atol=1e-6)
        change = (covariances[:3] - covariances[3:]) / (2 * step)
        numeric = (change[:, :3] - change[:, 3:]) / (2 * step)
        assert torch.allclose(covariance[index], numeric, rtol=1e-2, atol=1e-2 * covariance[index].abs().max())


@pytest.mark.parametrize("name", manifolds.MANIFOLDS)
def test_more_points_agree_with_the_function_and_a_wider_prior_does_not_turn_the_average(name):
    rows = infinite_width.sweep([name], [20, 200], [1.0, 5.0])
    few, _, many, wide = rows.to_dict("records")
    assert many["error"] < 0.2 * few["error"]
    assert many[geometry.ALONG] > few[geometry.ALONG]
    # Five times as wide a prior: slopes of single draws are as much larger, and their mean is what it was.
    assert wide[infinite_width.SHARE] == pytest.approx(many[infinite_width.SHARE], rel=2e-2)
    assert wide[geometry.CURVED] < 0.5 * many[geometry.CURVED]
    assert many[infinite_width.SHARE] > 0.05


def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="name is 'torus'; it may be one of: half-moons, sphere"):
        infinite_width.sweep(["torus"], [20], [1.0])
    with pytest.raises(ValueError, match="scales is 0; it must be"):
        infinite_width.sweep(["sphere"], [20], [0])
