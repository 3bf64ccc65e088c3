"""Which sizes of an attack are judged: chosen on the deterministic networks, before models are compared."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from relevance.attacks.prediction import fgsm
from relevance.base import checks
from relevance.studies.carbone.study import Study
from relevance.studies.names import DETERMINISTIC

# What is looked at; the last is the paper's.
SIZES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
AFTER = "accuracy under attack"


def left(study: Study, sizes: Sequence[float] = SIZES) -> pd.DataFrame:
    """Return what FGSM of several sizes leaves of the accuracy of a study's deterministic networks.

    Args:
        study: its test images are attacked, in each of its runs.
        sizes: in the maximum norm, each at least 0.

    Returns:
        A row for each run and size: ``run``, ``epsilon``, ``images``, ``accuracy`` and ``accuracy under attack``.
    """
    images, labels = study.data.balanced_test(study.n_images, study.seed)
    rows = []
    for run in range(study.n_runs):
        network = study.of_run(run, [DETERMINISTIC])[DETERMINISTIC]
        known = {"run": run, "images": len(images), "accuracy": network.accuracy(images, labels)}
        for size in sizes:
            attacked = fgsm(network, images, labels, checks.number("a size", size, at_least=0))
            rows.append(known | {"epsilon": size, AFTER: network.accuracy(attacked, labels)})
    return pd.DataFrame(rows)


def halving(rows: pd.DataFrame) -> float:
    """Return the smallest size in a table of :func:`left` at which FGSM halves the accuracy, in the mean over runs.

    Raises:
        ValueError: none of the sizes does.
    """
    means = rows.groupby("epsilon")[["accuracy", AFTER]].mean()
    enough = means.index[means[AFTER] <= means["accuracy"] / 2]
    if enough.empty:
        raise ValueError(f"rows go up to the size {means.index.max():g}; one of the sizes must halve the accuracy.")
    return float(enough.min())


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over runs of several tables of :func:`left`, told apart by ``what``: a row for each, a column a size.

    Before the sizes stands ``clean``, and after them ``halved at``.
    """
    found = (
        rows.groupby(["what", "epsilon"], sort=False)[AFTER].mean().unstack().rename(columns=lambda size: f"{size:g}")
    )
    by_run = rows.groupby("what", sort=False)
    found.insert(0, "clean", by_run["accuracy"].mean())
    found["halved at"] = pd.Series({what: halving(part) for what, part in by_run})
    return found.rename_axis("run")
