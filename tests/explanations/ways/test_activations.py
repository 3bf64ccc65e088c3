"""Relevance passes through every activation unchanged, as a module and as a call."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import Function, assert_way, passed_on
from relevance import explanations
from relevance.explanations.ways import activations
from relevance.networks.posterior import Posterior

MODULES = {
    "ReLU": nn.ReLU(), "ReLU6": nn.ReLU6(), "LeakyReLU": nn.LeakyReLU(0.2), "PReLU": nn.PReLU(6), "SiLU": nn.SiLU(),
    "GELU": nn.GELU(), "tanh GELU": nn.GELU("tanh"), "Mish": nn.Mish(), "Hardswish": nn.Hardswish(),
    "Hardsigmoid": nn.Hardsigmoid(), "Sigmoid": nn.Sigmoid(), "Tanh": nn.Tanh(), "ELU": nn.ELU(), "CELU": nn.CELU(0.5),
    "SELU": nn.SELU(), "Softplus": nn.Softplus(3), "Softsign": nn.Softsign(), "Hardtanh": nn.Hardtanh(-0.5, 2),
    "Dropout": nn.Dropout(0.5), "Identity": nn.Identity(),
}  # fmt: skip
CALLS = {
    "relu": functional.relu, "relu of torch": torch.relu, "relu of a tensor": lambda x: x.relu(),
    "relu in place": lambda x: functional.relu(x + 0, inplace=True), "relu6": functional.relu6, "silu": functional.silu,
    "silu in place": lambda x: functional.silu(x * 1, True), "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "hardswish": functional.hardswish, "hardsigmoid": functional.hardsigmoid, "sigmoid": torch.sigmoid,
    "sigmoid in place": lambda x: (x + 0).sigmoid_(), "tanh": lambda x: x.tanh(), "elu": functional.elu, "exp": torch.exp,
    "square": torch.square, "power": lambda x: x**3, "clamp": lambda x: x.clamp(-0.5, 0.5), "negative": lambda x: -x,
    "dropout": lambda x: functional.dropout(x, 0.5, training=False), "clone": lambda x: x.clone().contiguous(),
    "maximum with a constant": lambda x: torch.maximum(x, torch.full((), 0.1, dtype=torch.float64)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_pass_relevance_on(name):
    assert_way(MODULES[name], (6,), passed_on)


@pytest.mark.parametrize("name", CALLS)
def test_calls_pass_relevance_on(name):
    assert_way(Function(CALLS[name]), (6,), passed_on)


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        (lambda x: x.clamp(min=0), activations.POSITIVE),
        (lambda x: torch.clamp(x, 0.5, 1), activations.POSITIVE),
        (lambda x: x.clamp(-1, 1), activations.EITHER),
        (nn.Hardtanh(0, 1), activations.POSITIVE),
        (nn.Hardtanh(), activations.EITHER),
    ],
)
def test_what_is_known_to_be_positive_is(call, wanted):
    """A rule of signs takes its shorter way behind what is at least 0, and gives the same."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 5), call if isinstance(call, nn.Module) else Function(call), nn.Linear(5, 3)
    )
    from relevance.explanations.graph import RelevanceGraph

    graph = RelevanceGraph(network, (1, 4, 4))
    (step,) = [step for step in graph.steps.values() if step.activation]
    assert step.way is wanted
    images, target = torch.rand(2, 1, 4, 4), torch.tensor([0, 2])
    assert explanations.lrp(Posterior.of(network), images, target, rule=explanations.AlphaBeta(2, 1)).isfinite().all()
