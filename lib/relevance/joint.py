"""Training for robustness beside averaging over a posterior: one table of robustness, alignment and faithfulness.

Every model is a posterior, attacked through its own gradients by the same attacks, and scored by the same scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn

from relevance import attacks, inference, measure, paper, removal, report, roar, robust_training, robustness
from relevance.alignment import alignment
from relevance.datasets import Dataset
from relevance.explanations.graph import RelevanceGraph
from relevance.measure import Attack
from relevance.posterior import Posterior
from relevance.resistance import median_interval
from relevance.robust_training import Setting
from relevance.store import kept

# What is measured of every model, in the order of the columns; all but the first two have an interval.
SCORES = (
    "accuracy",
    "accuracy under attack",
    "LRP under FGSM",
    "LRP under PGD",
    "LRP under top-k",
    "alignment",
    "ROAR",
)
SPREAD = SCORES[2:]
# ROAR less that of the standard network, seed by seed.
GAIN = "ROAR minus standard"
FGSM, BLIND = "LRP under FGSM", "nothing to follow"
# A model with a larger share of images on which the loss has no gradient is not said to lead where that gradient is followed.
TOLERATED = 0.05
# In a rank correlation a lower ROAR accuracy is the more faithful map.
BETTER_LOW = ("ROAR",)


def models(
    network: nn.Module,
    data: Dataset,
    settings: Mapping[str, Setting],
    *,
    epochs: int,
    sampler: Mapping[str, Any],
    n_draws: int,
    n_samples: int,
    n_members: int,
    prior_scale: float,
    ensemble_of: str,
    seed: int = 0,
) -> dict[str, Posterior]:
    """Return all models of the table, found in the store or trained.

    Args:
        network: the architecture.
        data: training images.
        settings: single networks, by name (:func:`relevance.robust_training.settings`).
        epochs: of every training but HMC.
        sampler: further settings of HMC.
        n_draws: of HMC and variational inference; ``n_samples`` of them, evenly thinned, are the model.
        n_samples: see above.
        n_members: of the two ensembles.
        prior_scale: of variational inference.
        ensemble_of: the name of the setting of which there is an ensemble too, beside that of plain networks.
        seed: of everything.
    """
    given = {"epochs": epochs, "seed": seed}
    found = robust_training.all_trained(settings, network, data, **given)
    drawn = {"n_samples": n_draws, "seed": seed}
    found["variational"] = kept(
        inference.variational, network, data, epochs=epochs, prior_scale=prior_scale, **drawn
    ).thinned(n_samples)
    found["HMC"] = kept(inference.hmc, network, data, **drawn, **sampler).thinned(n_samples)
    for name, setting in (
        ("ensemble", Setting(robust_training.STANDARD)),
        (f"ensemble of {ensemble_of}", settings[ensemble_of]),
    ):

        def train(seed: int, setting: Setting = setting) -> Posterior:
            return robust_training.trained(setting, network, data, epochs=epochs, seed=seed)

        found[name] = robust_training.ensemble_of(train, n_members, seed=seed)
    return found


def measured(
    found: Mapping[str, Posterior],
    data: Dataset,
    *,
    n_images: int,
    epsilon: float,
    n_steps: int,
    retrained: nn.Module,
    retraining: Mapping[str, Any],
    shares: Sequence[float],
    seed: int = 0,
) -> pd.DataFrame:
    """Measure every model: accuracy, robustness of its LRP maps, alignment, and ROAR of its gradient.

    Args:
        found: name -> model.
        data: test images for the scores; training and test images for ROAR.
        n_images: test images, balanced over the classes.
        epsilon: of FGSM, PGD on the margin and the top-k attack, in the maximum norm.
        n_steps: of PGD and the top-k attack.
        retrained: the network that ROAR trains anew.
        retraining: settings of :func:`relevance.roar.roar`, such as ``seeds`` and ``epochs``; ``data``: a smaller data set.
        shares: of the pixels that ROAR removes.
        seed: of the images.

    Returns:
        A row for each model: :data:`SCORES`; ``nothing to follow``, the share of images whose loss has no gradient; those of
        :data:`SPREAD` with ``..., low`` and ``..., high``, 95 % intervals over images, and over seeds for ROAR: the area
        under the curve of accuracy against the share of removed pixels, ranked by the slopes of all logits, since the
        gradient of one class's writes the prediction into the mask; and, where there is a standard network, its difference from
        that network's, paired by seed, with its interval.
    """
    images, labels = data.balanced_test(n_images, seed)
    settings = {name: value for name, value in retraining.items() if name != "data"}
    attributions = roar.explained(found, roar.any_class)
    curves = roar.roar(retrained, retraining.get("data", data), attributions, shares, progress=False, **settings)
    areas = removal.areas(curves[curves["share"] > 0])
    rows = []
    for name, posterior in found.items():
        target = posterior.predict(images).argmax(1)
        attacked = attacks.pgd(posterior, images, labels, epsilon, objective="margin", n_steps=n_steps, progress=False)
        row: dict[str, Any] = {
            "model": name,
            "accuracy": posterior.accuracy(images, labels),
            "accuracy under attack": posterior.accuracy(attacked, labels),
        }
        for score, attack in _attacks(epsilon, n_steps).items():
            rules = {"epsilon": paper.RULES["epsilon"]}
            scores = measure.measured(
                posterior, images, labels, attack=attack, rules=rules, layers=[_last(posterior)], keep=kept
            )
            row |= _spread(score, scores["lrp_robustness"])
            row[f"{score}, unrelated"] = scores["unrelated_lrp_robustness"].mean()
            if score == FGSM:
                row[BLIND] = scores["gradient_is_zero"].mean()
        row |= _spread("alignment", pd.Series(alignment(posterior, images, target).cpu().numpy()))
        area = removal.t_interval(areas.loc[name].to_numpy())
        row |= {"ROAR": area.mean, "ROAR, low": area.low, "ROAR, high": area.high}
        if robust_training.STANDARD in areas.index:
            gain = removal.t_interval((areas.loc[name] - areas.loc[robust_training.STANDARD]).to_numpy())
            row |= {GAIN: gain.mean, f"{GAIN}, low": gain.low, f"{GAIN}, high": gain.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("model")


def _attacks(epsilon: float, n_steps: int) -> dict[str, Attack]:
    return {
        "LRP under FGSM": Attack("FGSM", epsilon),
        "LRP under PGD": Attack("PGD", epsilon, "margin", n_steps=n_steps),
        "LRP under top-k": Attack("top-k", epsilon, n_steps=n_steps),
    }


def _last(posterior: Posterior) -> str:
    """Return the name of the last affine layer, which explains the class."""
    return RelevanceGraph(posterior.network).affine_layers[-1]


def _spread(name: str, values: pd.Series) -> dict[str, float]:
    found = median_interval(values)
    return {name: found.mean, f"{name}, low": found.low, f"{name}, high": found.high}


def shown(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table to be read: a column for each score, those with an interval as text."""
    found = rows[[*SCORES[:2], BLIND]].copy()
    for name in SPREAD:
        parts = zip(rows[name], rows[f"{name}, low"], rows[f"{name}, high"], strict=True)
        found[name] = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in parts]
    return found


