"""The book's answer, from all recorded runs: one table, two sentences; :func:`relevance.pages.figures.answer` draws it."""

from __future__ import annotations

from functools import cache

import pandas as pd

from relevance.attacks import named
from relevance.metrics.statistics import HIGHER
from relevance.studies import records
from relevance.studies.carbone.reproduction import RUNS
from relevance.studies.gates import UNMIXED
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC, most_samples
from relevance.studies.phrases import join
from relevance.studies.tables import last_layer
from relevance.studies.verdicts import NOT_JUDGED, counted, judged

CALLED = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10", "fully_connected": "dense",
          "convolutional": "convolutional", "resnet20": "ResNet-20", "hmc": "HMC", "variational": "VI"}  # fmt: skip
RULE = "epsilon"
GRID = (
    "Every claim of the main source in every recorded run. A bar is divided by what its settings say - attacks, rules, layers - "
    "and in it stands how many of those that can be judged say what the claim says."
)
EXPERIMENTS = ("layers", "rules")  # the first of them that a run has
PAIRS = ((DETERMINISTIC, BAYESIAN), (DETERMINISTIC, ADVERSARIAL), (ADVERSARIAL, BAYESIAN))


def columns() -> dict[str, str]:
    """Return recorded run of the main source -> its data set and architecture, in the order of the ledger."""
    return {run: f"{CALLED[dataset]}, {CALLED[architecture]}" for (dataset, architecture), run in RUNS.items()}


@cache
def rows() -> pd.DataFrame:
    """Compare the three kinds of models on every recorded run of the main source, under attacks on the prediction.

    Returns:
        A row for each run, pair of models and attack: ``run``, ``called``, ``method``, ``first``, ``second``, ``attack``, and the
        columns of :func:`differences.comparisons`, for the explanation of the class by the epsilon rule, with ``standing``. The
        Bayesian model is the one with the most samples.
    """
    parts = []
    for run, title in columns().items():
        experiment = next((one for one in EXPERIMENTS if run in records.runs(one)), None)
        if experiment is None:
            continue
        table = records.read_run(run, experiment)
        table = last_layer(table[(table["rule"] == RULE) & ~table["attack"].isin(named.EXPLANATION)])
        method = records.provenance(run, experiment)["settings"]["method"]
        names = {BAYESIAN: most_samples(table)}
        for first, second in PAIRS:
            found = judged(table, names.get(first, first), names.get(second, second))
            if BAYESIAN in (first, second) and records.is_unmixed(run, experiment):
                found = found.assign(standing=NOT_JUDGED, reason=UNMIXED)
            about = {"run": run, "called": f"{title}, {CALLED[method]}", "method": CALLED[method]}
            parts.append(found.assign(**about, first=first, second=second))
    return pd.concat(parts, ignore_index=True)


def sentences(found: pd.DataFrame | None = None) -> list[str]:
    """Say in two sentences what the recorded runs say: of the posterior, and of training under attack."""
    found = rows() if found is None else found
    return [
        f"Under attacks on the prediction, in {found['run'].nunique()} recorded runs, the robustness of the Bayesian "
        f"explanation, beside the deterministic one's, is {_counted(found, DETERMINISTIC, BAYESIAN)}.",
        f"After training under attack it is {_counted(found, DETERMINISTIC, ADVERSARIAL)}; and compared with training under "
        f"attack, the Bayesian one is {_counted(found, ADVERSARIAL, BAYESIAN)}.",
    ]


def in_short(found: pd.DataFrame | None = None) -> str:
    """Say in one sentence what :func:`sentences` say."""
    found = rows() if found is None else found
    bayesian, hardened = (_pair(found, DETERMINISTIC, model) for model in (BAYESIAN, ADVERSARIAL))
    by_method = [f"{_steadier(rows)} with {method}" for method, rows in bayesian.groupby("method", sort=False)]
    return (
        "Of the settings that recorded runs can judge, a posterior's explanations are steadier than a deterministic network's in "
        f"{join(by_method)}; after training under attack they are in {_steadier(hardened)}."
    )


def _steadier(found: pd.DataFrame) -> str:
    judged = found.loc[found["standing"] != NOT_JUDGED, "standing"]
    return f"{(judged == HIGHER).sum()} of {len(judged)}"


def _pair(found: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    return found[(found["first"] == first) & (found["second"] == second)]


def _counted(found: pd.DataFrame, first: str, second: str) -> str:
    return counted(_pair(found, first, second))
