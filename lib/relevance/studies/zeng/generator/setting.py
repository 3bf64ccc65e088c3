"""Two networks, the generators that were trained with them, and the maps that they stand beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from relevance.datasets.dataset import Dataset
from relevance.explanations.expected import Explain
from relevance.explanations.gradient import gradient
from relevance.networks.posterior import Posterior
from relevance.studies.zeng.generator.training import Generated, saliency

STANDARD, ROBUST = "standard gradient", "robust gradient"
DECODED, ALONE = "decoder on features", "generator alone"
GENERATED = (DECODED, ALONE)
MEAN, OF_CLASS, OTHER = "mean map", "mean map of the class", "another image's map"
RANDOM = "random order"


@dataclass(frozen=True, eq=False)
class Setting:
    """Two networks and the generators that were trained with them.

    Attributes:
        standard: the classifier in use, whose predictions are explained.
        robust: the network whose saliency was aligned with.
        generators: name -> generator.
        data: whose training images the networks saw.
    """

    standard: Posterior
    robust: Posterior
    generators: Mapping[str, Generated]
    data: Dataset

    def explains(self) -> dict[str, tuple[Posterior, Explain]]:
        """Return name -> the network that is asked, and how it is explained."""
        plain = {STANDARD: (self.standard, gradient), ROBUST: (self.robust, gradient)}
        return plain | {name: (self.standard, explain) for name, explain in self.generators.items()}

    def maps(self, images: Tensor) -> dict[str, Tensor]:
        """Return the maps of the standard network's predicted classes: name -> [N, 1, H, W], at least 0."""
        target = self.standard.predict(images).argmax(1)
        with torch.no_grad():
            return {
                name: explain(posterior, images, target).abs().sum(1, keepdim=True).detach()
                for name, (posterior, explain) in self.explains().items()
            }

    def controls(self, images: Tensor) -> dict[str, Tensor]:
        """Return maps that know less than a generator: name -> [N, 1, H, W].

        The mean of the robust network's saliency of the training images, for all and for those of the predicted class; and
        its saliency of the image before.
        """
        target = self.standard.predict(images).argmax(1)
        labels = self.data.train_labels
        with torch.no_grad():
            seen = functional.normalize(saliency(self.robust, self.data.train_images, labels).flatten(1), dim=1)
            own = saliency(self.robust, images, target)
        overall = seen.mean(0)
        means = torch.stack(
            [seen[labels == one].mean(0) if (labels == one).any() else overall for one in range(len(self.data.classes))]
        )
        return {
            OF_CLASS: means[target].reshape(own.shape),
            MEAN: overall.expand(len(images), -1).reshape(own.shape),
            OTHER: own.roll(1, 0),
        }
