"""What becomes of chains: how far one transition goes, what certificates look at, and other posteriors beside a certified one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor, nn

from relevance.attacks.named import NOISE, Attack, perturbed
from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.explanations.lrp import lrp
from relevance.explanations.top import top_share
from relevance.inference import certificate
from relevance.inference.certificate import Certificate
from relevance.inference.chain import State, transition
from relevance.inference.hamiltonian import hmc
from relevance.inference.map_estimate import map_estimate
from relevance.inference.sgd import sgd
from relevance.metrics.overlap import lrp_robustness
from relevance.metrics.similarity import linear_similarity
from relevance.networks.posterior import Posterior
from relevance.studies import records
from relevance.studies.experiment import Settings
from relevance.studies.store import kept

FGSM = "FGSM"
# Images whose maps a certificate looks at, and the most relevant pixels of each.
N_MAPS, TOP_PERCENT = 20, 1.0
# What an older protocol of this book and of others does: a short warm-up, ten steps, one chain, all masses equal.
SHORT: dict[str, Any] = {"warmup": 30, "n_steps": 10, "n_chains": 1, "mass": "unit", "exact": False, "rescale": False}
# Columns of :func:`under_attack`.
ATTACKED = ("accuracy", *(f"{name}, {kind}" for kind in (FGSM, NOISE) for name in ("accuracy", "k-LRP")))
MIXED, OLD, MAP, SGD = "HMC, chains that mix", "HMC, 10 steps a proposal", "MAP", "SGD"


def autocorrelation(lengths: Sequence[float], n_draws: int = 200, n_weights: int = 500, seed: int = 0) -> pd.DataFrame:
    """Return how far the next draw of weights that meet no data depends on the last one, by the length of a trajectory.

    Args:
        lengths: of trajectories, L e / sigma with L leapfrog steps of size e = sigma / 20 and a prior of scale sigma.
        n_draws: of each weight.
        n_weights: that are drawn side by side.
        seed: of the draws.

    Returns:
        A row for each length: ``length``, ``measured`` and ``expected`` correlation of a draw with the next, cos(L e / sigma),
        and ``worth``, how many independent draws 100 of them are worth for the mean: 100 (1 - r) / (1 + r).
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        checks.number("lengths", length, above=0)
        positions = [torch.randn(n_weights, generator=generator, dtype=torch.float64)]
        for _ in range(n_draws):
            draw = transition(_prior, _prior(positions[-1]), 0.05, max(1, round(length / 0.05)), generator)
            positions.append(draw.state.position)
        values = torch.stack(positions)
        measured = (values[1:] * values[:-1]).mean() / values.square().mean()
        expected = float(np.cos(length))
        rows.append({
            "length": length, "measured": measured.item(), "expected": expected,
            "worth": 100 * (1 - expected) / (1 + expected),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _prior(position: Tensor) -> State:
    return State(position, 0.5 * position**2, position)


def certified(posterior: Posterior, data: Dataset, images: Tensor, labels: Tensor, settings: Settings) -> Certificate:
    """Return a certificate that looks at explanations too: relevance on top of maps, maps of chains, and k-LRP of chains.

    Args:
        posterior: of chains.
        data: its test images are looked at.
        images, labels: test images whose maps are looked at; relevance draw by draw on the first of them.
        settings: of the attack and the explanation.
    """
    target = posterior.predict(images).argmax(1)
    attacked = kept(perturbed, posterior, images, labels, Attack(FGSM, settings.epsilon), None)["images"]
    few, classes = images[:N_MAPS], target[:N_MAPS]
    top = top_share(lrp(posterior, few, classes, rule=settings.rule), TOP_PERCENT) > 0

    def on_top(given: Posterior) -> Tensor:
        return lrp(given, few, classes, rule=settings.rule, per_sample=True).flatten(2)[:, top]

    @cache
    def expected(given: Posterior) -> Tensor:
        return lrp(given, images, target, rule=settings.rule)

    def score(given: Posterior) -> Tensor:
        after = lrp(given, attacked, target, rule=settings.rule)
        return lrp_robustness(expected(given), after, settings.top_percent)

    return certificate.certify(
        posterior, data, n_images=min(certificate.N_IMAGES, len(data.test_labels)), draws={"relevance on top": on_top},
        chains={"k-LRP": score, "expected map": expected},
    )  # fmt: skip


def under_attack(posterior: Posterior, images: Tensor, labels: Tensor, settings: Settings) -> dict[str, float]:
    """Return accuracy and k-LRP robustness under FGSM, and under noise of its size: means over the images.

    The class that is explained is that which the posterior predicts on the clean image.
    """
    target = posterior.predict(images).argmax(1)
    before = lrp(posterior, images, target, rule=settings.rule)
    found = {"accuracy": posterior.accuracy(images, labels)}
    for kind in (FGSM, NOISE):
        attacked = kept(perturbed, posterior, images, labels, Attack(kind, settings.epsilon), None)["images"]
        found[f"accuracy, {kind}"] = posterior.accuracy(attacked, labels)
        after = lrp(posterior, attacked, target, rule=settings.rule)
        found[f"k-LRP, {kind}"] = lrp_robustness(before, after, settings.top_percent).mean().item()
    return found


def of_chains(
    found: Certificate, posterior: Posterior, images: Tensor, labels: Tensor, settings: Settings
) -> pd.DataFrame:
    """Return what each chain is as a posterior of its own, a row for each.

    Args:
        found: of :func:`certified`.
        posterior, images, labels, settings: as there.

    Returns:
        ``chain``, ``start``, the columns of :func:`under_attack`, under the chain's own attack, and ``k-LRP, shared``, under the
        attack on all chains together.
    """
    rows = [
        {"chain": index, "start": found.starts[index], **under_attack(chain, images, labels, settings)}
        for index, chain in enumerate(certificate.chains_of(posterior))
    ]
    return pd.DataFrame(rows).assign(**{"k-LRP, shared": found.scores["k-LRP"]})


def beside(
    posteriors: Mapping[str, Posterior], reference: str, images: Tensor, labels: Tensor, settings: Settings
) -> pd.DataFrame:
    """Return what explanations of several posteriors are like beside those of one of them: a row for each.

    Returns:
        :func:`under_attack` of each, and ``map correlation``: of its expected map with the reference's, of the class that
        the reference predicts, the mean over the images.
    """
    checks.one_of("reference", reference, posteriors)
    target = posteriors[reference].predict(images).argmax(1)
    maps = {name: lrp(one, images, target, rule=settings.rule) for name, one in posteriors.items()}
    rows = {
        name: {
            **under_attack(one, images, labels, settings),
            "map correlation": linear_similarity(maps[reference], maps[name]).nanmean().item(),
        }
        for name, one in posteriors.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("posterior")


def shown_beside(rows: pd.DataFrame) -> pd.DataFrame:
    """Return of recorded posteriors, :func:`beside` with their evidence, what a page shows."""
    return rows.set_index("posterior")[["NLL", "agreement", "total variation", *ATTACKED, "map correlation"]]


def protocols(
    network: nn.Module, data: Dataset, images: Tensor, labels: Tensor, settings: Settings, *,
    n_runs: int, n_draws: int, epochs: int, sampler: Mapping[str, Any],
) -> pd.DataFrame:  # fmt: skip
    """Return :func:`under_attack` of runs of four protocols: SGD, MAP, short trajectories, and chains that mix.

    Args:
        network, data: what is trained.
        images, labels: test images.
        settings: of attack and explanation.
        n_runs: runs of each; of the chains that mix, each is one.
        n_draws: of each chain.
        epochs: of SGD and MAP.
        sampler: settings of the chains that mix; the prior's is that of all.

    Returns:
        A row for each protocol and run: ``model``, ``run``, and those columns.
    """
    prior = {"prior_scale": sampler["prior_scale"]}
    mixed = kept(hmc, network, data, n_samples=n_runs * n_draws, n_chains=n_runs, **sampler)
    runs: dict[str, list[Posterior]] = {MIXED: certificate.chains_of(mixed), OLD: [], MAP: [], SGD: []}
    for seed in range(n_runs):
        runs[OLD].append(kept(hmc, network, data, n_samples=n_draws, seed=seed, **SHORT, **prior))
        runs[MAP].append(kept(map_estimate, network, data, epochs=epochs, seed=seed, **prior))
        runs[SGD].append(kept(sgd, network, data, epochs=epochs, seed=seed))
    return pd.DataFrame(
        {"model": name, "run": run, **under_attack(one, images, labels, settings)}
        for name, found in runs.items()
        for run, one in enumerate(found)
    )


def about(posterior: Posterior, found: Certificate) -> dict[str, Any]:
    """Return what the story of a recorded certificate tells: the data, how the chains were run, what they cost, the word."""
    settings = posterior.record["settings"]
    told = ("prior_scale", "warmup", "trajectory", "start")
    return {
        "dataset": posterior.record["dataset"], "n_train": posterior.record["n_train"],
        **{name: settings[name] for name in told}, "n_chains": len(found.starts), "n_draws": found.n_draws,
        "n_gradients": found.n_gradients, "sampling": found.seconds, "maps": found.maps["expected map"], **found.told,
    }  # fmt: skip


def recorded() -> pd.DataFrame:
    """Return what is recorded of certificates: a row for each run."""
    rows = {}
    for run in records.runs("certificate"):
        told = records.provenance(run, "certificate")["settings"]
        scores = records.read_run(run, "chains")
        rows[run] = {
            "images": told["n_train"], "width": told["hidden"], "prior scale": told["prior_scale"],
            "certificate": told["certificate"], "R-hat": told["rhat"], "ESS": told["ess"],
            "chains": told["n_chains"], "draws": told["n_draws"], "gradients": told["n_gradients"],
            "minutes": told["sampling"] / 60, "map correlation": told["maps"],
            "k-LRP, lowest chain": scores["k-LRP, shared"].min(), "highest": scores["k-LRP, shared"].max(),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over runs of rows of :func:`protocols`, a row for each model, and the spread of k-LRP over them."""
    by_model = rows.groupby("model", sort=False)
    means = by_model[list(rows.columns.drop(["model", "run"]))].mean()
    return means.assign(**{"sd over runs": by_model[f"k-LRP, {FGSM}"].std()})


def differences(rows: pd.DataFrame) -> pd.DataFrame:
    """Return by how much k-LRP under FGSM of chains that mix is higher than that of each other protocol.

    Args:
        rows: from :func:`protocols`; runs are independent.

    Returns:
        A row for each other model: ``mean``, and the ends ``low`` and ``high`` of Welch's 95 % t interval over runs.
    """
    scores = {str(name): part[f"k-LRP, {FGSM}"].to_numpy() for name, part in rows.groupby("model", sort=False)}
    found = {}
    for name in (OLD, MAP, SGD):
        interval = stats.ttest_ind(scores[MIXED], scores[name], equal_var=False).confidence_interval(0.95)
        mean = scores[MIXED].mean() - scores[name].mean()
        found[name] = {"mean": mean, "low": interval.low, "high": interval.high}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("model")
