"""What steadiness costs: each defence of an explanation, at each setting, by robustness and by faithfulness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, faithfulness, report, robustness, smoothing
from relevance.inference.low_curvature import curvature
from relevance.manipulation import Explain
from relevance.posterior import Posterior

# Maps of the trade-off -> what explains.
EXPLAINS: dict[str, Explain] = {
    "gradient": explanations.gradient,
    "gradient x input": explanations.gradient_x_input,
    "LRP": explanations.lrp,
}
CONSTANT, RANDOM, ORDER = "constant", "random", "random order"
# Those that say what a pixel adds; the gradient is a slope. What a constant and a random map say is for us to choose.
CONTRIBUTIONS = ("gradient x input", "LRP", CONSTANT, RANDOM)
NONE, BETA, SMOOTH_GRAD, BAYES, FLAT = "none", "beta-smoothing", "SmoothGrad", "posterior", "low curvature"
# Sharpness of softplus in the network that an attack follows, at the first and at the last step: as the source has it; and soft.
SURROGATES = ((10.0, 100.0), (3.0, 3.0))
FAITHFULNESS = ("deletion gain", "explained")


@dataclass(frozen=True)
class Defence:
    """A way to make an explanation steadier, at one setting.

    Attributes:
        name: of the way: one of ``NONE``, ``BETA``, ``SMOOTH_GRAD``, ``BAYES``, ``FLAT``.
        setting: a number with its name, such as ``"beta 3"``.
        posterior: the network in use, which is attacked, and by which its maps are judged.
        value: beta, or the standard deviation of the noise, where the explanation is what is changed.
    """

    name: str
    setting: str
    posterior: Posterior
    value: float = 0.0

    def explain(self, name: str, n_noise: int = 10) -> Explain | None:
        """Return what explains under this defence, as :data:`EXPLAINS` has the map; None if SmoothGrad has no such map."""
        plain = EXPLAINS[checks.one_of("map", name, EXPLAINS)]
        if self.name == BETA:
            return smoothing.softplus(plain, self.value)
        if self.name == SMOOTH_GRAD:
            given: dict[str, Any] = {"noise": self.value, "n_noise": n_noise}
            ways = {"gradient": explanations.smooth_grad, "gradient x input": _smooth_grad_x_input}
            return partial(ways[name], **given) if name in ways else None
        return plain


def _smooth_grad_x_input(posterior: Posterior, images: Tensor, target: Tensor, **settings: Any) -> Tensor:
    return explanations.smooth_grad(posterior, images, target, **settings) * images


def defences(
    network: Posterior,
    bayesian: Posterior,
    flat: Mapping[float, Posterior],
    *,
    betas: Sequence[float],
    noises: Sequence[float],
    counts: Sequence[int],
) -> list[Defence]:
    """Return all defences, from none on.

    Args:
        network: deterministic, which the smoothings defend.
        bayesian: a posterior of many samples.
        flat: strength of the penalty -> a network of :func:`relevance.inference.low_curvature`.
        betas: of softplus, in the explanation only.
        noises: of SmoothGrad, standard deviations in units of the pixel range.
        counts: numbers of samples of ``bayesian``.
    """
    return [
        Defence(NONE, "", network),
        *(Defence(BETA, f"beta {beta:g}", network, beta) for beta in betas),
        *(Defence(SMOOTH_GRAD, f"noise {noise:g}", network, noise) for noise in noises),
        *(Defence(BAYES, report.samples(count), bayesian.thinned(count)) for count in counts),
        *(Defence(FLAT, f"strength {strength:g}", posterior) for strength, posterior in flat.items()),
    ]


def maps_of(defence: Defence, images: Tensor, names: Sequence[str], seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the predicted classes [N], and maps of them: name -> [N, C, H, W].

    Args:
        defence: SmoothGrad has no LRP, and leaves it out; where there is no defence, a constant and a random map are added.
        images: [N, C, H, W] in [0, 1].
        names: keys of :data:`EXPLAINS`.
        seed: of the random map.
    """
    target = defence.posterior.predict(images).argmax(1)
    maps = {
        name: explain(defence.posterior, images, target).detach()
        for name in names
        if (explain := defence.explain(name)) is not None
    }
    if defence.name == NONE:
        noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        maps |= {CONSTANT: torch.ones_like(images), RANDOM: noise.to(images)}
    return target, maps


def curves(
    defence: Defence, images: Tensor, names: Sequence[str], baseline: str | Tensor, seed: int = 0
) -> dict[str, Tensor]:
    """Return the curves of :func:`relevance.faithfulness.deletion` of some maps, and of a random order."""
    target, maps = maps_of(defence, images, names, seed)
    orders = {name: maps[name] for name in names if name in maps} | {ORDER: torch.zeros_like(images)}
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


