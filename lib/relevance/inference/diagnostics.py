"""What the sampler did: acceptance, energy errors, divergences. Whether its chains have mixed says a certificate."""

from __future__ import annotations

from typing import Any

import numpy as np

from relevance.inference.chain import Chain

DIVERGENCE = 1000.0


def summary(chains: list[Chain]) -> dict[str, Any]:
    """Return what the transitions of chains were like.

    Returns:
        ``n_samples``, of all chains; ``acceptance_rate``, ``mean_acceptance`` in [0, 1]; ``step_sizes``, one a chain;
        ``n_gradients``, of all chains with their warm-up; ``energy_error``, the mean size of the energy change of a proposal
        that did not diverge (None if all did), and ``divergences``, how many did (a change above 1000, as Stan has it).
    """
    draws = [row for chain in chains for row in chain.draws]
    changes = np.abs([row["energy_change"] for row in draws])
    calm = changes[changes <= DIVERGENCE]
    return {
        "n_samples": len(draws),
        "acceptance_rate": float(np.mean([row["accepted"] for row in draws])),
        "mean_acceptance": float(np.mean([row["acceptance"] for row in draws])),
        "energy_error": float(calm.mean()) if len(calm) else None,
        "divergences": int((changes > DIVERGENCE).sum()),
        "step_sizes": [chain.step_size for chain in chains],
        "n_gradients": sum(row["n_gradients"] for chain in chains for row in chain.warmup + chain.draws),
    }
