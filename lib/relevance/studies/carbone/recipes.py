"""Posteriors as the paper's text has them, as its setting implies, and as its code makes them; and networks beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from relevance.attacks.prediction import zero_gradients
from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import certificate
from relevance.inference.ensemble import deep_ensemble
from relevance.inference.hamiltonian import hmc
from relevance.inference.sgd import sgd
from relevance.inference.variational import variational
from relevance.networks.posterior import Posterior
from relevance.studies.store import kept

SGD, ENSEMBLE = "SGD", "ensemble"
MIXED = "HMC, chains that mix"
FROM_SGD, FROM_PRIOR, FROM_BOX = (f"HMC, N(0, 1), from {start}" for start in ("SGD", "the prior", "U(-2, 2)"))
POOLED = "HMC, N(0, 1), pooled"
LETTER = "HMC, steps of 0.5, not adapted"
ONCE, PER_BATCH = "VI, KL once", "VI, KL every batch"
STARTS = {FROM_SGD: "sgd", FROM_PRIOR: "prior", FROM_BOX: "uniform"}
# Those whose prior is N(0, 1), and whose draws are few.
SHORT = (*STARTS, POOLED)
KNOWN = (SGD, MIXED, ENSEMBLE, *SHORT, LETTER, ONCE, PER_BATCH)
# One chain of ten steps, as Table IV has it, with equal masses and none of what makes chains mix here. The step is adapted; the
# table does not say whether its own, 0.5, is.
CHAIN: dict[str, Any] = {
    "n_chains": 1, "n_steps": 10, "mass": "unit", "exact": False, "rescale": False, "grow": False, "prior_scale": 1.0,
}  # fmt: skip
# Draws of a posterior that are looked at one by one.
MOST_DRAWS = 20


def pooled(
    network: nn.Module, data: Dataset, *, n_sets: int = 15, n_each: int = 7, seed: int = 0, **settings: Any
) -> Posterior:
    """Return the draws of short chains together, each of them on a part of the images that no other has: row 10.

    (The released code has 15 chains of 7 draws, each from U(-2, 2) on 4,000 images, and takes them for 100 draws of one
    posterior. Its sampler chooses the number of steps by itself; here it is that of ``settings``.)

    Args:
        network, data: what is sampled.
        n_sets: parts of the training images, of equal size, in a random order.
        n_each: draws of each chain.
        seed: of the order, and of the chains.
        settings: of :func:`relevance.inference.hmc`.
    """
    checks.count("n_sets", n_sets, at_most=len(data.train_labels))
    order = torch.randperm(len(data.train_labels), generator=torch.Generator().manual_seed(checks.seed("seed", seed)))
    parts = [
        kept(
            hmc,
            network,
            _part(data, rows),
            n_samples=n_each,
            seed=seed + index,
            **{**CHAIN, "start": "uniform", **settings},
        )
        for index, rows in enumerate(order.to(data.train_labels.device).tensor_split(n_sets))
    ]
    samples = {name: torch.cat([part.samples[name] for part in parts]) for name in parts[0].samples}
    return Posterior(parts[0].network, samples, {"method": "pooled", "n_sets": n_sets, "n_each": n_each})


def _part(data: Dataset, rows: Tensor) -> Dataset:
    return Dataset(**{**vars(data), "train_images": data.train_images[rows], "train_labels": data.train_labels[rows]})


def posteriors(
    network: nn.Module, data: Dataset, names: Sequence[str], *, mixing: tuple[nn.Module, Dataset, Mapping[str, Any]],
    epochs: int, chain: Mapping[str, Any], pool: Mapping[str, Any], variation: Mapping[str, Any], n_members: int = 10,
    seed: int = 0,
) -> dict[str, Posterior]:  # fmt: skip
    """Return posteriors and networks by the names that tables have for them, from the store where they are there.

    Args:
        network, data: what is trained.
        names: of this module.
        mixing: network, data and settings of the chains that mix, which may be smaller.
        epochs: of SGD and of each member of the ensemble.
        chain: ``warmup`` and ``n_samples`` of each chain with the prior N(0, 1).
        pool: settings of :func:`pooled`.
        variation: settings of variational inference with the prior N(0, 1), from the released code's start.
        n_members: of the ensemble.
        seed: of all that is random.
    """
    letter = {"adapt": False, "step_size": 0.5, "warmup": 0, "n_samples": 10, "start": "uniform"}
    wide = {"prior_scale": 1.0, "start": "normal", "n_samples": 100, "seed": seed, **variation}
    made: dict[str, Callable[[], Posterior]] = {
        MIXED: lambda: kept(hmc, *mixing[:2], **mixing[2]),
        SGD: lambda: kept(sgd, network, data, epochs=epochs, seed=seed),
        ENSEMBLE: lambda: kept(deep_ensemble, network, data, n_samples=n_members, epochs=epochs, seed=seed),
        **{name: _of_chain(network, data, {**chain, "start": start, "seed": seed}) for name, start in STARTS.items()},
        POOLED: lambda: pooled(network, data, seed=seed, **pool),
        LETTER: _of_chain(network, data, {**letter, "seed": seed}),
        ONCE: lambda: kept(variational, network, data, **wide),
        PER_BATCH: lambda: kept(variational, network, data, kl_per="batch", **wide),
    }
    return {name: made[checks.one_of("recipe", name, made)]() for name in names}


def _of_chain(network: nn.Module, data: Dataset, settings: Mapping[str, Any]) -> Callable[[], Posterior]:
    return lambda: kept(hmc, network, data, **{**CHAIN, **settings})


def sets_of(posterior: Posterior) -> list[Posterior]:
    """Return the posterior of each chain: of :func:`pooled` draws, or of a posterior of chains."""
    if posterior.record.get("method") != "pooled":
        return certificate.chains_of(posterior)
    each = posterior.record["n_each"]
    return [posterior[start : start + each] for start in range(0, len(posterior), each)]


def between(parts: Sequence[Posterior], images: Tensor, labels: Tensor) -> float:
    """Return how much of the variance of margins over draws is between chains, in [0, 1]: the median over the images.

    Chains that draw from one distribution differ as much within as between them, so that of n draws each it is about 1 / n; it
    is 1 where each chain stays where it is.

    Args:
        parts: chains of the same number of draws.
        images: [N, C, H, W] in [0, 1].
        labels: [N]; the margin is the label's logit less the largest other one.
    """
    values = torch.stack([certificate.built_in(part, images, labels)["margin"].double() for part in parts])
    total = values.flatten(0, 1).var(0, correction=0)
    share = values.mean(1).var(0, correction=0) / total
    return share[total > 0].median().item() if (total > 0).any() else float("nan")


def of_each(posteriors: Mapping[str, Posterior], images: Tensor, labels: Tensor) -> pd.DataFrame:
    """Return what the draws of each posterior are like: a row for each.

    Returns:
        ``recipe``; ``draws``; ``accuracy`` of all together and of ``one draw``, the mean over draws; ``saturated``, the share of
        draws and images at which the draw's own loss has a gradient of exactly zero; ``accepted``, the share of
        proposals after the warm-up, NaN of what has no chain or several posteriors; ``between chains``, as :func:`between` gives
        it, NaN of what has no chains or draws of unequal number.
    """
    rows = []
    for name, posterior in posteriors.items():
        few = posterior.thinned(min(len(posterior), MOST_DRAWS))
        right = few.logits(images).argmax(-1) == labels
        blind = torch.stack([zero_gradients(one, images, labels) for one in few])
        parts = (
            sets_of(posterior) if posterior.record.get("method") in ("pooled", "hmc") and _has_chains(posterior) else []
        )
        rows.append({
            "recipe": name, "draws": len(posterior), "accuracy": posterior.accuracy(images, labels),
            "one draw": right.double().mean().item(), "saturated": blind.double().mean().item(),
            "accepted": accepted(posterior),
            "between chains": between(parts, images, labels) if parts else float("nan"),
        })  # fmt: skip
    return pd.DataFrame(rows)


def accepted(posterior: Posterior) -> float:
    """Return the share of proposals that were accepted when draws were taken, of a posterior by HMC; NaN of others."""
    chains = posterior.record.get("history", []) if posterior.record.get("method") == "hmc" else []
    rows = [row for chain in chains for row in chain[-(len(posterior) // len(chains)) :]]
    found = [row["accepted"] for row in rows if "accepted" in row]
    return sum(found) / len(found) if found else float("nan")


def _has_chains(posterior: Posterior) -> bool:
    lengths = {len(rows) for rows in posterior.record.get("history", [])}
    return posterior.record["method"] == "pooled" or (len(posterior.record["history"]) > 1 and len(lengths) == 1)
