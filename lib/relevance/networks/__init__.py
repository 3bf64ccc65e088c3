"""Architectures, pretrained networks, and :class:`Posterior`: a network with samples of its parameters."""

from relevance.networks.architectures import ARCHITECTURES, Classifier, convolutional, fully_connected, resnet20
from relevance.networks.posterior import Posterior

__all__ = [
    "ARCHITECTURES",
    "Classifier",
    "Posterior",
    "convolutional",
    "fully_connected",
    "resnet20",
]