def together(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rank correlation of every pair of scores over the models, with its interval.

    A model whose loss has no gradient on many images is left out where the score is of maps under FGSM, which does nothing to it.

    Returns:
        A row for each pair: ``first``, ``second``, ``rho``, ``low``, ``high``, ``models``; ROAR with its sign turned, so that a
        positive rho is of two scores that are better together.
    """
    found = []
    names = list(SCORES)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            counted = _attacked(rows) if FGSM in (first, second) else rows
            pair = [counted[name] * (-1 if name in BETTER_LOW else 1) for name in (first, second)]
            one = robustness.spearman(pair[0].to_numpy(), pair[1].to_numpy())
            found.append({"first": first, "second": second, "rho": one.rho, "low": one.low, "high": one.high,
                          "models": one.n_images})  # fmt: skip
    return pd.DataFrame(found)


def _attacked(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the models whose loss has a gradient, which FGSM can follow."""
    return rows[rows[BLIND] <= TOLERATED]


def told(rows: pd.DataFrame) -> str:
    """Say which scores move together over the models, and which models have the best value of each score."""
    pairs = together(rows)
    up, down = (pairs[pairs["low"] > 0], pairs[pairs["high"] < 0])
    names = {1: "improve together", -1: "move against each other"}
    parts = []
    for way, part in ((1, up), (-1, down)):
        if len(part):
            listed = "; ".join(
                f"{row['first']} and {row['second']} (rho {report.signed(row['rho'])})"
                for row in part.to_dict("records")
            )
            parts.append(f"Over these {len(rows)} models, counting a lower ROAR as better, {names[way]}: {listed}.")
    open_ = len(pairs) - len(up) - len(down)
    parts.append(f"Of {len(pairs)} pairs of scores, {open_} are not distinguishable from no correlation.")
    best = []
    for name in SCORES:
        counted = _attacked(rows) if name == FGSM else rows
        values = counted[name]
        leads = values.index[values == (values.min() if name in BETTER_LOW else values.max())]
        best.append(f"{name}: {report.join([str(one) for one in leads])}")
    blind = rows.index[rows[BLIND] > TOLERATED]
    apart = ""
    if len(blind):
        unattacked = report.join([str(name) for name in blind])
        apart = (
            f" FGSM has nothing to follow on many images of {unattacked}: maps that stay there are not robust but "
            "unattacked, and do not count in its correlations."
        )
    return f"{' '.join(parts)} Best values, of which intervals may overlap with others: {'; '.join(best)}.{apart}"


def faithful(rows: pd.DataFrame) -> str:
    """Answer whether training for robustness, or averaging, gives maps that ROAR calls more faithful than the standard ones."""
    better = rows.index[rows[f"{GAIN}, high"] < 0]
    worse = rows.index[rows[f"{GAIN}, low"] > 0]
    rest = [name for name in rows.index if name not in {*better, *worse, robust_training.STANDARD}]
    parts = []
    for words, names in (("falls sooner than", better), ("falls later than", worse), ("cannot be told from", rest)):
        if len(names):
            parts.append(f"{words} that of the standard network for {report.join([str(name) for name in names])}")
    listed = "; it ".join(parts)
    return f"After removal and retraining, accuracy {listed}. (By the difference of the areas, paired by seed, and its interval.)"
