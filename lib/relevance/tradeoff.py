"""What steadiness costs: each defence of an explanation, at each setting, by robustness and by faithfulness."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, faithfulness, report, robustness
from relevance.inference.low_curvature import curvature
from relevance.posterior import Posterior

Explain = Callable[[Posterior, Tensor, Tensor], Tensor]

# Maps of the trade-off -> what explains.
EXPLAINS: dict[str, Explain] = {
    "gradient": explanations.gradient,
    "gradient x input": explanations.gradient_x_input,
    "LRP": explanations.lrp,
}
CONSTANT, RANDOM = "constant", "random"
# Those that say what a pixel adds; the gradient is a slope. What a constant and a random map say is for us to choose.
CONTRIBUTIONS = ("gradient x input", "LRP", CONSTANT, RANDOM)
NONE, BETA, SMOOTH_GRAD, BAYES, FLAT = "none", "beta-smoothing", "SmoothGrad", "posterior", "low curvature"
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

    def explain(self, name: str, n_noise: int = 20) -> Explain | None:
        """Return what explains under this defence, as :data:`EXPLAINS` has the map; None if SmoothGrad has no such map."""
        plain = EXPLAINS[checks.one_of("map", name, EXPLAINS)]
        if self.name == BETA:
            return partial(_softly, plain, self.value)
        if self.name == SMOOTH_GRAD:
            given = {"noise": self.value, "n_noise": n_noise}
            ways = {"gradient": explanations.smooth_grad, "gradient x input": _smooth_grad_x_input}
            return partial(ways[name], **given) if name in ways else None
        return plain


def _softly(plain: Explain, beta: float, posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    # A network that an attack has softened already, by the same beta, stays as it is.
    return plain(attacks.softened(posterior, beta), images, target)


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
        target = defence.posterior.predict(images).argmax(1)
        maps = {
            name: explain(defence.posterior, images, target).detach()
            for name in names
            if (explain := defence.explain(name)) is not None
        }
        if defence.name == NONE:
            noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            maps |= {CONSTANT: torch.ones_like(images), RANDOM: noise.to(images)}
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

    The attack is that of Dombrowski et al. in a Euclidean ball, towards the map of another image.

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
    attacked = attacks.target_map(
        defence.posterior,
        images,
        target,
        epsilon,
        target_maps=before.roll(1, 0),
        explain=explain,
        # Whoever knows that the map is that of softplus with this beta attacks that one.
        beta=(defence.value, defence.value) if defence.name == BETA else (10.0, 100.0),
        norm="l2",
        n_steps=n_steps,
        seed=seed,
        progress=False,
    )
    return robustness.rank_similarity(before, explain(defence.posterior, attacked, target).detach())


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
        ``defence``, ``setting``, and of ``robustness`` and ``faithfulness`` the mean, ``low`` and ``high``.
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


def verdict(faithful_rows: pd.DataFrame, robust_rows: pd.DataFrame, name: str) -> str:
    """Say which defences cost faithfulness, which gain robustness, and whether the posterior's map is more faithful.

    Image by image against the map without a defence; a difference is one whose 95 % interval leaves out zero.
    """
    named = faithful_rows[faithful_rows["map"] == name]
    sentences = []
    for (defence, setting), _ in robust_rows.groupby(["defence", "setting"], sort=False):
        if defence == NONE:
            continue
        steadier = _difference(robust_rows, "similarity", defence, setting)
        told = [f"{_than(steadier, 'steadier', 'less steady', 'as steady')} ({report.signed(steadier.mean)})"]
        for column in FAITHFULNESS:
            found = _difference(named, column, defence, setting)
            words = _than(found, "more faithful", "less faithful", "as faithful")
            told.append(f"{words} by {_called(column)} ({report.signed(found.mean)})")
        sentences.append(f"- **{defence}, {setting}**: {report.join(told)}.\n")
    return " ".join(sentences)


def answer(faithful_rows: pd.DataFrame, robust_rows: pd.DataFrame, name: str) -> str:
    """Say in two sentences which smoothing is paid for with faithfulness, and how the posterior stands."""
    named = faithful_rows[faithful_rows["map"] == name]
    paid, free, bayes = [], [], ""
    for (defence, setting), _ in robust_rows.groupby(["defence", "setting"], sort=False):
        if defence == NONE:
            continue
        steadier = _difference(robust_rows, "similarity", defence, setting)
        losses = [_difference(named, column, defence, setting) for column in FAITHFULNESS]
        if steadier.direction > 0:
            (paid if min(one.direction for one in losses) < 0 else free).append(f"{defence} ({setting})")
        if defence == BAYES:  # the last is the largest
            bayes = (
                f"The expected map of {setting} is {_than(losses[0], 'more', 'less', 'not distinguishably more or less')} "
                f"faithful to its posterior than the network's map is to the network, by deletion "
                f"({report.interval(losses[0])}), and {_than(losses[1], 'more', 'less', 'not distinguishably more or less')} by "
                f"infidelity ({report.interval(losses[1])})."
            )
    told = [
        f"Steadier, at a loss of faithfulness by one measure or both: {report.join(paid) if paid else 'none'}.",
        f"Steadier without such a loss: {report.join(free) if free else 'none'}.",
    ]
    return " ".join([*told, bayes]).strip()


def _difference(rows: pd.DataFrame, column: str, defence: str, setting: str) -> robustness.PairedDifference:
    first = rows[rows["defence"] == NONE].sort_values("image")[column].to_numpy()
    second = rows[(rows["defence"] == defence) & (rows["setting"] == setting)].sort_values("image")[column].to_numpy()
    both = np.isfinite(first) & np.isfinite(second)
    return robustness.paired_difference(first[both], second[both])


def _than(found: robustness.PairedDifference, more: str, less: str, neither: str) -> str:
    return {1: more, -1: less, 0: neither}[found.direction]


def _called(column: str) -> str:
    return {"deletion gain": "deletion", "explained": "infidelity"}[column]
