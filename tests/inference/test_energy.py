"""A network's energy in the coordinates of a chain is the posterior's, and what no image meets is drawn from the prior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from oracles import LINE_PRIOR, MOST, errors_off, line_misfit, moments_off, to_double
from relevance import inference
from relevance.inference.chain import Settings, run_chain
from relevance.inference.curvature import Curvature
from relevance.inference.energy import Coordinates, NetworkEnergy, layers
from relevance.networks import architectures

UNMET = (0, 3, 7)


@pytest.fixture
def dark_data(tiny_data):
    """The tiny data with three pixels that are 0 in every training image, and not in all test images."""
    images = tiny_data.train_images.clone()
    images.flatten(1)[:, UNMET] = 0
    return to_double(replace(tiny_data, train_images=images))


def drawn(energy, seed=0):
    return torch.randn(sum(energy.sizes), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("hidden_layers", [1, 2])
def test_coordinates_change_no_energy_and_turn_its_gradient(dark_data, hidden_layers):
    network = architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3).double()
    plain = NetworkEnergy(network, dark_data, 0.3)
    turned = NetworkEnergy(network, dark_data, 0.3, coordinates=Coordinates(network, dark_data))
    assert sum(turned.sizes) == sum(plain.sizes) - 8 * len(UNMET)
    position = drawn(turned)
    parameters = turned.unflatten(position)
    assert torch.allclose(turned.flatten(parameters), position)
    wanted = plain(plain.flatten(parameters))
    found = turned(position)
    # The squares of the prior's terms are those of other axes; their sum is the same.
    assert found.terms.sum().item() == pytest.approx(wanted.terms.sum().item(), rel=1e-12)
    assert torch.allclose(found.gradient, turned.flatten(plain.parts(wanted.gradient)), atol=1e-10)


def test_a_convolutional_network_keeps_its_energy(tiny_data):
    data = to_double(tiny_data)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
    coordinates = Coordinates(network, data)
    assert list(coordinates.bases) == ["3.weight"]
    plain, turned = NetworkEnergy(network, data, 0.3), NetworkEnergy(network, data, 0.3, coordinates=coordinates)
    parameters = turned.unflatten(drawn(turned))
    totals = [energy(energy.flatten(parameters)).terms.sum().item() for energy in (plain, turned)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-12)
    mass = Curvature(turned, coordinates, 0)(drawn(turned))
    assert mass.shape == (sum(turned.sizes),)
    assert (mass >= 1).all()


def test_only_weights_of_a_layer_on_the_images_that_nothing_else_uses_are_left_out(dark_data):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, images):
            hidden = self.first(images.flatten(1)).relu()
            return self.second(hidden + hidden @ self.first.weight)

    class Again(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 16), nn.Linear(16, 3)

        def forward(self, images):
            return self.second(self.first(self.first(images.flatten(1)).relu()))

    tied = nn.Sequential(nn.Flatten(), nn.Linear(16, 16, bias=False), nn.ReLU(), nn.Linear(16, 16, bias=False))
    tied[3].weight = tied[1].weight
    for network in (Twice(), Again(), tied):
        bases = Coordinates(network.double(), dark_data).bases
        assert all(basis.shape[0] == basis.shape[1] for basis in bases.values()), network
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    for turned in (True, False):
        basis = Coordinates(plain, dark_data, turned=turned).bases["1.weight"]
        assert basis.shape == (16, 16 - len(UNMET))
        assert basis[list(UNMET)].abs().max() < 1e-12
    assert Coordinates(plain, dark_data, exact=False).bases["1.weight"].shape == (16, 16)
    assert [layer.on_data for layer in layers(Again().double(), dark_data.train_images).values()] == [True, False]


@pytest.mark.stochastic
def test_weights_that_no_image_meets_are_draws_of_the_prior(dark_data, small_network):
    given = {"n_samples": 40, "warmup": 10, "prior_scale": 0.5, "n_chains": 2, "progress": False}
    posterior = inference.hmc(small_network.double(), dark_data, **given)
    unmet = posterior.samples["1.weight"][..., UNMET].reshape(-1, 1).double()
    # Every draw of every weight is apart from all others.
    assert errors_off(unmet, 0.0).abs().max() < MOST
    assert errors_off(unmet**2, 0.25).abs().max() < MOST
    assert len(unmet.unique()) == len(unmet)
    dark = dark_data.train_images[:5]
    moved = {name: value.clone() for name, value in posterior.samples.items()}
    moved["1.weight"][..., UNMET] += 1
    assert torch.equal(posterior.logits(dark), type(posterior)(posterior.network, moved).logits(dark))


@pytest.mark.stochastic
def test_weights_along_directions_without_an_image_are_draws_of_the_prior(tiny_data, small_network):
    plane = torch.eye(2, dtype=torch.float64).repeat_interleave(8, 0) / 8**0.5  # each half of an image is of one value
    flat = tiny_data.train_images.double().flatten(1) @ plane @ plane.T
    data = replace(to_double(tiny_data), train_images=flat.reshape(-1, 1, 4, 4))
    network = small_network.double()
    assert Coordinates(network, data).bases["1.weight"].shape == (16, 2)
    given = {"n_samples": 40, "warmup": 10, "prior_scale": 0.5, "n_chains": 2, "progress": False}
    posterior = inference.hmc(network, data, **given)
    weights = posterior.samples["1.weight"]
    across = torch.linalg.svd(plane)[0][:, 2:]
    unmet = (weights @ across).reshape(-1, 1)
    assert errors_off(unmet, 0.0).abs().max() < MOST
    assert errors_off(unmet**2, 0.25).abs().max() < MOST
    without = type(posterior)(posterior.network, posterior.samples | {"1.weight": weights @ plane @ plane.T})
    assert torch.allclose(posterior.logits(data.train_images), without.logits(data.train_images))


@pytest.mark.stochastic
def test_a_chain_in_turned_coordinates_samples_the_posterior_of_a_linear_regression(regression):
    data, network, mean, precision = regression
    coordinates = Coordinates(network, data)
    energy = NetworkEnergy(network, data, LINE_PRIOR, line_misfit, coordinates)
    bend = torch.linalg.inv(torch.linalg.inv(precision))
    basis = torch.block_diag(energy.bases["1.weight"], torch.eye(1, dtype=torch.float64))
    masses = LINE_PRIOR**2 * (basis.T @ bend @ basis).diagonal()
    settings = Settings(warmup=100, step_size=0.05, prior_scale=LINE_PRIOR)
    chain = run_chain(
        energy, lambda: torch.zeros(4, dtype=torch.float64), settings, 800, torch.Generator().manual_seed(1),
        masses=lambda position, power: masses,
    )  # fmt: skip
    samples = energy.unflatten(chain.positions)
    found = torch.cat([samples["1.weight"].flatten(1), samples["1.bias"]], 1)
    assert moments_off(found, mean, torch.linalg.inv(precision), chain=True).abs().max() < MOST
