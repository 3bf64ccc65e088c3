from __future__ import annotations

import pytest
import torch

from relevance.studies.carbone import manifolds

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize("name", manifolds.MANIFOLDS)
def test_points_lie_on_their_manifold_inside_the_box(name):
    manifold = manifolds.MANIFOLDS[name](40, 30)
    images = torch.cat([manifold.data.train_images, manifold.data.test_images])
    assert images.min() >= 0.04
    assert images.max() <= 0.96
    assert manifold.distance(images).max() < 3e-3
    moved = manifold.data.test_images + 0.01
    assert manifold.distance(moved).min() > 0.01
    assert (manifold.data.test_labels.bincount() > 5).all()


@pytest.mark.parametrize(("name", "dimension"), [("half-moons", 1), ("sphere", 2)])
def test_a_small_step_along_the_tangent_stays_on_the_manifold(name, dimension):
    manifold = manifolds.MANIFOLDS[name](40, 30)
    basis = manifold.tangent
    assert basis.shape == (30, 64, dimension)
    assert torch.allclose(basis.mT @ basis, torch.eye(dimension).expand(30, -1, -1), atol=1e-5)
    points = manifold.data.test_images.flatten(1)
    if name == "half-moons":
        # Ends of a curve have nothing beyond them.
        points, basis = points[2:], basis[2:]
    for direction in basis.unbind(-1):
        # The distance grows with the square of a step along, and with the step itself across.
        along = manifold.distance((points + 0.02 * direction).reshape(-1, 1, 8, 8))
        assert along.median() < 0.004
    across = torch.linalg.qr(torch.cat([basis[0], torch.randn(64, 1)], 1)).Q[:, -1]
    assert manifold.distance((points[:1] + 0.02 * across).reshape(-1, 1, 8, 8)) > 0.015
