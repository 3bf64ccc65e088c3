"""Whether a posterior predicts what its source predicts, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from relevance.base import checks
from relevance.networks.layouts import columns, flattened, is_dense, weight_of, without_plates
from relevance.networks.posterior import Posterior, log_mean_softmax

# Of the largest logit: how far two computations of the same in single precision may be apart, also of a GPU's shorter products.
SHARE, SHARE_DOUBLE = 1e-3, 1e-7
# How many square weights are transposed one by one in search of a cause.
MOST_ALONE = 8


class Difference(NamedTuple):
    """How far two predictions are apart.

    Attributes:
        largest: the largest difference.
        draw: of which draw; None where means are compared.
        size: the largest value of the source.
        agrees: whether rounding explains it.
    """

    largest: float
    draw: int | None
    size: float
    agrees: bool


def compared(posterior: Posterior, images: Tensor, logits: Tensor) -> dict[str, Any]:
    """Compare a posterior with its source; return how many images, and the largest difference, as its record keeps them.

    Args:
        posterior: of S samples.
        images: [N, C, H, W] in [0, 1].
        logits: [S, N, K], or their mean [N, K]: of softmax outputs where its rows are probabilities, else of logits.

    Raises:
        ValueError: they differ by more than rounding; with the largest difference, the draw, and the likely cause.
    """
    own = next(iter(posterior.samples.values()))
    images = checks.pixels("images of check", images, posterior.image_shape).to(own)
    try:
        with torch.no_grad():
            found = posterior.logits(images)
    except Exception as error:  # whatever the network's code raises
        raise ValueError(
            f"images of check have shape {list(images.shape)}, which the network cannot take "
            f"({(str(error) or repr(error)).splitlines()[0]:.120}); they must be what it takes."
        ) from None
    logits = without_plates(logits, found.shape)
    if tuple(logits.shape) not in {tuple(found.shape), tuple(found.shape[1:])}:
        raise ValueError(
            f"logits of check have shape {list(logits.shape)}; they must have shape {list(found.shape)}, of each draw, or "
            f"{list(found.shape[1:])}, the mean over them."
        )
    wanted = checks.finite("logits of check", logits.to(found.device))
    off = difference(found, wanted)
    if not off.agrees:
        where = "the mean over the draws" if off.draw is None else f"draw {off.draw}"
        raise ValueError(
            f"check does not agree: {where} differs by up to {off.largest:.3g} from the source, whose largest value is "
            f"{off.size:.3g}; they must agree ({_cause(posterior, images, found, wanted)})."
        )
    return {"images": len(images), "largest difference": off.largest}


def difference(found: Tensor, wanted: Tensor) -> Difference:
    """Compare logits [S, N, K] with the source's, or with its mean [N, K]."""
    precise = {found.dtype, wanted.dtype} == {torch.float64}
    draws = wanted.ndim == 3
    if not draws:
        found = (log_mean_softmax(found).exp() if _are_probabilities(wanted) else found.mean(0))[None]
    apart = (found - wanted.to(found)).abs().flatten(1).amax(1).nan_to_num(torch.inf)
    worst = int(apart.argmax())
    largest, size = float(apart[worst]), float(wanted.abs().max())
    agrees = largest <= (SHARE_DOUBLE if precise else SHARE) * size
    return Difference(largest, worst if draws else None, size, agrees)


def _are_probabilities(values: Tensor) -> bool:
    return bool((values >= 0).all() and ((values.sum(-1) - 1).abs() < SHARE).all())


def _cause(posterior: Posterior, images: Tensor, found: Tensor, wanted: Tensor) -> str:
    """Return the likely cause of a difference: what would agree, if anything does."""
    for cause, samples in _other_layouts(posterior, images):
        with torch.no_grad():
            if difference(replace(posterior, samples=samples).logits(images), wanted).agrees:
                return f"{cause} would, so it is likely of another layout: from_sites has layout='jax'"
    if wanted.ndim == 3:
        if _are_probabilities(wanted) and difference(found.softmax(-1), wanted).agrees:
            return "these are its softmax outputs, and check must have the logits before"
        if difference(found.log_softmax(-1), wanted).agrees:
            return "these are its log-softmax outputs, and check must have the logits before"
        pairs = (found[:, None] - wanted.to(found)[None]).abs().flatten(2).amax(2)
        if bool((pairs.amin(1) <= SHARE * wanted.abs().max()).all()):
            return "the same draws in another order would"
    return "likely the source was in training mode, or only one of them normalises its images, or the networks differ"


def _other_layouts(posterior: Posterior, images: Tensor) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Give what the samples are if some dense weights had come in another layout, and which."""
    network, samples = posterior.network, posterior.samples
    square = [
        name for name, value in samples.items() if is_dense(network, name) and value.shape[1] == value.shape[2] > 1
    ]
    shapes = {weight_of(layer): shape for layer, shape in flattened(network, images[:1]).items()}

    def turned(given: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        return {**given, **{name: given[name].transpose(1, 2) for name in names}}

    reordered = {**samples, **{name: columns(samples[name], shape) for name, shape in shapes.items()}}
    after = f"{', '.join(shapes)} with its columns from H, W, C"
    if square:
        yield f"{checks.among('', square, most=60)} transposed", turned(samples, square)
    if shapes:
        yield after, reordered
    if square and shapes:
        yield f"{after}, and square weights transposed,", turned(samples | reordered, square)
    if len(square) > 1:
        for name in square[:MOST_ALONE]:
            yield f"{name} transposed", turned(samples, [name])
