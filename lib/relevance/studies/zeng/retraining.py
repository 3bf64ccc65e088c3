"""Images without some of their pixels, and a network trained on them from scratch: the costly half of ROAR.

It is apart from the rest so that what is kept on the disk depends on no more code than it must.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.networks.posterior import Posterior

# What the retrained network is given: the images that are left, or only which of their pixels were removed.
SEES = ("image", "mask")
Train = Callable[..., Posterior]


def channel_mean(data: Dataset) -> Tensor:
    """Return the mean of each channel over all training images and their pixels, [C, 1, 1]."""
    return data.train_images.double().mean((0, 2, 3))[:, None, None].to(data.train_images.dtype)


def removed(images: Tensor, order: Tensor, share: float, fill: Tensor) -> Tensor:
    """Return images whose most relevant pixels are replaced (Hooker et al. 2019, Sec. 3).

    Args:
        images: [N, C, H, W] in [0, 1].
        order: places in the order of falling relevance, from 0: of pixels [N, 1, H, W], or of single channels
            [N, C, H, W]; see :func:`roar.rankings`.
        share: of the places, in (0, 1); of P, round(P share) are replaced.
        fill: what replaces them, [C, 1, 1] or [C, H, W]; ROAR takes :func:`channel_mean` of the *training* images.

    Raises:
        ValueError: a share or a shape is not what it may be.
    """
    gone = is_removed(images, order, share)
    return torch.where(gone, fill.to(images), images)


def is_removed(images: Tensor, order: Tensor, share: float) -> Tensor:
    """Return which pixels :func:`removed` replaces: a boolean tensor of the shape of ``order``."""
    checked_share(share)
    shapes = [list(images.shape), [len(images), 1, *images.shape[2:]]]
    if list(order.shape) not in shapes:
        raise ValueError(f"order has shape {list(order.shape)}; it must be {shapes[1]} or {shapes[0]}.")
    return order.to(images.device) < round(share * math.prod(order.shape[1:]))


def checked_share(share: Any) -> float:
    """Return a share of pixels if it lies in (0, 1)."""
    value = checks.number("share", share, above=0, at_most=1)
    if value == 1:
        raise ValueError("share is 1; it must be below 1: of images without a pixel nothing can be learned.")
    return value


def retrained(
    network: nn.Module,
    data: Dataset,
    train: Train,
    settings: Mapping[str, Any],
    *,
    orders: tuple[Tensor, Tensor] | None = None,
    share: float = 0.0,
    fill: Tensor | None = None,
    sees: str = "image",
    seed: int = 0,
) -> Tensor:
    """Return the test accuracy of a network trained from scratch where pixels are removed from training and test images.

    Args:
        network: the architecture; its parameters are drawn anew.
        data: whole images.
        train: a training algorithm of :mod:`relevance.inference`.
        settings: its settings, without the seed.
        orders: of the training and of the test images, as for :func:`removed`; None removes nothing.
        share, fill: as for :func:`removed`.
        sees: ``"image"``, or ``"mask"``: in place of the images 0 where a pixel is removed and 1 where it is kept, so that the
            network has nothing to go by but the ranking.
        seed: of the initial parameters and of the order of the images.

    Returns:
        A number in [0, 1].
    """
    checks.one_of("sees", sees, SEES)
    if orders is not None:
        parts = []
        for images, order in zip((data.train_images, data.test_images), orders, strict=True):
            if sees == "mask":
                parts.append((~is_removed(images, order, share)).to(images).expand_as(images).contiguous())
            else:
                parts.append(removed(images, order, share, channel_mean(data) if fill is None else fill))
        data = replace(data, train_images=parts[0], test_images=parts[1])
    posterior = train(network, data, seed=seed, progress=False, **settings)
    with torch.no_grad():
        return torch.tensor(posterior.accuracy(data.test_images, data.test_labels), dtype=torch.float64)
