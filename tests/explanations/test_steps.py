"""Steps: what they compute with the values of others and of a sample, and what is known of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import Function
from relevance.explanations.affine import Convolution, Dense
from relevance.explanations.graph import RelevanceGraph


class Own(nn.Module):
    """A network with steps of every kind."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.LayerNorm(16)
        self.activation, self.head = nn.ReLU(inplace=True), nn.Linear(64, 3)
        self.scale = nn.Parameter(torch.randn(4, 1, 1))

    def forward(self, x):
        x = self.first((x - 0.5) / 0.2)
        y = self.activation(x) * x.mean((2, 3), keepdim=True).sigmoid()
        y = torch.cat([y.flatten(2), self.norm(x.flatten(2) * self.scale[..., 0])], 2)[..., :16]
        return self.head(functional.relu(y).flatten(1))


@pytest.fixture
def graph():
    return RelevanceGraph(Own().double().eval(), (1, 4, 4))


def step(graph, layer):
    return next(one for one in graph.steps.values() if one.layer == layer)


def test_a_step_knows_what_it_is(graph):
    first, head, norm = (step(graph, name) for name in ("first", "head", "norm"))
    assert (first.affine, first.kind) == (Convolution(padding=(1, 1)), nn.Conv2d)
    assert (head.affine, head.kind) == (Dense(), nn.Linear)
    assert first.keeps
    assert norm.keeps
    assert not norm.passes_on
    activation = step(graph, "activation")
    assert activation.activation
    assert activation.passes_on
    assert not activation.keeps


def test_a_step_knows_of_its_value_what_follows_from_its_inputs(graph):
    facts = {one.layer: one.facts for one in graph.steps.values()}
    assert facts["truediv()"].pixelwise
    assert not facts["first"].pixelwise
    assert facts["sigmoid()"].gate
    assert facts["sigmoid()"].nonnegative
    assert facts["activation"].nonnegative
    assert facts["mul()"].nonnegative
    assert not facts["mul()"].gate
    assert not facts["mul_1()"].nonnegative
    assert not facts["cat()"].nonnegative


def test_a_visit_computes_what_the_network_does_with_a_sample_s_values(graph):
    network = graph.network
    images = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    sample = {name: value.detach() * 2 for name, value in network.named_parameters()}
    with torch.no_grad():
        visits = graph.forward(images, sample)
        wanted = torch.func.functional_call(network, sample, (images,))
    assert torch.allclose(visits[graph.output].value, wanted, atol=1e-12)
    # What acts in place in the network leaves the value before it as it was.
    before = visits[step(graph, "first").name].value
    assert torch.allclose(
        before, functional.conv2d((images - 0.5) / 0.2, sample["first.weight"], sample["first.bias"], padding=1)
    )
    assert network.activation.inplace


def test_slopes_through_a_step_are_autograd_s(graph):
    images = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    sample = dict(graph.network.named_parameters())
    visits = graph.forward(images, sample)
    for one in graph.steps.values():
        values = [visits[name].value.detach().requires_grad_() for name in one.sources]
        if len(set(one.sources)) < len(one.sources) or one.affine is not None:
            continue
        gradient = torch.randn_like(visits[one.name].value)
        found = visits[one.name].pull_back(gradient)
        known = {name: visit.value for name, visit in visits.items()} | dict(zip(one.sources, values, strict=True))
        constants = {name: known.setdefault(name, compute(known, sample)) for name, compute in graph.constants.items()}
        again = one.visit(constants | known, sample).value
        wanted = torch.autograd.grad(again, values, gradient)
        assert all(torch.allclose(mine, other, atol=1e-10) for mine, other in zip(found, wanted, strict=True)), (
            one.layer
        )


def test_relevance_reaches_only_what_may_get_some():
    class Normalised(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            x = x.flatten(1)
            return self.head(x / x.logsumexp(1, keepdim=True))

    graph = RelevanceGraph(Normalised(), (1, 4, 4))
    assert step(graph, "truediv()").reached == ["flatten"]
    assert step(graph, "logsumexp()").reached == []
    with pytest.raises(ValueError, match="the network calls logsumexp, for which lrp has no rule"):
        RelevanceGraph(nn.Sequential(nn.Flatten(), Function(lambda x: x + x.logsumexp(1, keepdim=True))), (1, 4, 4))
