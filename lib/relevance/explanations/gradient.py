"""Explanations by the gradient of the target's logit with respect to the image."""

from __future__ import annotations

import torch
from torch import Tensor

from relevance import checks
from relevance.posterior import Posterior

IMAGES_AT_ONCE = 500


def gradient(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Return the gradient of the posterior's mean target logit with respect to each image (Simonyan et al. 2013).

    The mean over the samples of the gradients is the gradient of the mean.

    Args:
        posterior: the networks to explain.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image.

    Returns:
        [N, C, H, W].
    """
    checks.pixels("images", images, posterior.image_shape)
    target = posterior.class_indices("target", target, images)
    parts = []
    for some_images, some_targets in zip(images.split(IMAGES_AT_ONCE), target.split(IMAGES_AT_ONCE), strict=True):
        with torch.enable_grad():
            leaf = some_images.detach().requires_grad_()
            logits = posterior.logits(leaf).mean(0)
            parts.append(torch.autograd.grad(logits.gather(1, some_targets[:, None]).sum(), leaf)[0])
    return torch.cat(parts)


def gradient_x_input(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Return :func:`gradient` times the image, pixel by pixel (Shrikumar et al. 2016, arXiv:1605.01713)."""
    return gradient(posterior, images, target) * images
