"""Attacks on a posterior: small changes of images that change what it predicts, or why."""

from relevance.attacks.explanation import random_region, target_map, target_region, top_k
from relevance.attacks.prediction import LogPredictive, fgsm, loss_gradient, pgd
from relevance.attacks.search import Search
from relevance.attacks.soft import softened

__all__ = [
    "LogPredictive",
    "Search",
    "fgsm",
    "loss_gradient",
    "pgd",
    "random_region",
    "softened",
    "target_map",
    "target_region",
    "top_k",
]
