"""Does a map say what the network does? Infidelity and deletion, since a constant map is steady and says nothing.

Both ask the network itself: take something away from the image, and see whether the prediction changes as the map says.
They judge a map by the posterior whose prediction it is to explain, wherever the map comes from: a map of a softened
network is judged by the network that is in use.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from captum import metrics
from scipy import ndimage
from torch import Tensor

from relevance import checks, chunks
from relevance.explanations.common import checked
from relevance.posterior import Posterior

PERTURBATIONS = ("noise", "square")
MEASURES = ("relevance", "magnitude")
BASELINES = ("black", "blur")
# Shares of the pixels at which a curve is taken.
SHARES = tuple(step / 16 for step in range(17))


def infidelity(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    maps: Tensor,
    *,
    perturbation: str = "square",
    size: float | None = None,
    n_perturbations: int = 100,
    baseline: str | Tensor = "black",
    contributions: bool = False,
    scaled: bool = False,
    relative: bool = False,
    seed: int = 0,
) -> Tensor:
    """Return by how much a map misses what perturbations do to the logit (Yeh et al. 2019, arXiv:1901.09392, Def. 2.1).

    E[(I . R - (f(x) - f(x - I)))^2] over random I, with f the posterior's mean logit of the target, as
    :func:`captum.metrics.infidelity` takes it. All images get the same noise, or the same squares.

    What I . R is depends on what the map says. A map of slopes, such as the gradient, is multiplied by what is taken away,
    pixel by pixel. A map of contributions, such as LRP or gradient x input, already says what a whole pixel adds; it is
    summed over the pixels that are removed, which only squares do. So the gradient, and gradient x input as
    contributions, have the same infidelity for squares that become black.

    Args:
        posterior: the network that is explained.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class that the maps explain.
        maps: [N, C, H, W].
        perturbation: ``"square"``: a square somewhere in the image becomes the baseline; or ``"noise"``: Gaussian noise is
            subtracted, and the image may leave [0, 1].
        size: side of the square in pixels, a whole number; or standard deviation of the noise, in units of the pixel
            range. A quarter of the image's width if None, or 0.2.
        n_perturbations: random I for each image.
        baseline: what squares become, as for :func:`deletion`; maps of contributions have theirs, which is black for LRP and
            gradient x input.
        contributions: whether the maps say what a pixel adds, rather than the slope.
        scaled: multiply each map by the factor that suits it best, E[(I . R) (f(x) - f(x - I))] / E[(I . R)^2], the least
            squares (Yeh et al., Sec. 2.2): what counts is then the map's direction, not its size.
        relative: in units of E[(f(x) - f(x - I))^2], so that posteriors with logits of different size compare: 1 is what a map
            of zeros gets, and no scaled map is above it.
        seed: of the perturbations.

    Returns:
        [N], at least 0; 0 for a map that tells every change. NaN where ``relative`` and nothing changes the logit.

    Raises:
        ValueError: a setting is not what it may be, shapes do not fit, or contributions are to be judged by noise.
    """
    target = checked(posterior, images, target)
    _check_maps(maps, images)
    checks.one_of("perturbation", perturbation, PERTURBATIONS)
    checks.count("n_perturbations", n_perturbations)
    if contributions and perturbation == "noise":
        raise ValueError(
            "perturbation is 'noise' for maps of contributions, which say nothing of it; it must be 'square'."
        )
    reference = _baseline(baseline, images)
    if perturbation == "square":
        drawn = random_squares(
            images.shape[1:], max(1, images.shape[-1] // 4) if size is None else size, n_perturbations, seed
        ).to(images)
    else:
        deviation = checks.number("size", 0.2 if size is None else size, above=0)
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn((n_perturbations, *images.shape[1:]), generator=generator, dtype=torch.float64)
        drawn = (deviation * normal).to(images)

    def forward(points: Tensor) -> Tensor:
        return posterior.logits(points).mean(0)

    # All perturbations of some images at once: captum repeats the images, each as many times as there are perturbations.
    n_at_once = max(1, chunks.at_once(posterior.network, posterior.samples, images[:1].repeat(1000, 1, 1, 1))[0])
    parts = []
    for rows in torch.arange(len(images)).split(max(1, n_at_once // n_perturbations)):

        def perturb(points: Tensor, rows: Tensor = rows) -> tuple[Tensor, Tensor]:
            chosen = drawn.repeat(len(rows), 1, 1, 1)
            if perturbation == "noise":
                return chosen, points - chosen
            taken = chosen * (points - reference[rows].repeat_interleave(n_perturbations, 0))
            return (chosen if contributions else taken), points - taken

        def found(values: Tensor, normalize: bool, rows: Tensor = rows, perturb: Any = perturb) -> Tensor:
            return metrics.infidelity(
                forward,
                perturb,
                images[rows],
                values,
                target=target[rows],
                n_perturb_samples=n_perturbations,
                normalize=normalize,
            )

        values = found(maps[rows].to(images), scaled)
        if relative:
            # What a map of zeros misses is the change itself.
            values = values / found(torch.zeros_like(images[rows]), False)
        parts.append(values)
    # Least squares by differences of sums may fall below zero by rounding.
    return torch.cat(parts).clamp(min=0)


def random_squares(shape: Sequence[int], size: float, n_squares: int, seed: int = 0) -> Tensor:
    """Return masks of squares somewhere in an image: [n_squares, C, H, W], 1 inside and 0 outside.

    Args:
        shape: (C, H, W).
        size: side in pixels, a whole number, at most the image's.
        n_squares: each drawn uniformly from all places where the square is wholly inside.
        seed: of the places.
    """
    height, width = shape[-2:]
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    side = checks.count("size", size, at_most=min(height, width))
    generator = torch.Generator().manual_seed(seed)
    top, left = (
        torch.randint(edge - side + 1, (n_squares, 1), generator=generator).double() for edge in (height, width)
    )
    rows, columns = torch.arange(height)[None], torch.arange(width)[None]
    across = ((rows >= top) & (rows < top + side))[:, :, None] & ((columns >= left) & (columns < left + side))[:, None]
    return across[:, None].expand(-1, *shape).double()


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
        posterior, images, target: as for :func:`infidelity`.
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
    _check_maps(maps, images)
    checks.one_of("measure", measure, MEASURES)
    checks.count("n_orders", n_orders)
    if not len(shares):
        raise ValueError("shares are empty; they must be at least one number in [0, 1].")
    n_pixels = math.prod(images.shape[-2:])
    counts = [round(n_pixels * checks.number("shares", share, at_least=0, at_most=1)) for share in shares]
    reference = _baseline(baseline, images)
    relevance = maps.detach().sum(1).flatten(1)
    strength = relevance.abs() if measure == "magnitude" else relevance
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros((len(images), len(counts)), dtype=images.dtype, device=images.device)
    # Without ties there is only one order.
    ordered = strength.sort(1).values
    if (ordered.diff(dim=1) > 0).all():
        n_orders = 1
    with torch.no_grad():
        for _ in range(n_orders):
            order = places(strength, generator).reshape(len(images), 1, *images.shape[-2:])
            changed = torch.cat([torch.where(order < count, reference, images) for count in counts])
            found = posterior.predict(changed).gather(1, target.repeat(len(counts))[:, None])
            total += found.reshape(len(counts), len(images)).mT
    return total / n_orders


def deletion_area(curves: Tensor, shares: Sequence[float] = SHARES) -> Tensor:
    """Return the area under curves of :func:`deletion`, by trapezoids, over the range of ``shares``: [N] in [0, 1]."""
    if curves.ndim != 2 or curves.shape[1] != len(shares) or len(shares) < 2:
        raise ValueError(
            f"curves have shape {list(curves.shape)}; they must be [N, {len(shares)}], at 2 shares or more."
        )
    steps = torch.tensor(shares, dtype=torch.float64)
    if not (steps.diff() > 0).all():
        raise ValueError("shares do not rise from one to the next; they must, for an area.")
    return torch.trapezoid(curves.double().cpu(), steps) / (steps[-1] - steps[0])


def table(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    maps: Mapping[str, Tensor],
    *,
    model: str,
    contributions: Collection[str] = (),
    baseline: str | Tensor = "blur",
    shares: Sequence[float] = SHARES,
    size: int | None = None,
    n_perturbations: int = 50,
    n_orders: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how faithful some maps of one posterior are, for each image.

    Args:
        posterior, images, target, shares, baseline: as for :func:`deletion`.
        maps: name -> [N, C, H, W].
        model: what the posterior is called.
        contributions: names of the maps that say what a pixel adds: ordered by relevance, others by magnitude.
        size: side of the squares of :func:`infidelity`, which become black.
        n_perturbations: squares for each image.
        n_orders: random orders, of the control and of ties.
        seed: of orders and squares.

    Returns:
        A row for each map and image: ``model``, ``map``, ``image``; ``infidelity``, scaled and relative, in [0, 1];
        ``explained``, 1 minus it; ``deletion area`` and ``random area``, that of a random order; and ``deletion gain``, the share
        of the random order's area that the map's saves: 0 is chance, below 0 worse than chance.
    """
    if unknown := sorted(set(contributions) - set(maps)):
        raise ValueError(f"contributions names {unknown[0]!r}; it may be one of: {', '.join(maps)}.")
    given: dict[str, Any] = {"shares": shares, "baseline": baseline, "n_orders": n_orders, "seed": seed}
    random = deletion_area(deletion(posterior, images, target, torch.zeros_like(images), **given), shares)
    squares: dict[str, Any] = {"size": size, "n_perturbations": n_perturbations, "seed": seed}
    # As infidelity's relative=True, taken once for all maps.
    change = infidelity(posterior, images, target, torch.zeros_like(images), **squares)
    parts = []
    for name, values in maps.items():
        adds = name in contributions
        measure = "relevance" if adds else "magnitude"
        area = deletion_area(deletion(posterior, images, target, values, measure=measure, **given), shares)
        missed = infidelity(posterior, images, target, values, contributions=adds, scaled=True, **squares) / change
        columns = {
            "model": model,
            "map": name,
            "image": range(len(images)),
            "infidelity": missed.cpu().double(),
            "explained": 1 - missed.cpu().double(),
            "deletion area": area,
            "random area": random,
            "deletion gain": 1 - area / random,
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def places(strength: Tensor, generator: torch.Generator) -> Tensor:
    """Return the place of each entry [N, P] in the order of falling strength, from 0; ties are ordered at random."""
    shuffled = torch.rand(strength.shape, generator=generator).argsort(1).to(strength.device)
    order = shuffled.gather(1, strength.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    return order.argsort(1)


def _baseline(baseline: str | Tensor, images: Tensor) -> Tensor:
    """Return what pixels become, [N, C, H, W]."""
    if isinstance(baseline, Tensor):
        if baseline.shape not in (images.shape[1:], images.shape):
            raise ValueError(
                f"baseline has shape {list(baseline.shape)}; it must have that of an image, {list(images.shape[1:])}, or of all."
            )
        return checks.pixels("baseline", baseline.to(images).expand_as(images))
    if checks.one_of("baseline", baseline, BASELINES) == "black":
        return torch.zeros_like(images)
    width = images.shape[-1] / 4
    blurred = ndimage.gaussian_filter(images.detach().cpu().numpy(), sigma=(0, 0, width, width))
    return torch.from_numpy(blurred).to(images).clamp(0, 1)


def _check_maps(maps: Any, images: Tensor) -> None:
    if not isinstance(maps, Tensor) or maps.shape != images.shape:
        given = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ValueError(f"maps are {given}; they must have the shape of the images, {list(images.shape)}.")
    if not torch.isfinite(maps).all():
        raise ValueError("maps have values that are NaN or infinite; they must be numbers.")
