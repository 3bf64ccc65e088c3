"""Manipulations of planted networks: one whose map has no choice, and one whose map can be anything."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from oracles import random_posterior
from relevance import metrics
from relevance.attacks.manipulation import Manipulation
from relevance.explanations.smoothing import softened
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.dombrowski import manipulation, tables
from relevance.studies.dombrowski.manipulation import METHODS

pytestmark = pytest.mark.usefixtures("own_store")


def softplus_posterior(n_samples=2):
    network = architectures.fully_connected((1, 4, 4), hidden=7, n_classes=3, activation="softplus")
    return random_posterior(network, n_samples, scale=2.0)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_every_map_is_that_of_finite_differences(method, some_images):
    posterior = softplus_posterior()
    images = some_images[:2]
    target = posterior.predict(images).argmax(1)
    explain = manipulation.explainer(method, posterior, some_images, Manipulation())
    weights = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value(points):
        return (weights * explain(posterior, points, target)).sum()

    points = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(points), points)
    step = 1e-5
    for index in range(16):
        moved = torch.zeros_like(images).flatten(1)
        moved[:, index] = step
        moved = moved.reshape(images.shape)
        wanted = (value(images + moved) - value(images - moved)) / (2 * step)
        # Guided backpropagation cuts, which has kinks of its own between the two points only with probability 0.
        assert slope.flatten(1)[:, index].sum().item() == pytest.approx(wanted.item(), rel=2e-4, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_softened_maps_have_a_gradient_of_their_own(method, dense_posterior, some_images):
    explain = manipulation.explainer(method, dense_posterior, some_images, Manipulation())
    target = dense_posterior.predict(some_images).argmax(1)
    points = some_images.clone().requires_grad_()
    maps = explain(softened(dense_posterior, 10.0), points, target)
    (slope,) = torch.autograd.grad(maps.square().sum(), points)
    assert slope.flatten(1).abs().amax(1).min() > 0


def easy():
    """One network of softplus units whose gradient map turns from one half of the pixels to the other."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Softplus(beta=30), nn.Linear(16, 2))
    weight = 6 * torch.eye(16)
    head = torch.stack([torch.full((16,), 0.05), torch.full((16,), -0.05)])
    samples = {"1.weight": weight[None], "1.bias": torch.full((1, 16), -3.0), "3.weight": head[None],
               "3.bias": torch.tensor([[0.5, -0.5]])}  # fmt: skip
    return Posterior(network, samples)


@pytest.mark.stochastic
def test_a_planted_network_is_manipulated_with_its_output_held():
    # A pixel counts if it is above one half: moving some across it turns the map and hardly the output.
    generator = torch.Generator().manual_seed(0)
    images = 0.5 + 0.1 * (torch.rand(32, 1, 4, 4, generator=generator) - 0.5)
    how = Manipulation(epsilon=0.5, n_steps=200, output_weight=1.0, betas=((30.0, 30.0),))
    found = manipulation.case(easy(), images, "gradient", how, images)
    rows = found.table()
    moved = rows[rows["change"] == "manipulated"]
    assert tables.succeeded(moved).all()
    assert moved["correlation_target"].median() > 0.9
    assert moved["l2"].max() <= 0.5 + 1e-5
    assert moved["output_change"].max() < 0.05
    noise = rows[rows["change"] == "noise"]
    assert np.allclose(noise["l2"], moved["l2"], atol=1e-4)
    assert noise["correlation_origin"].median() > moved["correlation_origin"].median()
    assert noise["correlation_target"].median() < 0.5
    assert (moved["before"] < moved["correlation_target"]).all()


def test_a_constant_gradient_cannot_be_manipulated():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    posterior = random_posterior(network, 1)
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match="moved no image"):
        found = manipulation.case(posterior, images, "gradient", Manipulation(n_steps=20), images)
    rows = found.table()
    assert np.allclose(rows["correlation_origin"], 1)
    assert not tables.succeeded(rows).any()


@pytest.mark.stochastic
def test_the_loss_is_lowered_and_the_ball_is_kept(dense_posterior, some_images):
    how = Manipulation(epsilon=1.0, n_steps=30)
    found = manipulation.case(dense_posterior, some_images, "gradient x input", how, some_images)
    rows = found.table()[lambda table: table["change"] == "manipulated"]
    before = (found.maps - found.aims).flatten(1).square().mean(1)
    assert (rows["error_target"].to_numpy() <= before.numpy() + 1e-9).all()
    assert rows["error_target"].mean() < before.mean().item()
    assert rows["label_kept"].all()
    assert rows["l2"].max() <= 1 + 1e-6
    alike = metrics.linear_similarity(found.aims, found.reached)
    wanted = [
        np.corrcoef(one.flatten(), other.flatten())[0, 1] for one, other in zip(found.aims, found.reached, strict=True)
    ]
    assert np.allclose(alike, wanted)
    assert np.allclose(rows["correlation_target"], wanted)


@pytest.mark.stochastic
def test_of_several_surrogates_the_better_counts_for_each_image(dense_posterior, some_images):
    losses = []
    for betas in (((1.0, 1.0),), ((30.0, 30.0),), ((1.0, 1.0), (30.0, 30.0))):
        how = Manipulation(epsilon=1.0, n_steps=15, output_weight=0.0, betas=betas)
        found = manipulation.case(dense_posterior, some_images, "gradient x input", how, some_images)
        losses.append((found.reached - found.aims).flatten(1).square().mean(1))
    assert torch.allclose(losses[2], torch.minimum(losses[0], losses[1]))
    assert not torch.allclose(losses[0], losses[1])


def test_bad_input_gets_a_sentence(dense_posterior, some_images):
    run = partial(manipulation.case, dense_posterior, how=Manipulation(), train_images=some_images)
    with pytest.raises(ValueError, match="method is 'magic'; it may be one of: LRP, gradient"):
        run(some_images, "magic")
    with pytest.raises(ValueError, match="there are 1 images"):
        run(some_images[:1], "LRP")
    with pytest.raises(ValueError, match="epsilon is -1"):
        Manipulation(epsilon=-1)
