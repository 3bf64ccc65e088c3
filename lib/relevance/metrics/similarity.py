"""How alike two maps are: by ranks, by structure, by values, beside the overlap of their most relevant pixels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy import ndimage, stats
from torch import Tensor

from relevance.metrics.overlap import lrp_robustness, same_shape


def linear_similarity(before: Tensor, after: Tensor) -> Tensor:
    """Return Pearson's correlation of all entries of two maps, with their signs, for each image.

    Args:
        before: [N, ...].
        after: of the same shape.

    Returns:
        [N], float64 in [-1, 1]; NaN where a map has the same value everywhere.
    """
    same_shape(before, after)
    return _correlation(_flat(before), _flat(after))


def rank_similarity(before: Tensor, after: Tensor) -> Tensor:
    """Return Spearman's rank correlation of all entries of two maps, with their signs, for each image.

    Args:
        before: [N, ...].
        after: of the same shape.

    Returns:
        [N], float64 in [-1, 1]; NaN where a map has the same value everywhere, which ranks nothing.
    """
    same_shape(before, after)
    first, second = (stats.rankdata(_flat(maps), axis=1) for maps in (before, after))
    return _correlation(first, second)


def _correlation(first: np.ndarray, second: np.ndarray) -> Tensor:
    first, second = (values - values.mean(1, keepdims=True) for values in (first, second))
    sizes = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return torch.from_numpy((first * second).sum(1) / sizes)


def structural_similarity(before: Tensor, after: Tensor) -> Tensor:
    """Return the mean structural similarity of two maps (Wang et al. 2004, doi:10.1109/TIP.2003.819861, Eq. 13).

    Local means, variances and covariances under a Gaussian of standard deviation 1.5, with K1 = 0.01 and K2 = 0.03. The
    range of the values is that of both maps of an image together.

    Args:
        before: [N, C, H, W].
        after: of the same shape.

    Returns:
        [N], float64 in [-1, 1]; 1 means equal maps. NaN where both maps together have a single value.
    """
    same_shape(before, after)
    if before.ndim != 4:
        raise ValueError(f"before has shape {list(before.shape)}; structure needs maps of shape [N, C, H, W].")
    first, second = (maps.detach().cpu().double().numpy() for maps in (before, after))
    both = np.concatenate([_flat(before), _flat(after)], axis=1)
    span = np.ptp(both, axis=1).reshape(-1, 1, 1, 1)

    def local(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, sigma=(0, 0, 1.5, 1.5), truncate=3.5)

    means = local(first), local(second)
    variances = [local(values**2) - mean**2 for values, mean in zip((first, second), means, strict=True)]
    covariance = local(first * second) - means[0] * means[1]
    floors = (0.01 * span) ** 2, (0.03 * span) ** 2
    with np.errstate(invalid="ignore"):
        score = ((2 * means[0] * means[1] + floors[0]) * (2 * covariance + floors[1])) / (
            (means[0] ** 2 + means[1] ** 2 + floors[0]) * (variances[0] + variances[1] + floors[1])
        )
    return torch.from_numpy(score.reshape(len(score), score[:1].size or 1).mean(1))


def relative_error(before: Tensor, after: Tensor) -> Tensor:
    """Return the mean squared difference of two maps, in units of the clean map's mean square.

    Args:
        before: [N, ...].
        after: of the same shape.

    Returns:
        [N], float64, at least 0; 0 means equal maps. NaN where the clean map is zero everywhere.
    """
    same_shape(before, after)
    first, second = _flat(before), _flat(after)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = ((first - second) ** 2).mean(1) / (first**2).mean(1)
    return torch.from_numpy(np.where((first == 0).all(1), np.nan, error))


def map_scores(before: Tensor, after: Tensor, top_percent: float) -> pd.DataFrame:
    """Return all scores of two maps of each image, and where a score means nothing, why.

    Args:
        before: maps of the clean images, [N, C, H, W].
        after: maps of the attacked images, of the same shape.
        top_percent: as for :func:`relevance.metrics.lrp_robustness`.

    Returns:
        A row for each image: ``lrp_robustness``, ``rank``, ``structure``, ``error`` and ``reason``, which is empty where
        all of them mean something; where it is not, they are NaN.
    """
    scores = pd.DataFrame(
        {
            "lrp_robustness": lrp_robustness(before, after, top_percent).cpu(),
            "rank": rank_similarity(before, after),
            "structure": structural_similarity(before, after),
            "error": relative_error(before, after),
        }
    )
    reasons = [""] * len(scores)
    for name, maps in (("attacked", _flat(after)), ("clean", _flat(before))):
        for index in np.flatnonzero(np.ptp(maps, axis=1) == 0):
            reasons[index] = f"the {name} map is {maps[index, 0]:g} everywhere, which ranks nothing"
    scores["reason"] = reasons
    scores.loc[scores["reason"] != "", ["lrp_robustness", "rank", "structure", "error"]] = np.nan
    return scores


def _flat(maps: Tensor) -> np.ndarray:
    return maps.detach().cpu().double().flatten(1).numpy()
