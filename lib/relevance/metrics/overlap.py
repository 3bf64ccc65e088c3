"""How much an attack left: of the most relevant pixels, and of the prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from relevance.base import checks
from relevance.explanations.top import top_share


def same_shape(before: Tensor, after: Tensor, check: Callable[[str, Any], Tensor] = checks.maps) -> None:
    """Say so if what is before and after are no maps, or do not have the same shape [N, ...]."""
    shapes = [list(check(name, value).shape) for name, value in (("before", before), ("after", after))]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"before and after have the shapes {shapes[0]} and {shapes[1]}; they must have the same shape."
        )


def lrp_robustness(before: Tensor, after: Tensor, top_percent: float) -> Tensor:
    """Return the k-LRP robustness of each image: the share of its top pixels that the attack left on top.

    |Top_k(R(x)) and Top_k(R(x~))| / k with the top k percent in absolute value (Carbone et al., Definition IV.1,
    Eq. 2). Ties count by share (:func:`top_share`): the score is the one expected when ties in both maps are broken
    at random, independently. So a map of equal values, which ranks nothing, scores as chance would, and two equal maps
    score less than 1 where their non-zero entries do not fill the places: ``lrp_robustness(maps, maps, top_percent)``
    is that ceiling.

    Carbone et al. describe the average of the samples' maps for a Bayesian network, and print the average of the
    samples' scores; give the expected maps for the first, and average the scores of single samples for the second.

    Args:
        before: maps of the clean images, [N, ...].
        after: maps of the attacked images, of the same shape.
        top_percent: in (0, 100].

    Returns:
        [N], float64 in [0, 1]; 1 means that the same entries are on top, in whatever order.
    """
    same_shape(before, after)
    first, second = (top_share(maps, top_percent) for maps in (before, after))
    return ((first * second).sum(1) / first.sum(1)).clamp(0, 1)


def unrelated_robustness(before: Tensor, after: Tensor, top_percent: float) -> Tensor:
    """Return the score that unrelated maps get: that of each clean map with the attacked map of another image.

    Random maps score ``top_percent`` on average; maps of images with a common layout, whose ink lies in the same
    places, score more. A robustness means something only above this line. The other image is the one before it in the
    batch, of any class: give the images in random order.

    Args:
        before, after, top_percent: as for :func:`lrp_robustness`; at least 2 images.

    Returns:
        [N], float64 in [0, 1].
    """
    same_shape(before, after)
    if len(after) < 2:
        raise ValueError(f"before and after have {len(after)} maps; unrelated pairs need at least 2.")
    return lrp_robustness(before, after.roll(1, dims=0), top_percent)


def softmax_robustness(before: Tensor, after: Tensor) -> Tensor:
    """Return 1 - max_k |p_k(x) - p_k(x~)| of each image (Carbone et al. 2020; Carbone et al., Sec. II-B).

    Args:
        before: probabilities on the clean images, [N, K].
        after: probabilities on the attacked images, [N, K].

    Returns:
        [N] in [0, 1]; 1 means that the prediction did not move.
    """
    same_shape(before, after, checks.probabilities)
    return (1 - (before - after).abs().amax(1)).clamp(0, 1)
