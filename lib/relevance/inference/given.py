"""Chains that another library ran, with the record by which they can be certified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from relevance.base import checks
from relevance.inference.chain import Settings
from relevance.networks.posterior import Posterior


def chains(
    posterior: Posterior,
    n_chains: int,
    *,
    energies: Any = None,
    n_gradients: int = 0,
    seconds: float = 0.0,
    start: str = "uniform",
) -> Posterior:
    """Return a posterior with the record of chains, so that :func:`relevance.inference.certify` looks at them.

    Args:
        posterior: the draws of all chains, one chain after another, each as long as the others, after its warm-up; such as
            :func:`relevance.networks.doors.from_sites` gives it.
        n_chains: how many chains drew them.
        energies: [S], the negative log density of each draw, up to a constant, which is then looked at too; None where it
            is not known.
        n_gradients: gradients of the full batch that all chains took, with their warm-up; 0 where it is not known.
        seconds: that all chains took.
        start: where they started, as :class:`relevance.inference.chain.Settings` calls it: Pyro's start at ``"uniform"``
            unless they are told.

    Raises:
        ValueError: the draws cannot be divided into so many chains, or the energies are not numbers, one a draw.
    """
    checks.kind_of("posterior", posterior, Posterior, "a Posterior")
    checks.count("n_chains", n_chains, at_most=len(posterior))
    if len(posterior) % n_chains:
        raise ValueError(f"n_chains is {n_chains}; it must divide the {len(posterior)} draws into equal parts.")
    values: Sequence[float] = [0.0] * len(posterior)  # of a constant no certificate says anything
    if energies is not None:
        values = checks.numbers(
            "energies", torch.as_tensor(energies).tolist(), f"{len(posterior)} numbers", len(posterior)
        )
    checks.count("n_gradients", n_gradients, at_least=0)
    length = len(posterior) // n_chains
    history = [
        [{"energy": value, "n_gradients": 0} for value in values[first : first + length]]
        for first in range(0, len(posterior), length)
    ]
    history[0][0]["n_gradients"] = n_gradients
    settings = Settings(n_samples=len(posterior), warmup=0, n_chains=n_chains, start=start)
    record = {
        **posterior.record,
        "method": "hmc",
        "drawn by": posterior.record.get("method", "another library"),
        "settings": asdict(settings),
        "history": history,
        "seconds": checks.number("seconds", seconds, at_least=0),
    }
    return replace(posterior, record=record)
