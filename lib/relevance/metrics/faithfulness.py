"""How faithful several maps of one posterior are, by both measures, image by image."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from relevance.base import checks
from relevance.explanations.expected import checked
from relevance.metrics.deletion import SHARES, deletion, deletion_area
from relevance.metrics.infidelity import infidelity
from relevance.networks.posterior import Posterior


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
    target = checked(posterior, images, target)
    for name, values in checks.named("maps", maps, "maps of the images").items():
        checks.maps(f"maps[{name!r}]", values, images.shape)
    for name in checks.kind_of("contributions", contributions, Collection, "a list of names of maps"):
        checks.one_of("an item of contributions", name, maps)
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
