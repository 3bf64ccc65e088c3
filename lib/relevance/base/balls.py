"""Balls around images: steps in them, and the way back into them and into [0, 1]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from relevance.base import checks

NORMS = ("linf", "l2")


def check_norm(norm: str) -> str:
    """Return ``norm`` if it is one of ``"linf"`` and ``"l2"``, or say so."""
    return checks.one_of("norm", norm, NORMS)


def of_images(values: Tensor, like: Tensor) -> Tensor:
    """Spread one value an image, [N], over the pixels of ``like``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def sizes(difference: Tensor, norm: str) -> Tensor:
    """Return the size of each image's difference, [N], in the maximum (``"linf"``) or Euclidean (``"l2"``) norm."""
    flat = difference.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """Return the direction of size 1 along which a loss with this gradient grows fastest; zero where that is zero."""
    if norm == "linf":
        return gradient.sign()
    size = sizes(gradient, norm)
    return gradient / of_images(size.where(size > 0, 1.0), gradient)


def projected(points: Tensor, images: Tensor, epsilon: float, norm: str) -> Tensor:
    """Return the points in [0, 1] and within ``epsilon`` of ``images``: first into the ball, then into [0, 1].

    Both are convex and [0, 1] holds the ball's centre, so the second step does not lead out of the ball.
    """
    difference = points - images
    if norm == "linf":
        return (images + difference.clamp(-epsilon, epsilon)).clamp(0, 1)
    size = sizes(difference, norm)
    factor = (epsilon / size.clamp(min=1e-30)).clamp(max=1.0)
    return (images + difference * of_images(factor, difference)).clamp(0, 1)


def stepped(
    points: Tensor, gradient: Tensor, size: float | Tensor, images: Tensor, epsilon: float, norm: str
) -> Tensor:
    """Return the points after a step along their gradient, of one size or one for each image, back in the ball."""
    size = of_images(size, points) if isinstance(size, Tensor) else size
    return projected(points + size * steepest(gradient, norm), images, epsilon, norm)


def random_corners(images: Tensor, epsilon: float, norm: str, seed: int) -> Tensor:
    """Return points as far from the images as the ball allows, in random directions: noise of an attack's size."""
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    direction = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    return stepped(images, direction, epsilon, images, epsilon, norm)


def random_points(images: Tensor, epsilon: float, norm: str, generator: torch.Generator) -> Tensor:
    """Return a point for each image, uniform in its ball and then brought into [0, 1].

    Args:
        images: [N, ...] in [0, 1].
        epsilon, norm: of the ball.
        generator: the CPU's, so that every device gets the same points.
    """

    def drawn(draw: Callable[..., Tensor], *shape: int) -> Tensor:
        return draw(shape, generator=generator, dtype=images.dtype, device=generator.device).to(images.device)

    if norm == "linf":
        return (images + epsilon * (2 * drawn(torch.rand, *images.shape) - 1)).clamp(0, 1)
    direction = steepest(drawn(torch.randn, *images.shape), "l2")
    # In d dimensions the share of the ball within a radius r of its centre is r^d.
    radius = epsilon * drawn(torch.rand, len(images)) ** (1 / max(1, images[:1].numel()))
    return (images + of_images(radius, images) * direction).clamp(0, 1)
