"""Attacks on a posterior: small changes of images that change what it predicts, or why; and checks of the attacks."""

from relevance.attacks.evaluation import accuracy_by_epsilon, evaluate, loss_by_steps
from relevance.attacks.explanation import random_region, target_map, target_region, top_k
from relevance.attacks.manipulation import Manipulation, manipulated
from relevance.attacks.named import Attack
from relevance.attacks.prediction import LogPredictive, fgsm, loss_gradient, pgd, zero_gradients
from relevance.attacks.square import square
from relevance.base.ascent import Search

__all__ = [
    "Attack",
    "LogPredictive",
    "Manipulation",
    "Search",
    "accuracy_by_epsilon",
    "evaluate",
    "fgsm",
    "loss_by_steps",
    "loss_gradient",
    "manipulated",
    "pgd",
    "random_region",
    "square",
    "target_map",
    "target_region",
    "top_k",
    "zero_gradients",
]