def baselines_told(found: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Say which map's curve falls fastest under each baseline: title -> :func:`curves`."""
    told = []
    for title, panel in found.items():
        areas = {name: faithfulness.deletion_area(values).mean().item() for name, values in panel.items()}
        order = sorted(areas, key=areas.__getitem__)
        told.append(f"{title}: {', '.join(f'{name} {areas[name]:.3f}' for name in order)}")
    return f"Areas under the curves, the lowest first. {'; '.join(told)}."


def faithful(
    chosen: Sequence[Defence], images: Tensor, names: Sequence[str], *, baseline: str | Tensor, seed: int = 0
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
    defence: Defence, images: Tensor, name: str, *, epsilon: float, n_steps: int = 20, seed: int = 0
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
    if explain is None:
        raise ValueError(f"{defence.name} has no map {name!r}; it may be one of: gradient, gradient x input.")
    target = defence.posterior.predict(images).argmax(1)
    before = explain(defence.posterior, images, target).detach()
    surrogates = [*SURROGATES, *([(defence.value, defence.value)] if defence.name == BETA else [])]
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


def robust(chosen: Sequence[Defence], images: Tensor, name: str, **settings: Any) -> pd.DataFrame:
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
            found = robustness.paired_difference(np.zeros(len(given)), given)
            row |= {axis: found.mean, f"{axis} low": found.low, f"{axis} high": found.high}
        rows.append(row)
    # It cannot be moved, whatever the attack; a correlation with it is not defined.
    constant = faithful_rows.loc[faithful_rows["map"] == CONSTANT, by].dropna().to_numpy()
    if len(constant):
        found = robustness.paired_difference(np.zeros(len(constant)), constant)
        ends = {"faithfulness": found.mean, "faithfulness low": found.low, "faithfulness high": found.high}
        steady = dict.fromkeys(("robustness", "robustness low", "robustness high"), 1.0)
        rows.append({"defence": "constant map", "setting": "", **steady, **ends})
    return pd.DataFrame(rows)


def networks_used(chosen: Sequence[Defence], images: Tensor, labels: Tensor) -> pd.DataFrame:
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
        for table, column in ((robust_rows, "similarity"), (named, "deletion gain"), (named, "explained")):
            one, other = (
                table[(table["defence"] == way) & (table["setting"] == at)].sort_values("image")[column].to_numpy()
                for way, at in ((NONE, ""), (defence, setting))
            )
            both = np.isfinite(one) & np.isfinite(other)
            found = robustness.paired_difference(one[both], other[both])
            row |= {column: found.mean, f"{column} low": found.low, f"{column} high": found.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("defence")


def answer(compared: pd.DataFrame) -> str:
    """Say which defences are paid for with faithfulness, and how the posterior stands, from :func:`differences`."""
    lists: dict[str, list[str]] = {"paid": [], "free": [], "nothing": []}
    for defence, row in compared.iterrows():
        costs = any(row[f"{column} high"] < 0 for column in FAITHFULNESS)
        kind = "nothing" if row["similarity low"] <= 0 else "paid" if costs else "free"
        lists[kind].append(f"{defence} ({row['setting']})")
    listed = {kind: report.join(names) if names else "none" for kind, names in lists.items()}
    told = [
        f"Steadier under attack than the map without a defence, at a loss of faithfulness by deletion, infidelity or both: "
        f"{listed['paid']}. Steadier, and no such loss to be seen on these images: {listed['free']}. Less steady, or not "
        f"distinguishable: {listed['nothing']}."
    ]
    if BAYES in compared.index:
        row = compared.loc[[BAYES]].iloc[-1]
        parts = []
        for column, called in zip(FAITHFULNESS, ("deletion", "infidelity"), strict=True):
            low, high = row[f"{column} low"], row[f"{column} high"]
            words = "more" if low > 0 else "less" if high < 0 else "not distinguishably more or less"
            parts.append(f"by {called} {words} ({report.interval(robustness.Interval(row[column], low, high))})")
        told.append(
            f"Is the expected map of {row['setting']} more faithful to its posterior than the network's to the network? "
            f"{report.join(parts)[0].upper()}{report.join(parts)[1:]}."
        )
    return " ".join(told)


def lost(faithful_rows: pd.DataFrame, below: float = 0.05) -> str:
    """Say which map of which smoothing explains less of the logit's changes than without, by more than ``below``."""
    means = faithful_rows.groupby(["defence", "setting", "map"], sort=False)["explained"].mean().reset_index()
    before = means[means["defence"] == NONE].set_index("map")["explained"]
    found = [
        f"{row['map']} under {row['defence']} ({row['setting']}: {row['explained']:.2f} instead of {before[row['map']]:.2f})"
        for row in means[means["defence"].isin([BETA, SMOOTH_GRAD])].to_dict("records")
        if row["explained"] < before[row["map"]] - below
    ]
    listed = report.join(found) if found else "no map"
    return f"Of the logit's changes, smoothing loses more than {below:.2f} of what is explained for: {listed}."
