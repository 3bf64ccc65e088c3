"""Architectures: plain ``nn.Sequential`` networks whose indices are the paper's layer indices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relevance.base import checks

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "softplus": nn.Softplus,
}


class Classifier(nn.Sequential):
    """An ``nn.Sequential`` that remembers what it was built from.

    ``settings`` names the function of this module that builds it and its arguments, so that a saved posterior
    can be loaded without anything being unpickled.
    """

    def __init__(self, *layers: Any, settings: Mapping[str, Any] | None = None) -> None:
        super().__init__(*layers)
        self.settings: dict[str, Any] = dict(checks.kind_of("settings", settings or {}, Mapping, "a mapping"))


def fully_connected(
    image_shape: tuple[int, ...],
    hidden: int = 512,
    n_classes: int = 10,
    activation: str = "leaky_relu",
) -> Classifier:
    """Return the dense network of Carbone et al., Table II: two hidden layers of equal width.

    Its learnable layers stand at the paper's layer indices: 1, 3 and 5.

    Args:
        image_shape: (C, H, W) of one image.
        hidden: width of both hidden layers (512 for MNIST, 1,024 for Fashion-MNIST in Tables III and IV).
        n_classes: number of classes.
        activation: ``"leaky_relu"`` (the paper's, slope 0.01), ``"relu"`` or ``"softplus"``.
    """
    settings = _settings("fully_connected", image_shape, hidden, n_classes, activation)
    nonlinearity = ACTIVATIONS[activation]
    return Classifier(
        nn.Flatten(),
        nn.Linear(math.prod(settings["image_shape"]), hidden),
        nonlinearity(),
        nn.Linear(hidden, hidden),
        nonlinearity(),
        nn.Linear(hidden, n_classes),
        settings=settings,
    )


def convolutional(
    image_shape: tuple[int, ...],
    hidden: int = 512,
    n_classes: int = 10,
    activation: str = "leaky_relu",
) -> Classifier:
    """Return the convolutional network of Carbone et al., Table I: two convolutions and a dense layer.

    Its learnable layers stand at the paper's layer indices: 0, 3 and 7. What the table leaves open - the pooling after
    each convolution, by 2 with strides 2 and 1 - follows the authors' released code.

    Args:
        image_shape: (C, H, W) of one image, at least 16 pixels wide and high.
        hidden: channels of the second convolution (512 for MNIST, 1,024 for Fashion-MNIST in Table III).
        n_classes: number of classes.
        activation: ``"leaky_relu"`` (the paper's, slope 0.01), ``"relu"`` or ``"softplus"``.
    """
    settings = _settings("convolutional", image_shape, hidden, n_classes, activation)
    channels, height, width = settings["image_shape"]
    checks.count("the smaller side of image_shape", min(height, width), at_least=16)
    nonlinearity = ACTIVATIONS[activation]
    # 5x5 without padding, halved, 5x5 again, and one less by the second pooling.
    side = [((size - 4) // 2) - 4 - 1 for size in (height, width)]
    return Classifier(
        nn.Conv2d(channels, 32, kernel_size=5),
        nonlinearity(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, hidden, kernel_size=5),
        nonlinearity(),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(hidden * side[0] * side[1], n_classes),
        settings=settings,
    )


class Normalise(nn.Module):
    """(x - mean) / scale, channel by channel: the first layer of a network whose images are to stay in [0, 1].

    Attacks and explanations are then in the units of the image. Relevance passes through it unchanged.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Sequence[float], scale: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).reshape(-1, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).reshape(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised images."""
        return (x - self.mean) / self.scale


def channel_values(name: str, values: Any, channels: int, **bounds: float) -> list[float]:
    """Return ``values`` as floats if they are a number for each channel, or say that they must be."""
    return checks.numbers(name, values, f"{channels} numbers, one for each channel", channels, **bounds)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut around them, which is a 1 x 1 convolution where the shapes differ."""

    def __init__(self, channels: int, out_channels: int, stride: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.activation1 = activation()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.activation2 = activation()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's activations."""
        inner = self.bn2(self.conv2(self.activation1(self.bn1(self.conv1(x)))))
        outputs: Tensor = self.activation2(inner + self.shortcut(x))
        return outputs


def resnet20(
    image_shape: tuple[int, ...],
    hidden: int = 16,
    n_classes: int = 10,
    activation: str = "relu",
    mean: Sequence[float] | None = None,
    scale: Sequence[float] | None = None,
) -> Classifier:
    """Return the residual network of 20 layers for small images (He et al. 2016, arXiv:1512.03385, Sec. 4.2).

    Shortcuts between stages are 1 x 1 convolutions (their option B), since relevance needs a layer to go through.

    Args:
        image_shape: (C, H, W) of one image.
        hidden: channels of the first stage; the second and third have two and four times as many.
        n_classes: number of classes.
        activation: ``"relu"``, ``"leaky_relu"`` or ``"softplus"``.
        mean, scale: of the pixels of each channel, by which the network normalises its images; 0.5 and 0.25 if None.
    """
    settings = _settings("resnet20", image_shape, hidden, n_classes, activation)
    channels = settings["image_shape"][0]
    settings["mean"] = channel_values("mean", [0.5] * channels if mean is None else mean, channels)
    settings["scale"] = channel_values("scale", [0.25] * channels if scale is None else scale, channels, above=0)
    nonlinearity = ACTIVATIONS[activation]
    widths = [hidden, hidden, hidden, hidden, 2 * hidden, 2 * hidden, 2 * hidden, 4 * hidden, 4 * hidden, 4 * hidden]
    blocks = [
        ResidualBlock(before, after, 1 if before == after else 2, nonlinearity)
        for before, after in itertools.pairwise(widths)
    ]
    return Classifier(
        Normalise(settings["mean"], settings["scale"]),
        nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
        nn.BatchNorm2d(hidden),
        nonlinearity(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * hidden, n_classes),
        settings=settings,
    )


def _settings(
    architecture: str, image_shape: tuple[int, ...], hidden: int, n_classes: int, activation: str
) -> dict[str, Any]:
    """Check what all architectures take, and return it as a :class:`Classifier` remembers it."""
    checks.one_of("activation", activation, ACTIVATIONS)
    return {
        "architecture": architecture,
        "image_shape": list(checks.image_shape("image_shape", image_shape)),
        "hidden": checks.count("hidden", hidden),
        "n_classes": checks.count("n_classes", n_classes, at_least=2),
        "activation": activation,
    }


# What a Classifier's settings call them.
ARCHITECTURES: dict[str, Callable[..., Classifier]] = {
    "fully_connected": fully_connected,
    "convolutional": convolutional,
    "resnet20": resnet20,
}


def build(settings: Mapping[str, Any]) -> Classifier:
    """Return a fresh network from the ``settings`` that a :class:`Classifier` remembers."""
    arguments = dict(settings)
    name = checks.one_of("architecture", arguments.pop("architecture", None), ARCHITECTURES)
    return ARCHITECTURES[name](**arguments)
