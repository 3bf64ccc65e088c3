from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from oracles import random_posterior
from relevance import explanations
from relevance.networks import architectures
from relevance.networks.posterior import Posterior


def test_the_root_of_a_linear_model_is_its_projection(some_images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(0.3 * torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    posterior = Posterior.of(network)
    target = torch.tensor([0, 1, 0, 1, 0, 1])
    near = 0.4 + 0.2 * some_images  # far enough from 0 and 1 for the projection to stay inside
    roots = explanations.root_points(posterior, near, target, tolerance=1e-9)
    weight = network[1].weight[target]
    logits = (weight * near.flatten(1)).sum(1)
    wanted = near.flatten(1) - weight * (logits / (weight**2).sum(1))[:, None]
    inside = ((wanted >= 0) & (wanted <= 1)).all(1)
    assert inside.sum() >= 3
    assert torch.allclose(roots.images.flatten(1)[inside], wanted[inside], atol=1e-7)
    assert roots.converged[inside].all()
    assert torch.allclose(roots.distances, (roots.images - near).flatten(1).norm(dim=1))
    maps = explanations.deep_taylor(posterior, near, target, roots=roots)
    assert torch.allclose(maps.flatten(1)[inside], (weight * (near.flatten(1) - wanted))[inside], atol=1e-7)
    assert torch.allclose(maps.flatten(1).sum(1)[inside], logits[inside], atol=1e-7)


def test_roots_in_the_box_are_the_nearest_by_another_solver(some_images):
    """Pixels at their bounds: the projection onto a box and a plane, by scipy's search for its one multiplier."""
    from scipy.optimize import brentq

    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(2, 16, generator=torch.Generator().manual_seed(2)))
        network[1].bias.copy_(torch.tensor([1.0, -1.0]))
    target = torch.zeros(6, dtype=torch.long)
    roots = explanations.root_points(Posterior.of(network), some_images, target, tolerance=1e-9)
    weight, bias = network[1].weight[0].detach().numpy(), network[1].bias[0].item()
    bound = ((roots.images == 0) | (roots.images == 1)).flatten(1).any(1)
    assert bound.any()
    # The logit takes both signs over the box, so every image has a root: w.z falls as its multiplier grows.
    assert np.minimum(weight, 0).sum() + bias < 0 < np.maximum(weight, 0).sum() + bias
    assert roots.converged.all()
    for image, root in zip(some_images.flatten(1).numpy(), roots.images.flatten(1).numpy(), strict=True):

        def projected(multiplier, image=image):
            return np.clip(image - multiplier * weight, 0, 1)

        best = brentq(lambda multiplier: np.dot(weight, projected(multiplier)) + bias, -1e3, 1e3, xtol=1e-13)
        assert root == pytest.approx(projected(best), abs=1e-5)


def test_roots_of_a_network_are_roots_and_those_that_are_not_are_named(some_images, some_labels):
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3), 4)
    roots = explanations.root_points(posterior, some_images, some_labels, tolerance=1e-6)
    logits = posterior.logits(roots.images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
    before = posterior.logits(some_images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
    assert torch.allclose(roots.logits, logits)
    assert roots.converged.any()
    assert torch.equal(roots.converged, logits.abs() <= 1e-6 * before.abs().clamp(min=1))
    assert ((roots.images >= 0) & (roots.images <= 1)).all()
    never = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        never[1].bias.fill_(100.0)
    roots = explanations.root_points(Posterior.of(never), some_images, torch.zeros(6, dtype=torch.long))
    assert not roots.converged.any()
    assert roots.images.isfinite().all()
