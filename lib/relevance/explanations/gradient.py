"""Explanations by gradients of the target's logit: plain, times the input, along a path, and of noisy copies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from relevance.base import checks
from relevance.base.chunks import Sample
from relevance.explanations.expected import checked, logit_gradient, over_all
from relevance.networks.posterior import Posterior


def gradient(posterior: Posterior, images: Tensor, target: Tensor, *, per_sample: bool = False) -> Tensor:
    """Return the gradient of the posterior's mean target logit with respect to each image (Simonyan et al. 2013).

    The mean over the samples of the gradients is the gradient of the mean. Like all explanations it can be
    differentiated with respect to the images.

    Args:
        posterior: the networks to explain.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image.
        per_sample: return the map of every sample instead of their mean.

    Returns:
        [N, C, H, W], with ``per_sample`` [S, N, C, H, W].

    Raises:
        ValueError: an image or a target is not what it may be.
    """
    target = checked(posterior, images, target)
    return over_all(posterior, logit_gradient(posterior), images, target, per_sample=per_sample, plain=True)


def gradient_x_input(posterior: Posterior, images: Tensor, target: Tensor, *, per_sample: bool = False) -> Tensor:
    """Return :func:`gradient` times the image, pixel by pixel (Shrikumar et al. 2016, arXiv:1605.01713)."""
    return gradient(posterior, images, target, per_sample=per_sample) * images


def integrated_gradients(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    per_sample: bool = False,
    baseline: float = 0.0,
    n_steps: int = 32,
) -> Tensor:
    """Return what each pixel adds on the straight path from a uniform image (Sundararajan et al. 2017, Eq. 1).

    (x - x0) times the mean of the gradients between x0 and x, by Gauss-Legendre quadrature. The map's sum is the
    difference of the target's logits at x and x0, as far as the quadrature is exact.

    Args:
        posterior, images, target, per_sample: as for :func:`gradient`.
        baseline: value of the pixels of x0, in [0, 1]; 0 is black.
        n_steps: points of the quadrature, at least 1.

    Returns:
        As :func:`gradient`.
    """
    target = checked(posterior, images, target)
    checks.number("baseline", baseline, at_least=0, at_most=1)
    nodes, weights = np.polynomial.legendre.leggauss(checks.count("n_steps", n_steps))
    of_logit = logit_gradient(posterior)

    def one_map(sample: Sample, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for place, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            total = total + float(weight) * of_logit(sample, baseline + float(place) * (x - baseline), y)
        return (x - baseline) * total

    return over_all(posterior, one_map, images, target, per_sample=per_sample, plain=True)
