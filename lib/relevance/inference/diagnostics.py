"""Evidence that chains have converged, or that they have not: acceptance, R-hat, effective sample size."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from relevance.datasets.dataset import Dataset
from relevance.inference.chain import Chain
from relevance.networks.posterior import Posterior

RHAT_LIMIT = 1.05
N_IMAGES = 100
DIVERGENCE = 1000.0


def summary(posterior: Posterior, data: Dataset, chains: list[Chain]) -> dict[str, Any]:
    """Return acceptance, R-hat and effective sample size of the chains that made ``posterior``.

    Each chain is cut into two halves, so that a single chain that drifts disagrees with itself. R-hat
    (rank-normalised) and effective sample size (bulk) are taken on the log-probability that each sample gives
    to the label of each of the first test images - functions of the weights that have a meaning, which single weights
    of a network, equal up to permutations, have not (Vehtari et al. 2021, doi:10.1214/20-BA1221).

    Returns:
        ``acceptance_rate``, ``mean_acceptance`` in [0, 1]; ``step_sizes``, one a chain; ``n_gradients``, of
        all chains with their warm-up; ``rhat_median``,
        ``rhat_95`` (the 95 % quantile), ``rhat_max``, ``ess_median``, ``ess_min`` (bulk) and ``ess_tail_median`` over the
        images (None where the chains are too short to tell); ``energy_error``, the mean size of the energy change of a
        proposal that did not diverge, and ``divergences``, how many did (a change above 1000, as Stan
        has it); ``n_samples``; ``converged``: whether R-hat is known and below 1.05 on 95 of 100 images.
    """
    draws = [row for chain in chains for row in chain.draws]
    mixing = _mixing(posterior, data, chains)
    unknown = ("rhat_median", "rhat_95", "rhat_max", "ess_median", "ess_min", "ess_tail_median")
    found: dict[str, Any] = dict.fromkeys(unknown) | {"converged": False}
    changes = np.abs([row["energy_change"] for row in draws])
    calm = changes[changes <= DIVERGENCE]
    if mixing is not None:
        rhat, ess, tail = mixing
        found = {
            "rhat_median": float(np.median(rhat)),
            "rhat_95": float(np.quantile(rhat, 0.95)),
            "rhat_max": float(np.max(rhat)),
            "ess_median": float(np.median(ess)),
            "ess_min": float(np.min(ess)),
            "ess_tail_median": float(np.median(tail)),
            "converged": bool(np.quantile(rhat, 0.95) < RHAT_LIMIT),
        }
    return {
        "n_samples": len(posterior),
        "acceptance_rate": float(np.mean([row["accepted"] for row in draws])),
        "mean_acceptance": float(np.mean([row["acceptance"] for row in draws])),
        "energy_error": float(calm.mean()) if len(calm) else None,
        "divergences": int((changes > DIVERGENCE).sum()),
        "step_sizes": [chain.step_size for chain in chains],
        "n_gradients": sum(row["n_steps"] for chain in chains for row in chain.warmup + chain.draws),
        **found,
    }


def _mixing(
    posterior: Posterior, data: Dataset, chains: list[Chain]
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    half = min(len(chain.draws) for chain in chains) // 2
    if half < 4:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz 0.x announces its successor on import
        import arviz
    images, labels = data.test_images[:N_IMAGES], data.test_labels[:N_IMAGES]
    with torch.no_grad():
        log_probabilities = posterior.logits(images).log_softmax(-1)
    picked = log_probabilities.gather(-1, labels.expand(len(posterior), -1)[..., None]).squeeze(-1)
    values = picked.double().cpu().numpy()
    ends = np.cumsum([len(chain.draws) for chain in chains])
    halves = [values[end - 2 * half : end].reshape(2, half, -1) for end in ends]
    stacked = np.concatenate(halves)  # [2 * chains, draws, images]
    varying = stacked.reshape(-1, stacked.shape[-1]).std(0) > 0
    if not varying.any():  # the chains never moved
        return None
    dataset = arviz.convert_to_dataset({"log_probability": stacked[..., varying]})
    rhat = arviz.rhat(dataset)["log_probability"].values
    ess = arviz.ess(dataset)["log_probability"].values
    tail = arviz.ess(dataset, method="tail")["log_probability"].values
    return np.atleast_1d(rhat), np.atleast_1d(ess), np.atleast_1d(tail)
