"""What steadiness costs: each defence of an explanation, at each setting, by robustness and by faithfulness, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.explanation import target_map
from relevance.base import checks
from relevance.explanations.expected import Explain
from relevance.explanations.gradient import gradient, gradient_x_input
from relevance.explanations.lrp import lrp
from relevance.inference.low_curvature import curvature
from relevance.metrics.deletion import deletion
from relevance.metrics.faithfulness import table
from relevance.metrics.similarity import rank_similarity
from relevance.metrics.statistics import paired_difference
from relevance.networks.posterior import Posterior
from relevance.studies import phrases
from relevance.studies.dombrowski.smoothing import BETA, NONE, PARAMETERS, SMOOTH_GRAD, Defence
from relevance.studies.dombrowski.smoothing import POSTERIOR as BAYES

FLAT = "low curvature"
NO_SMOOTHING = Defence(NONE)
# Maps of the trade-off -> what explains.
EXPLAINS: dict[str, Explain] = {
    "gradient": gradient,
    "gradient x input": gradient_x_input,
    "LRP": lrp,
}
CONSTANT, RANDOM, ORDER = "constant", "random", "random order"
# Those that say what a pixel adds; the gradient is a slope. What a constant and a random map say is for us to choose.
CONTRIBUTIONS = ("gradient x input", "LRP", CONSTANT, RANDOM)
FAITHFULNESS = ("deletion gain", "explained")


@dataclass(frozen=True)
class Defended:
    """A network in use, and how its maps are made steadier, at one setting.

    Attributes:
        name: of the way: one of ``NONE``, ``BETA``, ``SMOOTH_GRAD``, ``BAYES``, ``FLAT``.
        setting: a number with its name, such as ``"beta 3"``.
        posterior: the network in use, which is attacked, and by which its maps are judged.
        smoothing: what is done to the explanation; nothing where it is the network that is another one.
    """

    name: str
    setting: str
    posterior: Posterior
    smoothing: Defence = NO_SMOOTHING

    def explain(self, name: str) -> Explain:
        """Return what explains under this defence, as :data:`EXPLAINS` has the map."""
        return self.smoothing.explain(EXPLAINS[checks.one_of("map", name, EXPLAINS)])


def defences(
    network: Posterior,
    bayesian: Posterior,
    flat: Mapping[float, Posterior],
    *,
    betas: Sequence[float],
    noises: Sequence[float],
    counts: Sequence[int],
) -> list[Defended]:
    """Return all defences, from none on.

    Args:
        network: deterministic, which the smoothings defend.
        bayesian: a posterior of many samples.
        flat: strength of the penalty -> a network of :func:`relevance.inference.low_curvature`.
        betas: of softplus, in the explanation only.
        noises: of SmoothGrad, standard deviations in units of the pixel range.
        counts: numbers of samples of ``bayesian``.
    """
    smoothed = [Defence(BETA, beta) for beta in betas] + [Defence(SMOOTH_GRAD, noise) for noise in noises]
    return [
        Defended(NONE, "", network),
        *(Defended(one.name, f"{PARAMETERS[one.name]} {one.parameter:g}", network, one) for one in smoothed),
        *(Defended(BAYES, phrases.samples(count), bayesian.thinned(count)) for count in counts),
        *(Defended(FLAT, f"strength {strength:g}", posterior) for strength, posterior in flat.items()),
    ]


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
        noise = torch.randn(
            images.shape, generator=torch.Generator().manual_seed(checks.seed("seed", seed)), dtype=torch.float64
        )
        maps |= {CONSTANT: torch.ones_like(images), RANDOM: noise.to(images)}
    return target, maps


def curves(
    defence: Defended, images: Tensor, names: Sequence[str], baseline: str | Tensor, seed: int = 0
) -> dict[str, Tensor]:
    """Return the curves of :func:`relevance.metrics.deletion` of some maps, and of a random order."""
    target, maps = maps_of(defence, images, names, seed)
    orders = {name: maps[name] for name in names} | {ORDER: torch.zeros_like(images)}
    return {
        name: deletion(
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
        baseline: as for :func:`relevance.metrics.deletion`.
        seed: of everything.

    Returns:
        Rows of :func:`relevance.metrics.table`, with ``defence`` and ``setting`` for the model.
    """
    parts = []
    for defence in chosen:
        target, maps = maps_of(defence, images, names, seed)
        found = table(
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
        attacked = target_map(
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
        found.append(rank_similarity(before, explain(defence.posterior, attacked, target).detach()))
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


def points(
    faithful_rows: pd.DataFrame, robust_rows: pd.DataFrame, name: str, by: str = "deletion gain"
) -> pd.DataFrame:
    """Return a point for each defence and setting, with 95 % bootstrap intervals over images.

    Args:
        faithful_rows: from :func:`faithful`.
        robust_rows: from :func:`robust`, of the same map.
        name: of the map.
        by: ``"deletion gain"`` or ``"explained"``.

    Returns:
        ``defence``, ``setting``, and of ``robustness`` and ``faithfulness`` the mean, ``low`` and ``high``; the last row is a
        constant map's, whose robustness is 1 by definition.
    """
    checks.one_of("by", by, FAITHFULNESS)
    named = faithful_rows[faithful_rows["map"] == name]
    rows = []
    for (defence, setting), group in robust_rows.groupby(["defence", "setting"], sort=False):
        own = named[(named["defence"] == defence) & (named["setting"] == setting)]
        row = {"defence": defence, "setting": setting}
        for axis, values in (("robustness", group["similarity"]), ("faithfulness", own[by])):
            given = values.dropna().to_numpy()
            found = paired_difference(np.zeros(len(given)), given)
            row |= {axis: found.mean, f"{axis} low": found.low, f"{axis} high": found.high}
        rows.append(row)
    # It cannot be moved, whatever the attack; a correlation with it is not defined.
    constant = faithful_rows.loc[faithful_rows["map"] == CONSTANT, by].dropna().to_numpy()
    if len(constant):
        found = paired_difference(np.zeros(len(constant)), constant)
        ends = {"faithfulness": found.mean, "faithfulness low": found.low, "faithfulness high": found.high}
        steady = dict.fromkeys(("robustness", "robustness low", "robustness high"), 1.0)
        rows.append({"defence": "constant map", "setting": "", **steady, **ends})
    return pd.DataFrame(rows)


def summary(faithful_rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over images of :func:`faithful`, a row for each model and map."""
    columns = ["deletion area", "random area", "deletion gain", "explained"]
    return faithful_rows.groupby(["model", "map"], sort=False)[columns].mean().reset_index("map")


def differences(faithful_rows: pd.DataFrame, robust_rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Compare each defence with none, image by image.

    Args:
        faithful_rows, robust_rows, name: as for :func:`points`.

    Returns:
        A row for each defence and setting, and for each of ``similarity``, ``deletion gain`` and ``explained`` the mean
        difference with its 95 % interval, ``low`` and ``high``.
    """
    named = faithful_rows[faithful_rows["map"] == name]
    rows = []
    for defence, setting in robust_rows[["defence", "setting"]].drop_duplicates().itertuples(index=False):
        if defence == NONE:
            continue
        row = {"defence": defence, "setting": setting}
        for of, column in ((robust_rows, "similarity"), (named, "deletion gain"), (named, "explained")):
            one, other = (
                of[(of["defence"] == way) & (of["setting"] == at)].sort_values("image")[column].to_numpy()
                for way, at in ((NONE, ""), (defence, setting))
            )
            both = np.isfinite(one) & np.isfinite(other)
            found = paired_difference(one[both], other[both])
            row |= {column: found.mean, f"{column} low": found.low, f"{column} high": found.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("defence")
