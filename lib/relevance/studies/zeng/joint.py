"""Training for robustness beside averaging over a posterior: one table of robustness, alignment and faithfulness.

Every model is a posterior, attacked through its own gradients by the same attacks, and scored by the same scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn

from relevance.attacks.named import Attack
from relevance.attacks.prediction import pgd
from relevance.datasets.dataset import Dataset
from relevance.explanations.graph import RelevanceGraph
from relevance.inference.hamiltonian import hmc
from relevance.inference.variational import variational
from relevance.metrics import statistics
from relevance.metrics.alignment import alignment
from relevance.metrics.statistics import median_interval
from relevance.networks.posterior import Posterior
from relevance.studies import experiment, names
from relevance.studies.store import kept
from relevance.studies.zeng import roar, source, tables, trainings
from relevance.studies.zeng.roar import roar as remove_and_retrain
from relevance.studies.zeng.source import Setting
from relevance.studies.zeng.tables import BLIND, FGSM, GAIN


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
        settings: single networks, by name (:func:`source.settings`).
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
    found = trainings.all_trained(settings, network, data, **given)
    drawn = {"n_samples": n_draws, "seed": seed}
    found["variational"] = kept(variational, network, data, epochs=epochs, prior_scale=prior_scale, **drawn).thinned(
        n_samples
    )
    found["HMC"] = kept(hmc, network, data, **drawn, **sampler).thinned(n_samples)
    for name, setting in (
        ("ensemble", Setting(source.STANDARD)),
        (f"ensemble of {ensemble_of}", settings[ensemble_of]),
    ):

        def train(seed: int, setting: Setting = setting) -> Posterior:
            return trainings.trained(setting, network, data, epochs=epochs, seed=seed)

        found[name] = trainings.ensemble_of(train, n_members, seed=seed)
    return found


def metrics(
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
        retraining: settings of :func:`roar.roar`, such as ``seeds`` and ``epochs``; ``data``: a smaller data set.
        shares: of the pixels that ROAR removes.
        seed: of the images.

    Returns:
        A row for each model: :data:`tables.SCORES`; ``nothing to follow``, the share of images whose loss has no gradient;
        those of :data:`tables.SPREAD` with ``..., low`` and ``..., high``, 95 % intervals over images, and over seeds for
        ROAR: the area under the curve of accuracy against the share of removed pixels, ranked by the slopes of all logits, since
        the gradient of one class's writes the prediction into the mask; and, where there is a standard network, its difference
        from that network's, paired by seed, with its interval.
    """
    images, labels = data.balanced_test(n_images, seed)
    settings = {name: value for name, value in retraining.items() if name != "data"}
    attributions = roar.explained(found, roar.any_class)
    curves = remove_and_retrain(
        retrained, retraining.get("data", data), attributions, shares, progress=False, **settings
    )
    areas = tables.areas(curves[curves["share"] > 0])
    rows = []
    for name, posterior in found.items():
        target = posterior.predict(images).argmax(1)
        attacked = pgd(posterior, images, labels, epsilon, objective="margin", n_steps=n_steps, progress=False)
        row: dict[str, Any] = {
            "model": name,
            "accuracy": posterior.accuracy(images, labels),
            "accuracy under attack": posterior.accuracy(attacked, labels),
        }
        for score, attack in _attacks(epsilon, n_steps).items():
            rules = {"epsilon": names.RULES["epsilon"]}
            scores = experiment.rows(posterior, images, labels, attack=attack, rules=rules, layers=[_last(posterior)])
            row |= _spread(score, scores["lrp_robustness"])
            row[f"{score}, unrelated"] = scores["unrelated_lrp_robustness"].mean()
            if score == FGSM:
                row[BLIND] = scores["gradient_is_zero"].mean()
        row |= _spread("alignment", pd.Series(alignment(posterior, images, target).cpu().numpy()))
        area = statistics.t_interval(areas.loc[name].to_numpy())
        row |= {"ROAR": area.mean, "ROAR, low": area.low, "ROAR, high": area.high}
        if source.STANDARD in areas.index:
            gain = statistics.t_interval((areas.loc[name] - areas.loc[source.STANDARD]).to_numpy())
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
