"""Attacks on the prediction of a whole posterior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from relevance import checks
from relevance.posterior import Posterior

IMAGES_AT_ONCE = 500


def loss_gradient(posterior: Posterior, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient, with respect to each image, of the cross-entropy of the posterior predictive.

    The loss is -log E[softmax f(x, w)] at the label. A gradient that is exactly zero leaves nothing to follow: an
    attack that starts from it fails without showing that the posterior is robust. How often that is so can be counted
    here.

    Args:
        posterior: the posterior that is attacked.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss is taken.

    Returns:
        [N, C, H, W].
    """
    checks.pixels("images", images, posterior.image_shape)
    labels = posterior.class_indices("labels", labels, images)
    parts = [
        _gradient(posterior, some_images, some_labels)
        for some_images, some_labels in zip(images.split(IMAGES_AT_ONCE), labels.split(IMAGES_AT_ONCE), strict=True)
    ]
    return torch.cat(parts)


def _gradient(posterior: Posterior, images: Tensor, labels: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        # The sum over images leaves each image its own gradient: no image's loss depends on another image.
        loss = functional.nll_loss(posterior.log_predictive(leaf), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, leaf)
    return gradient


def fgsm(posterior: Posterior, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Attack the posterior predictive with one step of size ``epsilon`` along the sign of the loss gradient.

    The fast gradient sign method (Goodfellow et al. 2015; Carbone et al., Sec. II-C and VII-B) with the loss of the
    posterior predictive, projected into [0, 1].

    Args:
        posterior: the posterior that is attacked; one sample makes it the attack on a deterministic network.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss is increased.
        epsilon: size of the step in the maximum norm, in units of the pixel range; at least 0.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and at most ``epsilon`` away from ``images`` in every pixel.

    Raises:
        ValueError: epsilon is negative, an image has values outside [0, 1], or shapes do not fit.
    """
    checks.number("epsilon", epsilon, at_least=0)
    return signed_step(images, loss_gradient(posterior, images, labels), epsilon)


def signed_step(images: Tensor, gradient: Tensor, epsilon: float) -> Tensor:
    """Return the step of :func:`fgsm` along a gradient that is known already: of size ``epsilon``, within [0, 1]."""
    checks.number("epsilon", epsilon, at_least=0)
    return (images + epsilon * gradient.sign()).clamp(0, 1)
