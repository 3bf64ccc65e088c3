from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles import FOUR_TARGETS
from relevance import explanations
from relevance.explanations.rules import AlphaBeta, Epsilon
from relevance.networks.posterior import Posterior


class Called(nn.Module):
    """The same network with modules or with calls."""

    def __init__(self, called):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)
        self.called = called
        if not called:
            self.steps = nn.Sequential(
                self.first, nn.LeakyReLU(0.2), nn.MaxPool2d(2, 1), self.second, nn.Softplus(3), nn.Dropout(0.5),
                nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Flatten(), self.head,
            )  # fmt: skip

    def forward(self, x):
        if not self.called:
            return self.steps(x)
        x = functional.max_pool2d(functional.leaky_relu(self.first(x), 0.2), 2, 1)
        x = functional.dropout(functional.softplus(self.second(x), 3), training=self.training)
        x = functional.adaptive_avg_pool2d(functional.avg_pool2d(x, kernel_size=2, stride=1), 1)
        return self.head(torch.flatten(x.relu(), start_dim=1))


@pytest.mark.parametrize("rule", [Epsilon(0.1), AlphaBeta(2, 1)], ids=repr)
def test_calls_of_functions_are_the_modules(images, rule):
    maps = []
    for called in (True, False):
        torch.manual_seed(0)
        maps.append(explanations.lrp(Posterior.of(Called(called).double()), images, FOUR_TARGETS, rule=rule))
    assert torch.allclose(*maps, atol=1e-12)
    assert maps[0].abs().max() > 1e-4
