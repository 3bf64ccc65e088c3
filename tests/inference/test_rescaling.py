"""Scales of hidden units are drawn from what the prior leaves them, and the network computes the same."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import nn

from oracles import MOST, errors_off, to_double
from relevance import inference
from relevance.inference import rescaling
from relevance.inference.energy import Coordinates, NetworkEnergy
from relevance.networks import architectures

pytestmark = pytest.mark.stochastic


def scales_of(network, data, prior_scale=0.5):
    coordinates = Coordinates(network, data)
    energy = NetworkEnergy(network, data, prior_scale, coordinates=coordinates)
    return energy, rescaling.Rescaling(energy, coordinates)


@pytest.mark.parametrize(("power", "before", "after"), [(3.5, 8.0, 5.0), (-4.0, 2.0, 9.0), (0.0, 1.0, 1.0)])
def test_a_scale_stays_a_draw_of_its_distribution(power, before, after):
    """The square of a scale is generalised inverse Gaussian; its draws are scipy's, and stay draws when they are moved."""
    size, generator = 4000, torch.Generator().manual_seed(0)
    known = stats.geninvgauss(power, (before * after) ** 0.5, scale=(after / before) ** 0.5)
    squares = torch.from_numpy(known.rvs(size, random_state=1))
    factors = rescaling._drawn(before * squares, after / squares, power, generator)
    moved = squares * factors**2
    assert errors_off(moved[:, None], known.mean()).abs().max() < MOST
    assert errors_off(((moved - known.mean()) ** 2)[:, None], known.var()).abs().max() < MOST
    assert (factors != 1).double().mean() > 0.9
    assert torch.corrcoef(torch.stack([squares, moved]))[0, 1].abs() < 0.1


def test_a_move_changes_no_output_and_leaves_draws_of_the_prior(tiny_data):
    data, generator = to_double(tiny_data), torch.Generator().manual_seed(0)
    network = architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3).double()
    energy, scales = scales_of(network, data)
    assert [(hidden.weight, hidden.after) for hidden in scales.layers] == [
        ("1.weight", "3.weight"),
        ("3.weight", "5.weight"),
    ]
    drawn = 0.5 * torch.randn(400, sum(energy.sizes), generator=generator, dtype=torch.float64)
    moved = torch.stack([scales(position, generator) for position in drawn])
    first, second = energy(drawn[0]), energy(moved[0])
    n_images = len(data.train_labels)
    assert torch.allclose(first.terms[:n_images], second.terms[:n_images])
    assert not torch.allclose(drawn[0], moved[0])
    for name, part in energy.parts(moved).items():
        # Weights of one unit move together, so that networks are the independent draws.
        assert errors_off(part.flatten(1).square().mean(1, keepdim=True), 0.25).abs().max() < MOST, name


def test_only_scales_that_are_free_are_drawn(tiny_data):
    data = to_double(tiny_data)
    tanh = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    normed = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).double()
    for network in (tanh, normed):
        assert scales_of(network, data)[1].layers == []
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)).double()
    assert scales_of(plain, data)[1].layers == [rescaling.Hidden("1.weight", None, "3.weight")]


def test_the_sampler_uses_them_and_counts_their_gradient(small_network, tiny_data):
    given = {"n_samples": 4, "warmup": 2, "n_steps": 3, "prior_scale": 0.5, "n_chains": 1, "progress": False}
    for rescale in (True, False):
        history = inference.hmc(small_network, tiny_data, rescale=rescale, **given).record["history"]
        assert {row["n_gradients"] for row in history[0]} == {3 + rescale}
