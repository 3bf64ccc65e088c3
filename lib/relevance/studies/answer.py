"""The book's answer, from all recorded runs: one table, three sentences; :func:`relevance.pages.figures.answer` draws it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pandas as pd

from relevance.attacks import named
from relevance.studies import phrases, records
from relevance.studies.carbone.reproduction import RUNS
from relevance.studies.differences import comparisons
from relevance.studies.dombrowski import claims, smoothing, tables
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC, most_samples
from relevance.studies.tables import last_layer

CALLED = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "fully_connected": "dense",
          "convolutional": "convolutional", "resnet20": "ResNet-20", "hmc": "HMC", "variational": "VI"}  # fmt: skip
RULE = "epsilon"
CAPTION = (
    "How much steadier than the deterministic network's are the explanations of Bayesian and of adversarially trained networks? "
    "Difference of LRP robustness, with 95 % intervals over images, in every recorded run, under attacks on the prediction; to "
    "the right of the dashed line, the explanation is steadier."
)
EXPERIMENTS = ("layers", "rules")  # the first of them that a run has
PAIRS = ((DETERMINISTIC, BAYESIAN), (DETERMINISTIC, ADVERSARIAL), (ADVERSARIAL, BAYESIAN))


@cache
def rows() -> pd.DataFrame:
    """Compare the three kinds of models on every recorded run of the main source, under attacks on the prediction.

    Returns:
        A row for each run, pair of models and attack: ``run``, ``called``, ``first``, ``second``, ``attack``, and the columns of
        :func:`differences.comparisons`, for the explanation of the class by the epsilon rule. The
        Bayesian model is the one with the most samples.
    """
    parts = []
    for (dataset, architecture), run in RUNS.items():
        experiment = next((one for one in EXPERIMENTS if run in records.runs(one)), None)
        if experiment is None:
            continue
        table = records.read_run(run, experiment)
        table = last_layer(table[(table["rule"] == RULE) & ~table["attack"].isin((named.NOISE, *named.EXPLANATION))])
        method = records.provenance(run, experiment)["settings"]["method"]
        names = {BAYESIAN: most_samples(table)}
        for first, second in PAIRS:
            found = comparisons(table, names.get(first, first), names.get(second, second))
            called = f"{CALLED[dataset]}, {CALLED[architecture]}, {CALLED[method]}"
            parts.append(found.assign(run=run, called=called, first=first, second=second))
    return pd.concat(parts, ignore_index=True)


def sentences(found: pd.DataFrame | None = None) -> list[str]:
    """Say in three sentences what the recorded runs say: the posterior, training under attack, and manipulation."""
    found = rows() if found is None else found
    runs = found["run"].nunique()
    bayesian = _counted(found, DETERMINISTIC, BAYESIAN)
    hardened, beaten = _counted(found, DETERMINISTIC, ADVERSARIAL), _counted(found, ADVERSARIAL, BAYESIAN)
    return [
        f"Under attacks on the prediction, the Bayesian explanation is steadier than the deterministic one in {bayesian[1]} of "
        f"{sum(bayesian.values())} settings of {runs} recorded runs, less steady in {bayesian[-1]}, and not distinguishable in "
        f"{bayesian[0]}, in the score scaled by the room above unrelated maps.",
        f"Training under attack makes it steadier in {hardened[1]} of {sum(hardened.values())}, and the Bayesian one is steadier "
        f"than that in {beaten[1]}, less steady in {beaten[-1]}.",
        _manipulated(),
    ]


def in_short(found: pd.DataFrame | None = None) -> str:
    """Say in one sentence what :func:`sentences` say in three."""
    found = rows() if found is None else found
    bayesian, hardened = (_counted(found, DETERMINISTIC, model) for model in (BAYESIAN, ADVERSARIAL))
    return (
        f"Averaging over a posterior makes explanations steadier in {bayesian[1]} of {sum(bayesian.values())} recorded settings; "
        f"training under attack does in {hardened[1]} of {sum(hardened.values())}."
    )


def _counted(found: pd.DataFrame, first: str, second: str) -> dict[int, int]:
    pair = found[(found["first"] == first) & (found["second"] == second)]
    return {way: int((pair["scaled_direction"] == way).sum()) for way in (1, -1, 0)}


def _manipulated() -> str:
    """Say how maps stand that are attacked themselves, by who knows of the defence."""
    run = claims.RUNS[0]
    if run not in records.runs("smoothing"):
        return "Manipulations of the explanation itself are not recorded."
    table = tables.smoothed(records.read_run(run, "smoothing"))
    best = (
        table[table["manipulation"] == smoothing.AWARE].groupby("defence")["median"].max().sort_values(ascending=False)
    )
    return (
        "Where the attack goes for the explanation itself, and knows of the defence, the correlation of a map with what it was "
        f"is, in the median and at each defence's best setting (run {run}): {phrases.join(_named(best))}."
    )


def _named(best: pd.Series) -> Sequence[str]:
    return [f"{'no defence' if name == smoothing.NONE else name} {value:.2f}" for name, value in best.items()]
