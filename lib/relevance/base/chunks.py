"""How much goes through a network at once: enough to keep the device busy, little enough to keep memory flat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.func import functional_call, vmap

Sample = Mapping[str, Tensor]
# Numbers that the layers of a network give for all images and samples of one chunk. On two CPU cores an epsilon map of a
# dense network cost 1.0 input gradients with 12 million, 1.15 with 3 million, 1.3 with 1.5 million.
VALUES_AT_ONCE = {"cpu": 12_000_000, "cuda": 2**28}
# The same where every number is remembered for a gradient. It is more, since it is the images that are divided then, and
# few images at once make poor use of weights: 0.8 GB on a CPU.
REMEMBERED_AT_ONCE = {"cpu": 200_000_000, "cuda": 2**30}
# Where a map is a gradient and no more, which keeps only what a gradient needs: up to so many images of this many numbers in all,
# if fewer would go together otherwise. One image of 224 pixels at a time cost 1.3 gradients of all of eight.
PLAIN_AT_ONCE, PLAIN_IMAGES = {"cpu": 140_000_000, "cuda": 2**28}, 8
# What torch cannot map over samples, and what it maps slowly on a CPU.
UNMAPPED = (nn.RNNBase, nn.RReLU)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
# Network -> shape of an image -> what :func:`values_of_one` counted.
_COUNTED: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = WeakKeyDictionary()


def under_every_name(network: nn.Module, sample: Sample) -> dict[str, Tensor]:
    """Return a sample with the values that a network has under several names under each of them, as samples have the first.

    A module that stands at several places in the network has one place here, the first.
    """
    first: dict[int, str] = {}
    named = dict(sample)
    for place, module in network.named_modules():
        for part, value in (*module._parameters.items(), *module._buffers.items()):
            name = f"{place}.{part}" if place else part
            known = first.setdefault(id(value), name)
            if value is not None and known != name and known in sample:
                named[name] = sample[known]
    return named


def call(network: nn.Module, sample: Sample, images: Tensor) -> Any:
    """Return what a network gives for images with a sample in place of its own values, which stay as they are.

    Torch would leave the sample's in a module that stands at several places, if it were asked to find out what is tied.
    """
    return functional_call(network, under_every_name(network, sample), (images,), tie_weights=False)


def values_of_one(network: nn.Module, sample: Sample, images: Tensor) -> int:
    """Return how many numbers the layers of a network give for one image, the image itself among them; counted once."""
    counted = _COUNTED.setdefault(network, {})
    shape = tuple(images.shape[1:])
    if shape in counted:
        return counted[shape]
    sizes = [images[0].numel()]
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: sizes.append(_numbers(output)))
        for module in network.modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            call(network, sample, images[:1].detach())
    finally:
        for hook in hooks:
            hook.remove()
    counted[shape] = sum(sizes)
    return counted[shape]


def left_behind(network: nn.Module) -> list[Tensor]:
    """Return what hooks left in modules, such as weights of ``torch.nn.utils.weight_norm``: no copy can be made of it.

    It is computed anew whenever the module is called.
    """
    values = [value for module in network.modules() for value in vars(module).values() if isinstance(value, Tensor)]
    return [value for value in values if not value.is_leaf or is_batchedtensor(value)]


def _numbers(output: Any) -> int:
    """Return how many numbers a module gave, which may have been several tensors."""
    if isinstance(output, (tuple, list)):
        return sum(map(_numbers, output))
    return output.numel() if isinstance(output, Tensor) else 0


def at_once(network: nn.Module, samples: Sample, images: Tensor, *, plain: bool = False) -> tuple[int, int]:
    """Return how many images, and how many samples of each, go through a network together on the images' device.

    Args:
        network: which all samples have in common.
        samples: name -> [S, ...].
        images: [N, C, H, W].
        plain: what is computed is a gradient and no more.
    """
    if not len(images) or (len(images) == 1 and len(next(iter(samples.values()))) == 1):
        return 1, 1
    device = images.device.type
    one = values_of_one(network, {name: value[0] for name, value in samples.items()}, images)
    rows = max(1, VALUES_AT_ONCE[device] // one, min(PLAIN_IMAGES, PLAIN_AT_ONCE[device] // one) if plain else 0)
    n_images = _even(len(images), rows)
    # A CPU has no fast convolution of many weights at once.
    one_by_one = UNMAPPED + CONVOLUTIONS if device == "cpu" else UNMAPPED
    alone = any(isinstance(module, one_by_one) for module in network.modules())
    return n_images, 1 if alone else max(1, rows // n_images)


def images_with_graph(network: nn.Module, samples: Sample, images: Tensor, times: int = 1) -> int:
    """Return how many images go through all samples together where every value is remembered for a gradient.

    It is the images that are divided, not the samples: a loss of their mean needs all samples at once.

    Args:
        network, samples, images: as for :func:`at_once`.
        times: how many numbers are remembered for each that a layer gives: 1 for logits, more for explanations.
    """
    if not len(images):
        return 1
    first = {name: value[0] for name, value in samples.items()}
    n_samples = len(next(iter(samples.values())))
    values = times * n_samples * values_of_one(network, first, images)
    return _even(len(images), max(1, REMEMBERED_AT_ONCE[images.device.type] // values))


def _even(total: int, at_most: int) -> int:
    """Return the size of chunks of about the same size, none larger than ``at_most``."""
    return math.ceil(total / math.ceil(total / at_most))


def over_samples(function: Callable[[Sample], Tensor], samples: Sample, n_at_once: int) -> Iterator[Tensor]:
    """Map a function over samples, and give its results [s, ...] chunk by chunk."""
    total = len(next(iter(samples.values())))
    if n_at_once == 1:
        for index in range(total):
            yield function({name: value[index] for name, value in samples.items()})[None]
        return
    for start in range(0, total, n_at_once):
        yield vmap(function, randomness="different")(
            {name: value[start : start + n_at_once] for name, value in samples.items()}
        )
