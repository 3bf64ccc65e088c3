from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from oracles import LINE_NOISE, LINE_PRIOR, MOST, line_parameters, moments_off

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
