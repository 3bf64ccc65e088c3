from __future__ import annotations

import pytest
import torch

from oracles import MOST, errors_off
from relevance.base import balls

pytestmark = pytest.mark.stochastic


def test_points_fill_the_ball(some_images):
    images = torch.full((4000, 1, 1, 2), 0.5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    square = balls.random_points(images, 0.4, "linf", generator) - images
    assert square.abs().max() <= 0.4
    assert errors_off(square.flatten(), 0.0).abs() < MOST
    assert errors_off(square.flatten() ** 2, 0.4**2 / 3).abs() < MOST
    disc = balls.sizes(balls.random_points(images, 0.4, "l2", generator) - images, "l2")
    assert disc.max() <= 0.4
    # In two dimensions a radius below r has the probability (r / 0.4)^2.
    assert errors_off((disc < 0.2).double(), 0.25).abs() < MOST
