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


def build(settings: Mapping[str, Any]) -> Classifier:
    """Return a fresh network from the ``settings`` that a :class:`Classifier` remembers."""
    known = {"fully_connected": fully_connected}
    arguments = dict(settings)
    name = checks.one_of("architecture", arguments.pop("architecture", None), known)
    return known[name](**arguments)
