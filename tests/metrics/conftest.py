from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance.networks.posterior import Posterior


@pytest.fixture
def linear():
    """One sample; logits of 3 classes, linear in 16 pixels, without bias."""
    torch.manual_seed(0)
    return Posterior.of(nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False)).double())


@pytest.fixture
def planted():
    """A network of two classes whose first logit is the weighted sum of pixels 3, 7 and 12; and the weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).double()
    weights = torch.zeros(16, dtype=torch.float64)
    weights[[3, 7, 12]] = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([weights, torch.zeros_like(weights)]))
    return Posterior.of(network), weights
