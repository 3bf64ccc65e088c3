"""Faithfulness and robustness of the maps under each defence, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, faithfulness, robustness
from relevance.inference.low_curvature import curvature
from relevance.tradeoff.defended import BETA, CONSTANT, CONTRIBUTIONS, NONE, ORDER, RANDOM, SMOOTH_GRAD, Defended

# Sharpness of softplus in the network that an attack follows, at the first and at the last step: as the source has it; and soft.
SURROGATES = ((10.0, 100.0), (3.0, 3.0))


def maps_of(defence: Defended, images: Tensor, names: Sequence[str], seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the predicted classes [N], and maps of them: name -> [N, C, H, W].

    Args:
        defence: where there is none, a constant and a random map are added.
        images: [N, C, H, W] in [0, 1].
        names: keys of :data:`EXPLAINS`.
        seed: of the random map.
    """
    target = defence.posterior.predict(images).argmax(1)
    maps = {name: defence.explain(name)(defence.posterior, images, target).detach() for name in names}
    if defence.name == NONE:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        maps |= {CONSTANT: torch.ones_like(images), RANDOM: noise.to(images)}
    return target, maps


def curves(
    defence: Defended, images: Tensor, names: Sequence[str], baseline: str | Tensor, seed: int = 0
) -> dict[str, Tensor]:
    """Return the curves of :func:`relevance.faithfulness.deletion` of some maps, and of a random order."""
    target, maps = maps_of(defence, images, names, seed)
    orders = {name: maps[name] for name in names} | {ORDER: torch.zeros_like(images)}
    return {
        name: faithfulness.deletion(
            defence.posterior,
            images,
            target,
            values,
            baseline=baseline,
            measure="relevance" if name in CONTRIBUTIONS else "magnitude",
            n_orders=3,
            seed=seed,
        )
        for name, values in orders.items()
    }


def faithful(
    chosen: Sequence[Defended], images: Tensor, names: Sequence[str], *, baseline: str | Tensor, seed: int = 0
) -> pd.DataFrame:
    """Return how faithful the maps of all defences are, each to the network in use.

    Args:
        chosen: the defences.
        images: [N, C, H, W]; what is explained is each network's own prediction.
        names: of the maps, keys of :data:`EXPLAINS`; of a network without a defence also a constant and a random map.
        baseline: as for :func:`relevance.faithfulness.deletion`.
        seed: of everything.

    Returns:
        Rows of :func:`relevance.faithfulness.table`, with ``defence`` and ``setting`` for the model.
    """
    parts = []
    for defence in chosen:
        target, maps = maps_of(defence, images, names, seed)
        found = faithfulness.table(
            defence.posterior,
            images,
            target,
            maps,
            model=f"{defence.name} {defence.setting}".strip(),
            contributions=[name for name in maps if name in CONTRIBUTIONS],
            baseline=baseline,
            seed=seed,
        )
        parts.append(found.assign(defence=defence.name, setting=defence.setting))
    return pd.concat(parts, ignore_index=True)


def similarity(
    defence: Defended, images: Tensor, name: str, *, epsilon: float, n_steps: int = 20, seed: int = 0
) -> Tensor:
    """Return how alike a map and its manipulation are: Spearman's correlation, [N], of an attack that knows the defence.

    The attack is that of Dombrowski et al. in a Euclidean ball, towards the map of another image. It follows a softened
    network, and which one matters: of those of :data:`SURROGATES` the most harmful counts, image by image. Where the
    defence is softplus, its own beta is among them.

    Args:
        defence: what is attacked.
        images: [N, C, H, W]; the target map of each is the map of the one before it.
        name: of the map.
        epsilon: size of the ball, in units of the pixel range.
        n_steps: of the attack.
        seed: of the attack.
    """
    explain = defence.explain(name)
    target = defence.posterior.predict(images).argmax(1)
    before = explain(defence.posterior, images, target).detach()
    surrogates = [*SURROGATES, *([(defence.smoothing.parameter,) * 2] if defence.name == BETA else [])]
    found = []
    for beta in dict.fromkeys(surrogates):
        attacked = attacks.target_map(
            defence.posterior,
            images,
            target,
            epsilon,
            target_maps=before.roll(1, 0),
            explain=explain,
            beta=beta,
            norm="l2",
            n_steps=n_steps,
            seed=seed,
            progress=False,
        )
        found.append(robustness.rank_similarity(before, explain(defence.posterior, attacked, target).detach()))
    return torch.stack(found).amin(0)


def robust(chosen: Sequence[Defended], images: Tensor, name: str, **settings: Any) -> pd.DataFrame:
    """Return :func:`similarity` of all defences: rows of ``defence``, ``setting``, ``image``, ``similarity``."""
    parts = [
        pd.DataFrame(
            {
                "defence": defence.name,
                "setting": defence.setting,
                "image": range(len(images)),
                "similarity": similarity(defence, images, name, **settings).cpu(),
            }
        )
        for defence in chosen
    ]
    return pd.concat(parts, ignore_index=True)


def networks_used(chosen: Sequence[Defended], images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return accuracy and curvature of the network in use under each defence that has one of its own.

    ``curvature`` is the median of :func:`relevance.inference.low_curvature.curvature`, in units of the gradient.
    """
    rows = {}
    for defence in chosen:
        if defence.name in (BETA, SMOOTH_GRAD):
            continue
        target = defence.posterior.predict(images).argmax(1)
        rows[f"{defence.name} {defence.setting}".strip()] = {
            "accuracy": defence.posterior.accuracy(images, labels),
            "confidence": defence.posterior.predict(images).amax(1).mean().item(),
            "curvature": curvature(defence.posterior, images, target).median().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")
