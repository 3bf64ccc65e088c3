"""The few ways of sharing that all tables are made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance import explanations
from relevance.explanations.rules import Choices
from relevance.explanations.ways import way
from relevance.explanations.ways.way import Applied, Call


def test_an_average_shares_in_proportion_to_what_each_part_added():
    inputs = torch.tensor([[1.0, 3.0, -2.0], [0.5, 0.5, 4.0], [0.0, 2.0, 2.0]], dtype=torch.float64)
    weights = torch.tensor([[0.5, 0.25, 0.25], [-1.0, 2.0, 0.0]], dtype=torch.float64)
    relevance = torch.tensor([[3.0, -1.0], [2.0, 5.0], [1.0, 1.0]], dtype=torch.float64)
    outputs = inputs @ weights.T
    found = explanations.in_proportion(lambda x: x @ weights.T, inputs, outputs, relevance)
    wanted = torch.zeros_like(inputs)
    for n in range(3):
        for k in range(2):
            for j in range(3):
                wanted[n, j] += inputs[n, j] * weights[k, j] / outputs[n, k] * relevance[n, k]
    assert torch.allclose(found, wanted, atol=1e-12)
    assert torch.allclose(found.sum(1), relevance.sum(1), atol=1e-10)
    assert torch.equal(way.proportions(lambda x: x @ weights.T, (inputs,), outputs, relevance)[0], found)
    # Where nothing was added, there are no proportions, and no numbers that are none.
    nothing = torch.zeros(1, 3, dtype=torch.float64)
    assert not explanations.in_proportion(lambda x: x @ weights.T, nothing, nothing[:, :2], relevance[:1]).any()


def test_a_maximum_gives_all_to_its_winner():
    inputs = torch.tensor([[[1.0, 5.0, -2.0, -1.0]], [[0.1, -0.3, 0.2, 0.7]]], dtype=torch.float64)
    relevance = torch.tensor([[[3.0, -1.0]], [[2.0, 0.5]]], dtype=torch.float64)
    pool = nn.MaxPool1d(2)
    found = explanations.to_the_winner(pool, inputs, pool(inputs), relevance)
    assert found.tolist() == [[[0, 3, 0, -1]], [[2, 0, 0, 0.5]]]
    assert torch.equal(way.slopes(pool, (inputs,), pool(inputs), relevance)[0], found)


def test_what_decides_gets_no_slope():
    mask, first, second = torch.tensor([True, False]), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    found = way.pulled(torch.where, (mask, first, second), torch.tensor([5.0, 7.0]))
    assert found[0] is None
    assert [part.tolist() for part in found[1:]] == [[5, 0], [0, 7]]
    assert way.pulled(torch.ge, (first, second), mask) == [None, None]
    assert way.nothing(torch.ge, (first, second), mask, mask) == [None, None]


def test_what_was_spread_is_gathered():
    value, relevance = torch.zeros(2, 1, 3), torch.arange(24.0).reshape(2, 4, 3)
    assert torch.equal(way.gathered(relevance, value), relevance.sum(1, keepdim=True))
    assert way.gathered(relevance, relevance) is relevance
    assert torch.equal(way.unchanged(torch.neg, (torch.zeros(3),), relevance, relevance)[0], relevance.sum((0, 1)))


def test_a_reader_s_way_gets_one_value_or_a_tuple():
    def backward(function, inputs, outputs, relevance):
        return tuple(one * relevance for one in inputs) if isinstance(inputs, tuple) else inputs * relevance

    back, two = way.by(backward), torch.tensor([2.0])
    assert back(None, (two,), two, two)[0].item() == 4
    assert [part.item() for part in back(None, (two, 3 * two), two, two)] == [4, 12]


def test_arguments_are_found_by_their_place_or_name():
    layer = nn.LayerNorm(4, eps=0.5)
    applied = Applied(layer, lambda value=None: ((value,), {}), {"weight": torch.full((4,), 2.0)})
    assert applied.argument(4, "eps") == 0.5
    assert applied.argument(2, "weight").tolist() == [2, 2, 2, 2]
    x = torch.randn(2, 4)
    assert torch.allclose(applied(x), 2 * nn.LayerNorm(4, eps=0.5)(x))
    method = Applied("softmax", lambda value=None: ((value, 1), {}), {})
    assert method.argument(1, "dim") == 1
    assert torch.equal(method(x), x.softmax(1))
    call = Applied(torch.softmax, lambda value=None: ((value,), {"dim": 1}), {})
    assert call.argument(1, "dim") == 1
    assert call.argument(2, "dtype", "none") == "none"


@pytest.mark.parametrize(("target", "name"), [(torch.cumsum, "cumsum"), ("cumsum", "cumsum")])
def test_a_refusal_names_what_it_refuses(target, name):
    call = Call(target, "", (), {}, (), (), Choices())
    said = way.refused(call, "with indices").why
    assert said.startswith(f"the network calls {name} with indices, for which lrp has no rule")
    assert "layer place is a GRU" in way.refused(Call(nn.GRU(2, 2), "place", (), {}, (), (), Choices())).why
