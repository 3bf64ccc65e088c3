"""Infidelity: by how much a map misses what perturbations of the image do to the logit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from relevance.base import checks, chunks
from relevance.explanations.expected import checked
from relevance.metrics.baselines import reference
from relevance.networks.posterior import Posterior

PERTURBATIONS = ("noise", "square")


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
    ``captum.metrics.infidelity`` takes it. All images get the same noise, or the same squares.

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
        baseline: what squares become, as for :func:`deletion.deletion`; maps of contributions have theirs, which is black for
            LRP and gradient x input.
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
    import captum.metrics  # a second, which only who asks for this should wait for

    target = checked(posterior, images, target)
    checks.maps("maps", maps, images.shape)
    checks.one_of("perturbation", perturbation, PERTURBATIONS)
    checks.count("n_perturbations", n_perturbations)
    for name, value in (("contributions", contributions), ("scaled", scaled), ("relative", relative)):
        checks.truth(name, value)
    if contributions and perturbation == "noise":
        raise ValueError(
            "perturbation is 'noise' for maps of contributions, which say nothing of it; it must be 'square'."
        )
    fill = reference(baseline, images)
    if not len(images):
        return images.new_zeros(0)
    if perturbation == "square":
        drawn = random_squares(
            images.shape[1:], max(1, images.shape[-1] // 4) if size is None else size, n_perturbations, seed
        ).to(images)
    else:
        deviation = checks.number("size", 0.2 if size is None else size, above=0)
        generator = torch.Generator().manual_seed(checks.seed("seed", seed))
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
            taken = chosen * (points - fill[rows].repeat_interleave(n_perturbations, 0))
            return (chosen if contributions else taken), points - taken

        def found(values: Tensor, normalize: bool, rows: Tensor = rows, perturb: Any = perturb) -> Tensor:
            return captum.metrics.infidelity(
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
    _, height, width = checks.image_shape("shape", shape)
    checks.count("n_squares", n_squares)
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    side = checks.count("size", size, at_most=min(height, width))
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    top, left = (
        torch.randint(edge - side + 1, (n_squares, 1), generator=generator).double() for edge in (height, width)
    )
    rows, columns = torch.arange(height)[None], torch.arange(width)[None]
    across = ((rows >= top) & (rows < top + side))[:, :, None] & ((columns >= left) & (columns < left + side))[:, None]
    return across[:, None].expand(-1, *shape).double()
