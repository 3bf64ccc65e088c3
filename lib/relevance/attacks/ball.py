"""Balls around images: steps in them, and the way back into them and into [0, 1]."""

from __future__ import annotations

from torch import Tensor

from relevance import checks

NORMS = ("linf", "l2")


def check_norm(norm: str) -> str:
    """Return ``norm`` if it is one of ``"linf"`` and ``"l2"``, or say so."""
    return checks.one_of("norm", norm, NORMS)


def _of_images(values: Tensor, like: Tensor) -> Tensor:
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
    return gradient / _of_images(size.where(size > 0, 1.0), gradient)


def projected(points: Tensor, images: Tensor, epsilon: float, norm: str) -> Tensor:
    """Return the points in [0, 1] and within ``epsilon`` of ``images``: first into the ball, then into [0, 1].

    Both are convex and [0, 1] holds the ball's centre, so the second step does not lead out of the ball.
    """
    difference = points - images
    if norm == "linf":
        return (images + difference.clamp(-epsilon, epsilon)).clamp(0, 1)
    size = sizes(difference, norm)
    factor = (epsilon / size.clamp(min=1e-30)).clamp(max=1.0)
    return (images + difference * _of_images(factor, difference)).clamp(0, 1)
