"""Networks that give an attribution map: from an image, or from the last hidden features of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from relevance.base import checks
from relevance.base.chunks import Sample
from relevance.explanations.expected import over_all
from relevance.inference import training
from relevance.networks.posterior import Posterior


class Up(nn.Module):
    """From feature maps of any size to one map: doubled and convolved, until it is as large as the image.

    Args:
        channels: of what comes in.
        sides: (height, width) after each step, the smallest first, the image's last.
        hidden: channels on the way.
    """

    def __init__(self, channels: int, sides: Sequence[tuple[int, int]], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for side in sides:
            layers += [nn.Upsample(side), nn.Conv2d(channels, hidden, 3, padding=1), nn.SiLU()]
            channels = hidden
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [N, 1, H, W] in (0, 1)."""
        maps: Tensor = self.layers(x)
        return maps


class EncoderDecoder(nn.Module):
    """Convolutions of stride 2 and back up, each step up also reading what the step down had at its size, the image included.

    Args: as for :func:`encoder_decoder`.
    """

    def __init__(self, image_shape: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        channels, height, width = self.image_shape = _shape(image_shape)
        n_halvings = len(_sides(height, width, 2)) - 1
        widths = [channels, checks.count("hidden", hidden), *[2 * hidden] * (n_halvings - 1)]
        self.down = nn.ModuleList(nn.Conv2d(*pair, 3, stride=2, padding=1) for pair in pairwise(widths))
        self.middle = nn.Conv2d(widths[-1], 2 * hidden, 3, padding=1)
        below = [2 * hidden] + [hidden] * (n_halvings - 1)
        self.up = nn.ModuleList(
            nn.Conv2d(lower + skip, hidden, 3, padding=1) for lower, skip in zip(below, widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(hidden, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps [N, 1, H, W] in (0, 1)."""
        seen = [x]
        for layer in self.down:
            seen.append(functional.silu(layer(seen[-1])))
        maps = functional.silu(self.middle(seen.pop()))
        for layer in self.up:
            skip = seen.pop()
            larger = functional.interpolate(maps, skip.shape[-2:])
            maps = functional.silu(layer(torch.cat([larger, skip], dim=1)))
        return torch.sigmoid(self.last(maps))


def encoder_decoder(image_shape: tuple[int, ...], hidden: int = 16) -> nn.Module:
    """Return a generator that reads images [N, C, H, W] and gives maps [N, 1, H, W] in (0, 1).

    Down to at most 2 x 2 places, so that every place of the map can depend on the whole image, and back up with skip
    connections (a small U-Net, as masking models have it), so that it can be as fine as the image. Its activations (SiLU) are
    smooth, so that the map can be attacked along an exact gradient.

    Args:
        image_shape: (C, H, W), at least 4 pixels wide and high.
        hidden: channels at half the image's size; twice as many below.
    """
    with training.seeded(0, torch.device("cpu")):  # so that the store knows the same network again
        return EncoderDecoder(image_shape, hidden)


def decoder(classifier: Posterior, image_shape: tuple[int, ...], hidden: int = 16) -> nn.Module:
    """Return a generator that reads :func:`features` of a classifier and gives maps [N, 1, H, W] in (0, 1).

    Args:
        classifier: whose features it reads.
        image_shape: (C, H, W).
        hidden: channels on the way up.
    """
    channels, height, width = _shape(image_shape)
    checks.count("hidden", hidden)
    found = features(classifier, torch.zeros((1, channels, height, width)).to(next(iter(classifier.samples.values()))))
    sides = _sides(height, width, 7)
    with training.seeded(0, torch.device("cpu")):
        if found.ndim == 4:
            larger = [side for side in sides[-2::-1] if side[0] > found.shape[-2]] or [(height, width)]
            return Up(found.shape[1], larger, hidden)
        small = sides[-1]
        spread = nn.Linear(found.shape[1], hidden * math.prod(small))
        return nn.Sequential(spread, nn.SiLU(), nn.Unflatten(1, (hidden, *small)), Up(hidden, sides[-2::-1], hidden))


def features(classifier: Posterior, images: Tensor) -> Tensor:
    """Return what the last hidden layer of a classifier gives, [N, F] or [N, F, h, w]; the mean over its samples."""
    own = body(classifier.network)
    any_class = torch.zeros(len(images), dtype=torch.long, device=images.device)
    return over_all(classifier, lambda sample, x, _: run(own, sample, x), images, any_class)


def body(network: nn.Module) -> nn.Sequential:
    """Return the layers up to the last hidden one, without a flattening after it.

    Raises:
        ValueError: there is no hidden layer before a last linear one.
    """
    linear = [place for place, layer in enumerate(network.children()) if isinstance(layer, nn.Linear)]
    if not isinstance(network, nn.Sequential) or not linear or linear[-1] < 2:
        raise ValueError(
            f"the classifier is a {type(network).__name__} without a last hidden layer to read; it must be an nn.Sequential "
            "that ends in an nn.Linear after hidden layers."
        )
    end = linear[-1]
    layers = list(network.children())
    return nn.Sequential(*layers[: end - 1 if isinstance(layers[end - 1], nn.Flatten) else end])


def run(layers: nn.Sequential, sample: Sample, x: Tensor) -> Tensor:
    """Return what layers of :func:`body` give for x [N, C, H, W], with the parameters of a sample of the whole network."""
    own = {name: sample[name] for name, _ in layers.named_parameters()}
    outputs: Tensor = functional_call(layers, own, (x,))
    return outputs


def _shape(image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(image_shape) != 3 or min(image_shape[1:]) < 4:
        raise ValueError(f"image_shape is {tuple(image_shape)}; it must be (C, H, W), at least 4 pixels wide and high.")
    channels, height, width = image_shape
    return checks.count("image_shape", channels), height, width


def _sides(height: int, width: int, at_most: int) -> list[tuple[int, int]]:
    """Return the image's height and width, and their halves, rounded up, at least once, until both are small."""
    sides = [(height, width)]
    while max(sides[-1]) > at_most or len(sides) < 2:
        sides.append(((sides[-1][0] + 1) // 2, (sides[-1][1] + 1) // 2))
    return sides
