"""Attacks on a posterior: small changes of images that change what it predicts, or why; and checks of the attacks."""

from relevance.attacks.evaluation import accuracy_by_epsilon, concerns, evaluate, loss_by_steps, zero_gradients
from relevance.attacks.explanation import random_region, target_map, target_region, top_k
from relevance.attacks.prediction import LogPredictive, fgsm, loss_gradient, pgd
from relevance.attacks.search import Search
from relevance.attacks.soft import softened
from relevance.attacks.square import square

__all__ = [
    "LogPredictive",
    "Search",
    "accuracy_by_epsilon",
    "concerns",
    "evaluate",
    "fgsm",
    "loss_by_steps",
    "loss_gradient",
    "pgd",
    "random_region",
    "softened",
    "square",
    "target_map",
    "target_region",
    "top_k",
    "zero_gradients",
]
