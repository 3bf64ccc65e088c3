"""Deletion: how soon the prediction falls as the most relevant pixels are replaced."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from relevance.base import checks
from relevance.explanations.expected import checked
from relevance.metrics.baselines import reference
from relevance.networks.posterior import Posterior

MEASURES = ("relevance", "magnitude")
# Shares of the pixels at which a curve is taken.
SHARES = tuple(step / 16 for step in range(17))


def deletion(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    maps: Tensor,
    shares: Sequence[float] = SHARES,
    baseline: str | Tensor = "blur",
    *,
    measure: str = "relevance",
    n_orders: int = 1,
    seed: int = 0,
) -> Tensor:
    """Return the predicted probability of the target as the most relevant pixels are replaced (Samek et al. 2017, Sec. III).

    A faithful map makes it fall early. Pixels that tie are taken in random order, so that a constant map is a random
    order: the control, to be given as ``torch.zeros_like(images)``.

    Args:
        posterior, images, target: as for :func:`infidelity.infidelity`.
        maps: [N, C, H, W]; a pixel's relevance is the sum over its channels.
        shares: of the pixels that are replaced, in [0, 1]; of P, round(P share) are.
        baseline: what a pixel becomes. ``"black"`` is the background of digits: to blacken what is black deletes nothing, and
            a map is punished for finding empty places relevant even where it is right. A tensor [C, H, W], usually the mean of
            the training images, takes from every pixel what is particular to this image, and leaves the same
            image whatever was deleted: what the book uses. ``"blur"`` is the image under a Gaussian of a quarter of its
            width.
        measure: what is relevant: ``"relevance"`` itself, for maps that say what a pixel adds; or its ``"magnitude"``, for
            maps of slopes, whose sign is a direction, not a vote.
        n_orders: random orders of ties that are averaged over.
        seed: of the orders.

    Returns:
        [N, len(shares)], probabilities.

    Raises:
        ValueError: a setting is not what it may be, or shapes do not fit.
    """
    target = checked(posterior, images, target)
    checks.maps("maps", maps, images.shape)
    checks.one_of("measure", measure, MEASURES)
    checks.count("n_orders", n_orders)
    n_pixels = math.prod(images.shape[-2:])
    counts = [round(n_pixels * share) for share in checks.numbers("shares", shares, at_least=0, at_most=1)]
    fill = reference(baseline, images)
    relevance = maps.detach().sum(1).flatten(1)
    strength = relevance.abs() if measure == "magnitude" else relevance
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    total = torch.zeros((len(images), len(counts)), dtype=images.dtype, device=images.device)
    # Without ties there is only one order.
    ordered = strength.sort(1).values
    if (ordered.diff(dim=1) > 0).all():
        n_orders = 1
    with torch.no_grad():
        for _ in range(n_orders):
            order = places(strength, generator).reshape(len(images), 1, *images.shape[-2:])
            changed = torch.cat([torch.where(order < count, fill, images) for count in counts])
            found = posterior.predict(changed).gather(1, target.repeat(len(counts))[:, None])
            total += found.reshape(len(counts), len(images)).mT
    return total / n_orders


def deletion_area(curves: Tensor, shares: Sequence[float] = SHARES) -> Tensor:
    """Return the area under curves of :func:`deletion`, by trapezoids, over the range of ``shares``: [N] in [0, 1]."""
    checks.numbers("shares", shares)
    checks.finite("curves", checks.tensor("curves", curves, f"a tensor of shape [N, {len(shares)}]"))
    if curves.ndim != 2 or curves.shape[1] != len(shares) or len(shares) < 2:
        raise ValueError(
            f"curves have shape {list(curves.shape)} at {len(shares)} shares; they must be [N, {len(shares)}], at 2 or more."
        )
    steps = torch.tensor(shares, dtype=torch.float64)
    if not (steps.diff() > 0).all():
        raise ValueError("shares do not rise from one to the next; they must, for an area.")
    return torch.trapezoid(curves.double().cpu(), steps) / (steps[-1] - steps[0])


def places(strength: Tensor, generator: torch.Generator) -> Tensor:
    """Return the place of each entry [N, P] in the order of falling strength, from 0; ties are ordered at random."""
    shuffled = torch.rand(strength.shape, generator=generator).argsort(1).to(strength.device)
    order = shuffled.gather(1, strength.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    return order.argsort(1)
