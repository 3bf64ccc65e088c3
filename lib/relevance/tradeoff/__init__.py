"""What steadiness costs: each defence of an explanation, at each setting, by robustness and by faithfulness."""

from relevance.tradeoff.compared import answer, baselines_told, differences, lost, points, summary
from relevance.tradeoff.defended import (
    BAYES,
    BETA,
    CONSTANT,
    CONTRIBUTIONS,
    EXPLAINS,
    FAITHFULNESS,
    FLAT,
    NONE,
    ORDER,
    RANDOM,
    SMOOTH_GRAD,
    Defended,
    defences,
)
from relevance.tradeoff.measures import SURROGATES, curves, faithful, maps_of, networks_used, robust, similarity

__all__ = [
    "BAYES",
    "BETA",
    "CONSTANT",
    "CONTRIBUTIONS",
    "EXPLAINS",
    "FAITHFULNESS",
    "FLAT",
    "NONE",
    "ORDER",
    "RANDOM",
    "SMOOTH_GRAD",
    "SURROGATES",
    "Defended",
    "answer",
    "baselines_told",
    "curves",
    "defences",
    "differences",
    "faithful",
    "lost",
    "maps_of",
    "networks_used",
    "points",
    "robust",
    "similarity",
    "summary",
]
