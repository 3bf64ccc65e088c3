"""One way back between two dense layers, beside what it should be, image by image and by dense Jacobians in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import jacrev

from oracles import random_posterior, shared_by_definition
from relevance import explanations
from relevance.explanations.rules import Epsilon

NEARLY_ZERO = Epsilon(1e-9)


class Around(nn.Module):
    """Something between two dense layers, on values of a shape."""

    def __init__(self, inner, shape, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.shape, self.inner = shape, inner
        self.first = nn.Linear(16, math.prod(shape))
        n_out = inner(torch.randn(2, *shape)).flatten(1).shape[1]
        self.head = nn.Linear(n_out, 3)

    def forward(self, x):
        return self.head(self.inner(self.first(x.flatten(1)).unflatten(1, self.shape)).flatten(1))


class Function(nn.Module):
    """A module that calls a function."""

    def __init__(self, function, *parameters):
        super().__init__()
        self.function = function
        self.own = nn.ParameterList(parameters)

    def forward(self, x):
        return self.function(x, *self.own) if len(self.own) else self.function(x)


IMAGES = torch.rand((3, 1, 4, 4), generator=torch.Generator().manual_seed(11), dtype=torch.float64)
TARGETS = torch.tensor([0, 2, 1])


def assert_way(inner, shape, oracle, rule=NEARLY_ZERO, n_samples=2):
    """Assert that a map goes back through ``inner`` as an oracle does: (inner, inputs, outputs, relevance) of one image.

    And that it can be mapped over samples and differentiated again, and that what arrives and what is kept is what was given.
    """
    network = Around(inner, shape).double()
    posterior = random_posterior(network, n_samples, seed=3)
    found = explanations.lrp(posterior, IMAGES, TARGETS, rule=rule, per_sample=True)
    for index in range(n_samples):
        one = posterior[index].network
        one.load_state_dict({name: value[index] for name, value in posterior.samples.items()}, strict=False)
        alone = explanations.lrp(posterior[index], IMAGES, TARGETS, rule=rule)
        size = alone.abs().max()
        assert (found[index] - alone).abs().max() <= 1e-9 * size  # mapped over samples or by itself
        for image, label, given in zip(IMAGES, TARGETS, found[index], strict=True):
            with torch.no_grad():
                inputs = one.first(image.flatten()).reshape(shape)
                outputs = one.inner(inputs[None])[0]
                seed = torch.eye(3, dtype=torch.float64)[label] * one.head(outputs.flatten())
                above = shared_by_definition(Epsilon(rule.epsilon), one.head, outputs.flatten(), seed)
            middle = oracle(one.inner, inputs, outputs, above.reshape(outputs.shape))
            with torch.no_grad():
                wanted = shared_by_definition(rule, one.first, image.flatten(), middle).reshape(image.shape)
            assert (given - wanted).abs().max() <= 1e-7 * max(size, wanted.abs().max()), (given, wanted)
    assert found.isfinite().all()
    assert found.any()
    _assert_conserved(posterior, rule)
    _assert_twice(posterior[0], rule)


def _assert_conserved(posterior, rule):
    """What arrives and what is kept is what was handed in."""
    kept = explanations.kept_by_layer(posterior, IMAGES, TARGETS, rule=rule)
    arrived = explanations.lrp(posterior, IMAGES, TARGETS, rule=rule).flatten(1).sum(1)
    logits = posterior.logits(IMAGES).mean(0).gather(1, TARGETS[:, None])[:, 0]
    size = max(1.0, *(part.abs().max().item() for part in (*kept.values(), arrived)))
    assert torch.allclose(sum(kept.values()) + arrived, logits, atol=1e-8 * size)


def _assert_twice(one, rule):
    """The derivative of a map is that of finite differences."""
    weights = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def score(at):
        return (explanations.lrp(one, at, TARGETS, rule=rule) * weights).sum()

    leaf = IMAGES.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(leaf), leaf)
    direction = torch.randn(IMAGES.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    step = 1e-7 * direction
    wanted = (score(IMAGES + step) - score(IMAGES - step)) / 2e-7
    size = (found * direction).abs().sum().item()
    assert (found * direction).sum().item() == pytest.approx(wanted.item(), rel=1e-4, abs=1e-5 * size)


def jacobian_of(function, inputs):
    """The Jacobian [outputs, inputs] of a function of a batch, at one of its examples."""
    found = jacrev(lambda x: function(x[None])[0])(inputs)
    return found.reshape(-1, inputs.numel())


def passed_on(inner, inputs, outputs, relevance):
    return relevance


def moved(inner, inputs, outputs, relevance):
    """Where each value came from, by ones in a matrix."""
    jacobian = jacobian_of(inner, inputs)
    assert set(jacobian.unique().tolist()) <= {0.0, 1.0}
    return (jacobian.T @ relevance.flatten()).reshape(inputs.shape)


def in_parts(inner, inputs, outputs, relevance):
    """Contributions of a linear map over their sum."""
    contributions = jacobian_of(inner, inputs) * inputs.flatten()
    shares = contributions / outputs.flatten()[:, None]
    return (shares * relevance.flatten()[:, None]).sum(0).reshape(inputs.shape)
