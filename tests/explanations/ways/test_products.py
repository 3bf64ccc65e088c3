"""Sums, products and quotients of values that depend on the image, and of those with constants."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from around import Function, assert_way, in_parts, jacobian_of, passed_on
from relevance import explanations
from relevance.explanations.rules import Composite, Epsilon
from relevance.networks.posterior import Posterior

SHAPE = (4, 3)


class OfTwo(nn.Module):
    """A function of the two halves of a value."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x[:, :2], x[:, 2:])


def to_parts(shares):
    """The oracle of a function of two halves: (first, second, outputs, relevance) -> relevance of each."""

    def oracle(inner, inputs, outputs, relevance):
        return torch.cat(shares(inputs[:2], inputs[2:], outputs, relevance))

    return oracle


def half_each(first, second, outputs, relevance):
    return [relevance / 2, relevance / 2]


def all_to_the_first(first, second, outputs, relevance):
    return [relevance, torch.zeros_like(second)]


def by_addition(first, second, outputs, relevance):
    return [first / outputs * relevance, second / outputs * relevance]


def by_subtraction(first, second, outputs, relevance):
    return [first / outputs * relevance, -second / outputs * relevance]


TWO = {
    "sum": (lambda a, b: a + b, by_addition), "sum in place": (lambda a, b: (a + 0).add_(b), by_addition),
    "sum of torch": (torch.add, by_addition), "difference": (lambda a, b: a - b, by_subtraction),
    "scaled sum": (lambda a, b: torch.add(a, b, alpha=2.0),
                   lambda a, b, z, r: [a / z * r, 2 * b / z * r]),
    "product": (lambda a, b: a * b, half_each), "product in place": (lambda a, b: (a + 0).mul_(b), half_each),
    "quotient": (lambda a, b: a / (b.abs() + 1), all_to_the_first),
    "normalised": (lambda a, b: a * (b.square() + 1).rsqrt(), all_to_the_first),
    "normalised by a power": (lambda a, b: (b.square() + 1) ** -0.5 * a, all_to_the_first),
    "chosen": (lambda a, b: torch.where(a > b, a, b),
               lambda a, b, z, r: [torch.where(a > b, r, 0.0), torch.where(a > b, 0.0, r)]),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO)
def test_two_values_share(name):
    function, shares = TWO[name]
    assert_way(OfTwo(function), SHAPE, to_parts(shares))


def test_a_factor_that_is_spread_gets_the_sum_of_its_halves():
    def oracle(inner, inputs, outputs, relevance):
        return torch.cat([relevance.sum(1, keepdim=True) / 2, relevance / 2], 1)

    assert_way(Function(lambda x: x[:, :, :1] * x[:, :, 1:]), (3, 4), oracle)


def test_a_term_that_is_spread_gets_the_sum_of_its_parts():
    assert_way(Function(lambda x: x[:, :, :1] + x[:, :, 1:]), (3, 4), in_parts)


def test_a_value_with_itself_is_an_activation():
    assert_way(Function(lambda x: x * x), SHAPE, passed_on)
    assert_way(Function(lambda x: x + x), SHAPE, passed_on)


def kept_back(inner, inputs, outputs, relevance):
    """The part of the value in its sum with a constant."""
    return inputs / outputs * relevance


