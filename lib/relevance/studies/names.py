"""What tables call models and rules: names that tables, verdicts, figures and chapters share."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma, Rule

RULES: dict[str, Rule] = {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1), "alpha-beta": AlphaBeta(1, 0)}

DETERMINISTIC, ADVERSARIAL, BAYESIAN = "deterministic", "adversarially trained", "Bayesian"
# The posterior's own prior on one network, and on several: they tell the prior from averaging.
MAP, MAP_ENSEMBLE = "MAP", "ensemble of MAP"


def bayesian(n_samples: int) -> str:
    """Return what tables and figures call the Bayesian model with so many samples."""
    return f"{BAYESIAN}, {n_samples}"


def most_samples(table: pd.DataFrame) -> str:
    """Return the Bayesian model of a table that has the most samples."""
    bayes = table[table["model"].str.startswith(BAYESIAN)]
    if bayes.empty:
        raise ValueError(f"the table has the models {', '.join(table['model'].unique())}; none of them is Bayesian.")
    return str(bayes["model"].iloc[int(bayes["n_samples"].argmax())])


# Rules by what a reader turns: the stabiliser, gamma, and beta, where alpha is 1 more.
WITH_PARAMETER: dict[str, Callable[[float], Rule]] = {
    "epsilon": Epsilon,
    "gamma": Gamma,
    "alpha-beta": lambda beta: AlphaBeta(1 + beta, beta),
}
# Methods of inference as a sentence has them.
INFERENCE = {"hmc": "HMC", "variational": "variational inference"}
