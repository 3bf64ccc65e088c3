from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles import LINE_NOISE, LINE_PRIOR, MOST, line_parameters, moments_off
from relevance import inference

pytestmark = pytest.mark.stochastic

laplace = importlib.import_module("relevance.inference.laplace")  # the room hands on its function by this name


def test_laplace_is_exact_for_a_linear_regression(regression):
    data, network, mean, precision = regression
    with torch.no_grad():
        network[1].weight.copy_(mean[None, :3])
        network[1].bias.copy_(mean[3:])
    settings = laplace.Settings(n_samples=40000, prior_scale=LINE_PRIOR)
    posterior = laplace.around(
        network, data, settings, lambda out: torch.full((len(out), 1, 1), LINE_NOISE**-2).to(out)
    )
    assert moments_off(line_parameters(posterior), mean, torch.linalg.inv(precision)).abs().max() < MOST


def test_laplace_takes_the_hessian_of_the_softmax(small_network, tiny_data):
    """Of the last layer the Gauss-Newton matrix is the Hessian: against autograd's."""
    data = replace(tiny_data, train_images=tiny_data.train_images.double())
    model = small_network.double()
    found = laplace._precision(model, model[5], data, 0.5, laplace.softmax_curvature)
    features = model[:5](data.train_images).detach()
    features = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    start = torch.cat([model[5].weight, model[5].bias[:, None]], 1).detach()

    def potential(weights):
        logits = features @ weights.reshape(3, -1).T
        return functional.cross_entropy(logits, data.train_labels, reduction="sum") + 0.5 * (weights / 0.5).pow(2).sum()

    wanted = torch.autograd.functional.hessian(potential, start.flatten())
    assert torch.allclose(found, wanted, atol=1e-9)


class Backwards(nn.Module):
    """Its layers are registered in another order than they are called in."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(8, 3)
        self.first = nn.Linear(16, 8)

    def forward(self, images):
        return self.last(self.first(images.flatten(1)).relu())


def test_the_last_layer_is_the_one_that_is_called_last(tiny_data):
    posterior = inference.laplace(Backwards(), tiny_data, epochs=1, n_samples=3, progress=False)
    assert posterior.samples["last.weight"].std(0).min() > 0
    assert posterior.samples["first.weight"].std(0).max() == 0
    model = Backwards()
    before = model(tiny_data.test_images)
    assert laplace.last_layer(nn.Sequential(model, nn.Flatten(), nn.Identity()), tiny_data.test_images)[0] == "0.last"
    assert torch.equal(model(tiny_data.test_images), before)  # no hook is left


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(16, 3))

    def forward(self, images):
        return images.flatten(1) @ self.weights


class Halved(nn.Linear):
    def forward(self, x):
        return super().forward(x) / 2


def tied():
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)
    second.weight = first.weight
    return nn.Sequential(nn.Flatten(), first, second)


@pytest.mark.parametrize(
    "network",
    [
        Bare(),
        nn.Sequential(nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.BatchNorm1d(3)),
        nn.Sequential(nn.Flatten(), Halved(16, 3)),
        nn.Sequential(nn.Flatten(), *2 * [nn.Linear(16, 16)]),
        tied(),
    ],
    ids=["bare", "convolution", "relu", "in place", "normalised", "own forward", "twice", "tied"],
)
def test_a_network_that_ends_in_no_dense_layer_gets_a_sentence(tiny_data, network):
    with pytest.raises(
        ValueError, match="network does not return what its last dense layer gives; for laplace it must"
    ):
        inference.laplace(network, tiny_data, epochs=1, n_samples=2, progress=False)
