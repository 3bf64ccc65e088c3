"""Attacks on a posterior: small changes of images that change what it predicts."""

from relevance.attacks.prediction import LogPredictive, fgsm, loss_gradient, pgd
from relevance.attacks.search import Search

__all__ = ["LogPredictive", "Search", "fgsm", "loss_gradient", "pgd"]