PARAMETER = nn.Parameter(torch.randn(4, 3))
CONSTANTS = {
    "bias": (lambda x, p: x + p, kept_back), "bias before": (lambda x, p: p + x, kept_back),
    "bias taken away": (lambda x, p: x - p, kept_back), "taken from": (lambda x, p: p - x, lambda i, a, z, r: -a / z * r),
    "number": (lambda x, p: x + 0.3 + 0 * p, kept_back), "factor": (lambda x, p: x * p, passed_on),
    "factor before": (lambda x, p: p * x, passed_on), "divisor": (lambda x, p: x / p.exp(), passed_on),
    "dividend": (lambda x, p: p / (x.square() + 1), lambda i, a, z, r: a.square() / (a.square() + 1) * r),
    "masked": (lambda x, p: x.masked_fill(p > 0, 2.0), lambda i, a, z, r: (jacobian_of(i, a).T @ r.flatten()).reshape(a.shape)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_keeps_its_part_of_a_sum_and_none_of_a_product(name):
    function, oracle = CONSTANTS[name]
    assert_way(Function(function, nn.Parameter(PARAMETER.detach().clone())), SHAPE, oracle)


def gated(a, b):
    return a * b.sigmoid()


def squeezed(x):
    return x * x.mean((2, 3), keepdim=True).sigmoid()


def test_the_signal_takes_all_where_that_is_chosen():
    """As in squeeze and excitation; half each where that is chosen, and where neither factor is a gate."""
    images = torch.rand((2, 1, 4, 4), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    target = torch.tensor([0, 2])
    signal, half = Epsilon(1e-9), Composite(Epsilon(1e-9), products="half")
    torch.manual_seed(0)
    first, head = nn.Linear(16, 12), nn.Linear(6, 3)
    maps = {}
    for name, function in {"gate": gated, "product": lambda a, b: a * b}.items():
        network = nn.Sequential(
            nn.Flatten(), first, nn.Unflatten(1, SHAPE), OfTwo(function), nn.Flatten(), head
        ).double()
        posterior = Posterior.of(network)
        maps[name] = [explanations.lrp(posterior, images, target, rule=rule) for rule in (signal, half)]
    assert torch.equal(*maps["product"])
    assert not torch.allclose(*maps["gate"])
    # All to the signal: the map through the first half of the dense layer alone.
    hidden = first(images.flatten(1))
    outputs = gated(hidden[:, :6], hidden[:, 6:])
    seed = nn.functional.one_hot(target, 3) * head(outputs)
    above = outputs * ((seed / head(outputs)) @ head.weight)
    wanted = images.flatten(1) * ((above / hidden[:, :6]) @ first.weight[:6])
    assert torch.allclose(maps["gate"][0].flatten(1), wanted, rtol=1e-6)


def test_squeeze_and_excitation_conserves_in_both_readings():
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.SiLU(), Function(squeezed), nn.Flatten(), nn.Linear(16, 3, bias=False)
    ).double()
    images = torch.rand((2, 1, 4, 4), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    posterior, target = Posterior.of(network), torch.tensor([0, 2])
    logits = posterior.logits(images)[0].gather(1, target[:, None])[:, 0]
    for products in ("half", "signal"):
        rule = Composite(Epsilon(1e-12), products=products)
        found = explanations.lrp(posterior, images, target, rule=rule)
        assert torch.allclose(found.flatten(1).sum(1), logits, rtol=1e-6)


class Normalising(nn.Module):
    def forward(self, x):
        return torch.cat([(x[:, :1] - 0.5) / 0.2, x[:, 1, None] * 0.3 + 0.1], 1)


def test_what_is_done_to_each_pixel_by_itself_is_normalisation():
    """A network's own normalisation is no layer with a bias: relevance passes through it as through Normalise."""
    torch.manual_seed(0)
    layer = nn.Linear(8, 3).double()
    network = nn.Sequential(Normalising(), nn.Flatten(), layer)
    images = torch.rand((2, 2, 2, 2), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    target = torch.tensor([0, 2])
    found = explanations.lrp(Posterior.of(network), images, target, rule=Epsilon(1e-12))
    values = Normalising()(images)
    wanted = (values.flatten(1) * layer.weight[target]).reshape(images.shape)
    assert torch.allclose(found, wanted, rtol=1e-6)
    assert set(explanations.kept_by_layer(Posterior.of(network), images, target)) == {"2"}


def test_what_changes_a_part_of_a_value_is_refused():
    class Cleared(nn.Module):
        def forward(self, x):
            y = x + 0
            y[:, 0] = 0
            return y

    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), Cleared())
    with pytest.raises(ValueError, match="the network calls setitem on a part of a value, for which lrp has no rule"):
        explanations.lrp(Posterior.of(network), torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))
