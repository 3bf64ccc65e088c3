from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import LINE_NOISE, LINE_PRIOR
from relevance.datasets.dataset import Dataset
from relevance.networks import architectures


@pytest.fixture
def small_network():
    return architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3)


@pytest.fixture(scope="module")
def hmc_settings():
    return {"n_samples": 30, "warmup": 20, "n_steps": 10, "step_size": 0.02, "prior_scale": 0.5, "n_chains": 1,
            "progress": False}  # fmt: skip


@pytest.fixture
def regression():
    """60 points of 3 features with a bias, the posterior's mean and covariance, and a network that is the line."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((60, 3), generator=generator, dtype=torch.float64)
    x[:, 1] += 0.8 * x[:, 0]
    y = x @ torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64) + 0.2
    y = y + LINE_NOISE * torch.randn(60, generator=generator, dtype=torch.float64)
    design = torch.cat([x, torch.ones(60, 1, dtype=torch.float64)], 1)
    precision = design.T @ design / LINE_NOISE**2 + torch.eye(4, dtype=torch.float64) / LINE_PRIOR**2
    mean = torch.linalg.solve(precision, design.T @ y / LINE_NOISE**2)
    images = x.reshape(60, 1, 1, 3)
    data = Dataset("line", images, y, images, y, ("y",), "line: made up")
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 1)).double()
    return data, network, mean, precision
