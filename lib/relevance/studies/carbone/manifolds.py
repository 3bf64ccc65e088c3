"""Data on manifolds whose tangent spaces are known: curves and surfaces of a few dimensions, put into images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from relevance.base import checks
from relevance.datasets.dataset import Dataset

# Pixels stay this far inside [0, 1], so that the box is never in the way of a gradient.
MARGIN = 0.05


@dataclass(frozen=True, eq=False)
class Manifold:
    """Two classes on a manifold in the space of images.

    Attributes:
        name: of the manifold.
        data: the points as images [N, 1, side, side].
        tangent: [M, d, k], an orthonormal basis of the tangent space at each test point.
        span: [d, m], an orthonormal basis of the smallest linear space that holds the manifold, as vectors of pixels: that of
            its coordinates, and of the grey image that it is moved to.
        distance: images [N, 1, side, side] -> how far each is from the manifold, [N], in units of the pixel range.
    """

    name: str
    data: Dataset
    tangent: Tensor
    span: Tensor
    distance: Callable[[Tensor], Tensor]


def half_moons(n_train: int, n_test: int = 100, side: int = 8, seed: int = 0) -> Manifold:
    """Return two interlocked half circles, one of each class, in a plane of the space of images.

    Args:
        n_train, n_test: points, half of each class.
        side: of an image; the plane lies in side^2 dimensions, in a direction drawn at random.
        seed: of the direction and of the points.
    """
    generator = _generator(seed, n_train, n_test, side)
    angles, labels = _two_classes(n_train + n_test, generator)

    def curve(angle: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return points [N, 2] and their derivatives by the angle."""
        sign = 1 - 2.0 * label  # the second moon is the first one, turned round
        points = torch.stack([sign * (angle.cos() - 0.5), sign * (angle.sin() - 0.25)], 1)
        return points, torch.stack([-sign * angle.sin(), sign * angle.cos()], 1)

    points, tangents = curve(math.pi * angles, labels)
    grid = torch.linspace(0, math.pi, 2000)
    everywhere = torch.cat([curve(grid, torch.full_like(grid, label))[0] for label in (0, 1)])
    span, scale = _embedding(everywhere, side, generator)

    def distance(images: Tensor) -> Tensor:
        return torch.cdist(_flat(images), 0.5 + scale * everywhere @ span.T).amin(1)

    basis = (tangents / tangents.norm(dim=1, keepdim=True)) @ span.T
    data = _dataset("half-moons", 0.5 + scale * points @ span.T, labels, n_train, side)
    return Manifold("half-moons", data, basis[n_train:, :, None], _with_grey(span), distance)


def sphere(n_train: int, n_test: int = 100, side: int = 8, seed: int = 0) -> Manifold:
    """Return a sphere in three dimensions of the space of images; the sign of x y is the class.

    Here, unlike on the half-moons, the border between the classes lies on the manifold.

    Args:
        n_train, n_test, side, seed: as for :func:`half_moons`.
    """
    generator = _generator(seed, n_train, n_test, side)
    points = torch.randn(n_train + n_test, 3, generator=generator)
    points = points / points.norm(dim=1, keepdim=True)
    labels = (points[:, 0] * points[:, 1] > 0).long()
    span, scale = _embedding(points, side, generator, reach=1.0)

    def distance(images: Tensor) -> Tensor:
        centred = (_flat(images) - 0.5) / scale
        inside = centred @ span
        outside = centred - inside @ span.T
        return scale * ((inside.norm(dim=1) - 1) ** 2 + (outside**2).sum(1)).sqrt()

    # The tangent plane: what is left of the identity without the radius.
    bases = torch.linalg.svd(points[n_train:, :, None], full_matrices=True).U[:, :, 1:]
    data = _dataset("sphere", 0.5 + scale * points @ span.T, labels, n_train, side)
    return Manifold("sphere", data, span @ bases, _with_grey(span), distance)


MANIFOLDS = {"half-moons": half_moons, "sphere": sphere}


def _generator(seed: int, n_train: int, n_test: int, side: int) -> torch.Generator:
    for name, value in (("n_train", n_train), ("n_test", n_test), ("side", side)):
        checks.count(name, value, at_least=2)
    return torch.Generator().manual_seed(checks.seed("seed", seed))


def _two_classes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(count, generator=generator), torch.arange(count) % 2


def _embedding(
    points: Tensor, side: int, generator: torch.Generator, reach: float | None = None
) -> tuple[Tensor, float]:
    """Return directions [d, m] for the coordinates, drawn at random, and a scale that keeps all pixels in [0, 1]."""
    span = torch.linalg.qr(torch.randn(side**2, points.shape[1], generator=generator)).Q
    furthest = (span.norm(dim=1) * reach).max() if reach is not None else (points @ span.T).abs().max()
    return span, (0.5 - MARGIN) / furthest.item()


def _with_grey(span: Tensor) -> Tensor:
    return torch.linalg.qr(torch.cat([span, torch.ones(len(span), 1)], 1)).Q


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1)


def _dataset(name: str, points: Tensor, labels: Tensor, n_train: int, side: int) -> Dataset:
    images = points.reshape(-1, 1, side, side)
    source = f"{n_train} made-up points on {name} in {side**2} dimensions"
    parts = (images[:n_train], labels[:n_train], images[n_train:], labels[n_train:])
    return Dataset(name, *parts, ("first", "second"), source)
