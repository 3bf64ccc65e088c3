"""Attacks on a posterior: small changes of images that change what it predicts."""

from relevance.attacks.prediction import fgsm, loss_gradient

__all__ = ["fgsm", "loss_gradient"]
