from __future__ import annotations

import importlib

import pytest
import torch

from oracles import MOST, moments_off

pytestmark = pytest.mark.stochastic

swag = importlib.import_module("relevance.inference.swag")  # the room hands on its function by this name


def test_swag_draws_from_the_fitted_normal():
    generator = torch.Generator().manual_seed(0)
    path = torch.randn((30, 4), generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.1, 0.5])
    draws = torch.stack([swag.drawn(path, 10, generator) for _ in range(20000)])
    means = path.cumsum(0) / torch.arange(1, 31)[:, None]
    deviations = (path - means)[-10:]
    wanted = 0.5 * torch.diag(path.var(0, unbiased=False)) + deviations.T @ deviations / (2 * 9)
    assert moments_off(draws, path.mean(0), wanted).abs().max() < MOST
