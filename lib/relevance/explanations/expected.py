"""What all explanations share: what a method is, checks of what is given, and chunks of images and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp

from relevance.base import checks, chunks
from relevance.base.chunks import Sample
from relevance.networks.posterior import Posterior, given

# A posterior (or nothing, where a map needs none), images, and the class to explain in each -> a map of each image [N, C, H, W],
# such as relevance.explanations.lrp: what a method of explanation is.
Explain = Callable[[Any, Tensor, Tensor], Tensor]

# A posterior sample, images and their targets -> a map of each image.
OneMap = Callable[[Sample, Tensor, Tensor], Tensor]


def as_method(name: str, value: Any) -> Explain:
    """Return ``value`` if it can be called, as a method of explanation can, or say that it must be one."""
    method: Explain = checks.function(name, value, "a method, such as relevance.explanations.gradient")
    return method


def maps_of(explain: Explain, posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Return what a method of the reader's gives, if it is a map of each image."""
    return checks.results("explain", explain(posterior, images, target), len(images), "a map of each")


def over_all(
    posterior: Posterior,
    one_map: OneMap,
    images: Tensor,
    target: Tensor,
    *,
    per_sample: bool = False,
    dim: int = 0,
    also: Mapping[str, Tensor] | None = None,
    plain: bool = False,
) -> Tensor:
    """Return the mean over the samples of ``one_map``, or with ``per_sample`` its results [S, ...], in chunks.

    Args:
        posterior: the networks to explain.
        one_map: explains images [n, ...] by one sample.
        images, target: as they were given, already checked.
        per_sample: return the result of each sample.
        dim: the dimension of the images in a result, which is put together along it; without that of the samples.
        also: more that a sample has besides its parameters: name -> [S, ...].
        plain: a map is a gradient, or a sum of gradients, and no more.

    Raises:
        ValueError: a result is NaN or infinite; not looked at where it has a gradient.
    """
    checks.truth("per_sample", per_sample)
    n_images, n_samples = chunks.at_once(posterior.network, posterior.samples, images, plain=plain)
    parts = []
    for some_images, some_targets in zip(images.split(n_images), target.split(n_images), strict=True):

        def of_sample(sample: Sample, x: Tensor = some_images, y: Tensor = some_targets) -> Tensor:
            return one_map(sample, x, y)

        results = chunks.over_samples(of_sample, {**posterior.samples, **(also or {})}, n_samples)
        if per_sample:
            parts.append(torch.cat(list(results)))
            continue
        total = next(results).sum(0)
        for result in results:
            total = total + result.sum(0)
        parts.append(total / len(posterior))
    found = torch.cat(parts, dim=dim + per_sample)
    # As of logits: not in every step of an attack, which asks for a gradient.
    return (
        found
        if found.requires_grad
        else checks.finite("the explanation of images", found, "numbers, as a network gives them whose outputs are")
    )


def checked(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Check images and target, and return the target as class indices.

    Raises:
        ValueError: an image or a target is not what it may be.
    """
    return given(posterior, images, target, "target")[1]


def logit_gradient(posterior: Posterior) -> OneMap:
    """Return the map that is the gradient of the target's logit, by one sample."""

    def gradient(sample: Sample, images: Tensor, target: Tensor) -> Tensor:
        # An explicit pullback, not autograd.grad: it can be mapped over samples and differentiated again.
        logits, pull_back = vjp(lambda x: chunks.call(posterior.network, sample, x), images)  # type: ignore[misc]
        return pull_back(one_hot(logits, target))[0]

    return gradient


def one_hot(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 at each image's target and 0 elsewhere, in the type of the logits [N, K]."""
    return torch.nn.functional.one_hot(target, logits.shape[-1]).to(logits.dtype)
