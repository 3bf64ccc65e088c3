"""Architectures: plain ``nn.Sequential`` networks whose indices are the paper's layer indices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from relevance import checks

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
        self.settings: dict[str, Any] = dict(settings or {})


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
    checks.one_of("activation", activation, ACTIVATIONS)
    checks.count("hidden", hidden)
    checks.count("n_classes", n_classes, at_least=2)
    shape = tuple(checks.count("image_shape", side) for side in image_shape)
    nonlinearity = ACTIVATIONS[activation]
    return Classifier(
        nn.Flatten(),
        nn.Linear(math.prod(shape), hidden),
        nonlinearity(),
        nn.Linear(hidden, hidden),
        nonlinearity(),
        nn.Linear(hidden, n_classes),
        settings={
            "architecture": "fully_connected",
            "image_shape": list(shape),
            "hidden": hidden,
            "n_classes": n_classes,
            "activation": activation,
        },
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
    checks.one_of("activation", activation, ACTIVATIONS)
    checks.count("hidden", hidden)
    checks.count("n_classes", n_classes, at_least=2)
    channels, height, width = (checks.count("image_shape", side) for side in image_shape)
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
        settings={
            "architecture": "convolutional",
            "image_shape": [channels, height, width],
            "hidden": hidden,
            "n_classes": n_classes,
            "activation": activation,
        },
    )


def build(settings: Mapping[str, Any]) -> Classifier:
    """Return a fresh network from the ``settings`` that a :class:`Classifier` remembers."""
    known = {"fully_connected": fully_connected, "convolutional": convolutional}
    arguments = dict(settings)
    name = checks.one_of("architecture", arguments.pop("architecture", None), known)
    return known[name](**arguments)
