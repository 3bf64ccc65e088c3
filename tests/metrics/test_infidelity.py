"""Infidelity and deletion against closed forms, captum, loops, and networks whose relevant pixels are known."""

from __future__ import annotations

import pytest
import torch

from oracles import MOST
from relevance import explanations, metrics
from relevance.base import chunks

BLACK = {"baseline": "black"}


@pytest.mark.parametrize(
    "settings", [{"perturbation": "noise", "size": 0.3}, {"size": 2}, {"size": 2, "baseline": "blur"}]
)
def test_the_gradient_of_a_linear_network_misses_nothing(linear, some_images, some_labels, settings):
    maps = explanations.gradient(linear, some_images, some_labels)
    assert metrics.infidelity(linear, some_images, some_labels, maps, **settings).max() < 1e-24
    other = metrics.infidelity(linear, some_images, some_labels, 1.5 * maps, **settings)
    none = metrics.infidelity(linear, some_images, some_labels, 0 * maps, **settings)
    torch.testing.assert_close(other, none / 4)
    scaled = metrics.infidelity(linear, some_images, some_labels, 1.5 * maps, scaled=True, **settings)
    assert scaled.max() < 1e-12


@pytest.mark.stochastic
def test_a_constant_map_of_a_linear_network_misses_what_is_known(linear, some_images, some_labels):
    """Noise: E[(I . (c 1 - w))^2] = sigma^2 |c 1 - w|^2."""
    weights = linear.samples["1.weight"][0][some_labels]
    found = metrics.infidelity(
        linear,
        some_images,
        some_labels,
        torch.full_like(some_images, 0.2),
        perturbation="noise",
        size=0.3,
        n_perturbations=20_000,
    )
    # The mean of n squares of a normal variable is off by a share of sqrt(2 / n), in standard errors.
    torch.testing.assert_close(found, 0.09 * (0.2 - weights).square().sum(1), rtol=MOST * (2 / 20_000) ** 0.5, atol=0)
    relative = metrics.infidelity(
        linear,
        some_images,
        some_labels,
        torch.ones_like(some_images),
        perturbation="noise",
        n_perturbations=20_000,
        scaled=True,
        relative=True,
    )
    # The best multiple of 1 leaves what is orthogonal to it.
    wanted = 1 - weights.sum(1) ** 2 / (16 * weights.square().sum(1))
    # What it leaves is 1 - r^2, and the correlation r of n pairs of normal variables has the standard error (1 - r^2) / sqrt(n).
    error = 2 * (1 - wanted).sqrt() * wanted / 20_000**0.5
    assert ((relative - wanted).abs() < MOST * error + 1e-3).all()


@pytest.mark.parametrize("contributions", [False, True])
def test_infidelity_is_the_direct_mean_over_the_same_squares(dense_posterior, some_images, some_labels, contributions):
    maps = torch.randn(some_images.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    mean = some_images.mean(0)
    squares = metrics.random_squares((1, 4, 4), 2, 30, seed=5)
    changes, told = [], []
    for square in squares:
        without = torch.where(square > 0, mean, some_images)
        logits = dense_posterior.logits(some_images).mean(0) - dense_posterior.logits(without).mean(0)
        changes.append(logits.gather(1, some_labels[:, None])[:, 0])
        told.append(((square if contributions else some_images - without) * maps).flatten(1).sum(1))
    change, told = torch.stack(changes), torch.stack(told)
    given = {
        "size": 2,
        "n_perturbations": 30,
        "baseline": mean,
        "contributions": contributions,
        "seed": 5,
    }

    def found(**settings):
        return metrics.infidelity(dense_posterior, some_images, some_labels, maps, **given, **settings)

    torch.testing.assert_close(found(), (told - change).square().mean(0))
    factor = (told * change).mean(0) / told.square().mean(0)
    best = (factor * told - change).square().mean(0)
    torch.testing.assert_close(found(scaled=True), best)
    torch.testing.assert_close(found(scaled=True, relative=True), best / change.square().mean(0))


def test_squares_cannot_tell_the_gradient_from_gradient_x_input(dense_posterior, some_images, some_labels):
    slopes = explanations.gradient(dense_posterior, some_images, some_labels)
    first = metrics.infidelity(dense_posterior, some_images, some_labels, slopes)
    second = metrics.infidelity(dense_posterior, some_images, some_labels, slopes * some_images, contributions=True)
    torch.testing.assert_close(first, second)


def test_chunks_of_images_change_nothing(dense_posterior, some_images, some_labels, monkeypatch):
    whole = metrics.infidelity(dense_posterior, some_images, some_labels, some_images)
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", 300)
    torch.testing.assert_close(metrics.infidelity(dense_posterior, some_images, some_labels, some_images), whole)


def test_squares_lie_inside_and_everywhere():
    squares = metrics.random_squares((2, 5, 6), 3, 500)
    assert squares.shape == (500, 2, 5, 6)
    assert (squares.sum((2, 3)) == 9).all()
    assert len({tuple(one.flatten().tolist()) for one in squares}) == 3 * 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"perturbation": "gauss"}, "noise, square"),
        ({"perturbation": "noise", "contributions": True}, "must be 'square'"),
        ({"size": 5}, "size is 5"),
        ({"size": 1.5}, "size is 1.5"),
        ({"baseline": "white"}, "black, blur"),
        ({"baseline": torch.zeros(3)}, "baseline has shape"),
        ({"n_perturbations": 0}, "n_perturbations is 0"),
    ],
)
def test_bad_settings_of_infidelity_get_one_sentence(linear, some_images, some_labels, settings, words):
    with pytest.raises(ValueError, match=words):
        metrics.infidelity(linear, some_images, some_labels, some_images, **settings)
