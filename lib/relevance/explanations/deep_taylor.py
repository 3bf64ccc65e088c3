"""Deep Taylor's heatmap at a root point: the first-order part of what separates an image from a neutral one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from relevance.base import checks
from relevance.explanations.expected import checked
from relevance.explanations.gradient import gradient
from relevance.networks.posterior import Posterior

BISECTIONS = 50


@dataclass(frozen=True)
class RootPoints:
    """Images in which the target's logit vanishes.

    Attributes:
        images: [N, C, H, W] in [0, 1].
        logits: [N], the posterior's mean target logit there.
        distances: [N], Euclidean distance from the images that were given.
        converged: [N], whether the logit is as small as was asked for.
    """

    images: Tensor
    logits: Tensor
    distances: Tensor
    converged: Tensor


def root_points(
    posterior: Posterior, images: Tensor, target: Tensor, *, n_steps: int = 50, tolerance: float = 1e-3
) -> RootPoints:
    """Search for the nearest image of each image in which the posterior's mean target logit is zero.

    min |x* - x|^2 such that f(x*) = 0 and x* in [0, 1], by sequential linearisation: each step solves the problem with f
    replaced by its tangent at the last point (Montavon et al. 2017, Sec. 3.2, name the problem; Carbone et al., Sec.
    II-B, Eq. 1). What it finds is a nearest root of the tangent, not always the nearest of f; some images have none.

    Args:
        posterior: the networks; their mean logit is f.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class whose logit is to vanish.
        n_steps: tangents at most, at least 1.
        tolerance: a root has |f(x*)| at most this times max(1, |f(x)|).

    Returns:
        The points with the smallest |f| that were met, and how far the search came.

    Raises:
        ValueError: an image, a target or a setting is not what it may be.
    """
    target = checked(posterior, images, target)
    checks.count("n_steps", n_steps)
    checks.number("tolerance", tolerance, above=0)

    def logit(points: Tensor) -> Tensor:
        return posterior.logits(points).mean(0).gather(1, target[:, None]).squeeze(1)

    images = images.detach()
    with torch.no_grad():
        points, value = images, logit(images)
        enough = tolerance * value.abs().clamp(min=1)
        best, best_value = points, value
        for _ in range(n_steps):
            if (best_value.abs() <= enough).all():
                break
            slope = gradient(posterior, points, target)
            points = _onto_tangent(images, points, value, slope)
            value = logit(points)
            better = (value.abs() < best_value.abs()) & (best_value.abs() > enough)
            best = torch.where(better.reshape(-1, *[1] * (images.ndim - 1)), points, best)
            best_value = torch.where(better, value, best_value)
    distances = (best - images).flatten(1).norm(dim=1)
    return RootPoints(best, best_value, distances, best_value.abs() <= enough)


def _onto_tangent(images: Tensor, points: Tensor, value: Tensor, slope: Tensor) -> Tensor:
    """Return the point of [0, 1] nearest to each image in which the tangent of f at ``points`` vanishes.

    It lies at clamp(x - t g, 0, 1) for one number t of each image; there the tangent falls as t grows, so bisection
    finds it. Where the tangent does not vanish in [0, 1], the corner nearest to it is taken.
    """
    flat, at, g = images.flatten(1), points.flatten(1), slope.flatten(1)

    # t = scale * u / (1 - |u|) with u in (-1, 1): all sizes of t, at a step of which the steepest pixel crosses [0, 1].
    steepest = g.abs().amax(1)
    scale = torch.where(steepest > 0, 1 / steepest, 0.0)

    def point(u: Tensor) -> Tensor:
        return (flat - (scale * u / (1 - u.abs()))[:, None] * g).clamp(0, 1)

    low, high = -torch.ones_like(value), torch.ones_like(value)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = value + (g * (point(middle) - at)).sum(1) > 0
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    # Where no u will do, the ends have met at 1 or -1, beyond which there is nothing.
    return point(((low + high) / 2).clamp(-1 + 1e-6, 1 - 1e-6)).reshape(images.shape)


def deep_taylor(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    per_sample: bool = False,
    roots: RootPoints | None = None,
) -> Tensor:
    """Return grad f(x*) (x - x*), with x* the root point of each image (Carbone et al., Eq. 1 and Sec. II-B).

    Args:
        posterior: the networks to explain.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image.
        per_sample: return the map of every sample, at the common root point, instead of their mean.
        roots: the root points of these images, if known; else :func:`root_points` searches for them. They are taken as
            fixed when the map is differentiated.

    Returns:
        [N, C, H, W], with ``per_sample`` [S, N, C, H, W]. Where the search did not converge the map is that of the best
        point found; ``root_points`` tells.

    Raises:
        ValueError: an image, a target or the roots are not what they may be.
    """
    target = checked(posterior, images, target)
    found = root_points(posterior, images, target) if roots is None else roots
    checks.kind_of("roots", found, RootPoints, "what root_points gives")
    if found.images.shape != images.shape:
        raise ValueError(f"roots has images of shape {list(found.images.shape)}; they must be {list(images.shape)}.")
    return gradient(posterior, found.images, target, per_sample=per_sample) * (images - found.images)
