"""Properties that hold of every network, image and rule, on random small ones."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from conftest import random_posterior
from relevance import chunks, explanations
from relevance.explanations import AlphaBeta, Composite, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus

positive = st.floats(1e-3, 2.0)
rules = st.one_of(
    st.builds(Epsilon, positive),
    st.builds(Gamma, positive),
    positive.map(lambda beta: AlphaBeta(1 + beta, beta)),
    st.sampled_from([AlphaBeta(1, 0), ZPlus(), WSquare(), Flat()]),
    st.builds(Composite, st.builds(Gamma, positive), first=st.just(ZBox()), last=st.builds(Epsilon, positive)),
)
activations = st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Softplus])


class Sum(nn.Module):
    """A branch and a shortcut."""

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return self.branch(x) + x


@st.composite
def random_networks(draw):
    """A chain of convolutions, pools and sums of branches, or of dense layers, for images of 1 x 6 x 6 pixels."""
    activation, layers = draw(activations), []
    if draw(st.booleans()):
        channels = draw(st.sampled_from([2, 4]))
        layers += [nn.Conv2d(1, channels, draw(st.sampled_from([1, 3])), padding=1), activation()]
        if draw(st.booleans()):
            layers += [
                Sum(nn.Conv2d(channels, channels, 3, padding=1, groups=draw(st.sampled_from([1, 2])))),
                activation(),
            ]
        if draw(st.booleans()):
            layers += [nn.BatchNorm2d(channels)]
        layers += [draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.MaxPool2d(3, 2, 1)]))]
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 3)]
        return nn.Sequential(*layers)
    width = draw(st.integers(1, 6))
    bias = draw(st.booleans())
    for _ in range(draw(st.integers(0, 2))):
        layers += [nn.Linear(36 if not layers else width, width, bias=bias), activation()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width if layers else 36, 3, bias=bias))


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(random_networks(), rules, st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 5), st.integers(1, 400))
def test_maps_are_finite_and_do_not_depend_on_order_or_cuts(network, rule, seed, n_samples, n_images, at_once):
    posterior = random_posterior(network, n_samples, seed)
    generator = torch.Generator().manual_seed(seed)
    # Some pixels at the ends of [0, 1], as in drawings.
    images = (1.5 * torch.rand((n_images, 1, 6, 6), generator=generator, dtype=torch.float64) - 0.25).clamp(0, 1)
    target = torch.randint(0, 3, (n_images,), generator=generator)
    every = explanations.lrp(posterior, images, target, rule=rule, per_sample=True)
    assert every.shape == (n_samples, *images.shape)
    assert every.isfinite().all()
    size = max(1.0, every.abs().max().item())
    mean = explanations.lrp(posterior, images, target, rule=rule)
    assert (mean - every.mean(0)).abs().max() <= 1e-9 * size

    order = torch.randperm(n_samples, generator=generator)
    shuffled = type(posterior)(posterior.network, {name: value[order] for name, value in posterior.samples.items()})
    assert (explanations.lrp(shuffled, images, target, rule=rule) - mean).abs().max() <= 1e-9 * size

    with patch.dict(chunks.VALUES_AT_ONCE, cpu=50 * at_once):
        cut = explanations.lrp(posterior, images, target, rule=rule)
    assert (cut - mean).abs().max() <= 1e-9 * size
    alone = torch.cat(
        [explanations.lrp(posterior, image, label, rule=rule) for image, label in
         zip(images.split(1), target.split(1), strict=True)]
    )  # fmt: skip
    assert (alone - mean).abs().max() <= 1e-9 * size


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(random_networks(), st.sampled_from([Gamma(0.3), Epsilon(1e-14), AlphaBeta(2, 1)]), st.integers(0, 10_000))
def test_what_arrives_and_what_is_kept_is_what_was_handed_in(network, rule, seed):
    posterior = random_posterior(network, 2, seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((3, 1, 6, 6), generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (3,), generator=generator)
    maps = explanations.lrp(posterior, images, target, rule=rule, per_sample=True).mean(0)
    kept = explanations.kept_by_layer(posterior, images, target, rule=rule)
    logits = posterior.logits(images).mean(0).gather(1, target[:, None]).squeeze(1)
    size = max(1.0, *(part.abs().max().item() for part in kept.values()))
    assert (sum(kept.values()) + maps.flatten(1).sum(1)).tolist() == pytest.approx(logits.tolist(), abs=1e-8 * size)
