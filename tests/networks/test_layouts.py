"""Layouts of weights: JAX's against loops, and what is flattened before a dense layer, by modules and by functions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance.networks import layouts


class Functional(nn.Module):
    """Flattens by a function, after which come a layer of the same width and one that reads the same values."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(1, 2, 3)
        self.first, self.second, self.beside = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        flat = torch.relu(self.how(self.conv(x)))
        return self.second(torch.relu(self.first(flat))) + self.beside(flat)


@pytest.mark.parametrize(
    "how",
    [
        lambda x: x.flatten(1),
        lambda x: x.view(len(x), -1),
        lambda x: x.reshape(x.size(0), -1),
        lambda x: torch.flatten(x.transpose(2, 3).transpose(2, 3), 1),
        nn.Flatten(),
    ],
)
def test_a_flattening_is_found_however_it_is_written(how):
    network = Functional(how)
    assert layouts.flattened(network, torch.zeros(1, 1, 4, 4)) == {"first": (2, 2, 2), "beside": (2, 2, 2)}


def test_orders_that_make_no_difference_are_left_out():
    grey = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    pooled = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    colours = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    assert layouts.flattened(grey, torch.zeros(1, 1, 4, 4)) == {}
    assert layouts.flattened(pooled, torch.zeros(1, 1, 4, 4)) == {}
    assert layouts.flattened(colours, torch.zeros(1, 3, 4, 4)) == {"1": (3, 4, 4)}


def test_looking_leaves_the_network_as_it_is():
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).train()
    layouts.flattened(network, torch.zeros(1, 3, 4, 4))
    assert network.training
    assert not network[1]._forward_pre_hooks


def test_jax_weights_turn_as_loops_turn_them():
    dense, conv = torch.randn(2, 3, 4), torch.randn(2, 3, 5, 1, 4)
    turned = layouts.in_torch_order(nn.Linear(3, 4), "a.weight", dense, 2)
    assert all(turned[s, o, i] == dense[s, i, o] for s in range(2) for i in range(3) for o in range(4))
    turned = layouts.in_torch_order(nn.Conv2d(1, 4, (3, 5)), "a.weight", conv, 4)
    assert turned.shape == (2, 4, 1, 3, 5)
    assert all(
        turned[s, o, 0, y, x] == conv[s, y, x, 0, o] for s in (0, 1) for o in range(4) for y in range(3) for x in (0, 4)
    )
    bias = torch.randn(2, 4)
    assert layouts.in_torch_order(nn.Linear(3, 4), "a.bias", bias, 1) is bias


def test_columns_turn_as_loops_turn_them():
    weights = torch.arange(2 * 1 * 12.0).reshape(2, 1, 12)  # H, W, C = 2, 3, 2
    turned = layouts.columns(weights, (2, 2, 3)).reshape(2, 1, 2, 2, 3)
    given = weights.reshape(2, 1, 2, 3, 2)
    assert all(
        turned[s, 0, c, y, x] == given[s, 0, y, x, c] for s in (0, 1) for c in (0, 1) for y in (0, 1) for x in range(3)
    )


@pytest.mark.parametrize("module", [nn.ConvTranspose2d(2, 2, 3), nn.MultiheadAttention(4, 1)])
def test_other_layers_have_no_known_layout(module):
    with pytest.raises(ValueError, match=f"is of a {type(module).__name__}; layout 'jax' may be"):
        layouts.in_torch_order(module, "a.weight", torch.zeros(2, 2, 2, 3, 3), 4)


def test_names_of_weights():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.LayerNorm(4))
    assert layouts.is_dense(network, "1.weight")
    assert not layouts.is_dense(network, "1.bias")
    assert not layouts.is_dense(network, "2.weight")
    assert layouts.is_dense(network[1], layouts.weight_of(""))
    assert layouts.weight_of("1") == "1.weight"
