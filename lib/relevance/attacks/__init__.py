"""Attacks on a posterior: small changes of images that change what it predicts."""

from relevance.attacks.prediction import fgsm, loss_gradient, signed_step

__all__ = ["fgsm", "loss_gradient", "signed_step"]
