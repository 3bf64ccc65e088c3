"""A data set: images and labels for training and testing, with their classes and their source."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from relevance.base import checks


@dataclass(frozen=True)
class Dataset:
    """Images for training and testing, with their classes.

    Attributes:
        name: what was given to :func:`reading.load`; of a folder, its own name.
        train_images: [N, C, H, W], float32 in [0, 1].
        train_labels: [N], int64.
        test_images: [M, C, H, W], float32 in [0, 1].
        test_labels: [M], int64.
        classes: names of the classes; their order is that of the labels.
        source: one line on where the images come from, how many there are, and what was done to them.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    source: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def balanced_test(self, n_images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return ``n_images`` random test images and their labels, balanced over the classes.

        Every class gives the same number of images; where ``n_images`` is not a multiple of the number of classes,
        some classes, drawn at random, give one more. The order is random. (Carbone et al., Sec. V-A: 500 test
        images, balanced with respect to the classes.)

        Returns:
            Images [n_images, C, H, W] and labels [n_images].
        """
        chosen = balanced_indices(self.test_labels, "n_images", n_images, "test", len(self.classes), seed)
        return self.test_images[chosen], self.test_labels[chosen]

    def smaller(self, n_train: int | None, seed: int = 0) -> Dataset:
        """Return the data set with a random, balanced subset of ``n_train`` training images, said in ``source``.

        ``None``, or as many images as there are, or more, returns the data set as it is.
        """
        if n_train is None or checks.count("n_train", n_train) >= len(self.train_labels):
            return self
        chosen = balanced_indices(self.train_labels, "n_train", n_train, "training", len(self.classes), seed)
        return replace(
            self,
            train_images=self.train_images[chosen],
            train_labels=self.train_labels[chosen],
            source=f"{self.source}; a balanced subset of {n_train:,} training images",
        )


def balanced_indices(labels: Tensor, name: str, n_images: int, part: str, n_classes: int, seed: int) -> Tensor:
    """Return ``n_images`` indices into ``labels`` in random order, drawn without replacement, balanced over classes."""
    if isinstance(n_images, int) and n_images > len(labels):
        raise ValueError(
            f"{name} is {n_images}; the data set has {len(labels)} {part} images, so it may be at most that."
        )
    checks.count(name, n_images)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    labels = labels.cpu()
    wanted = torch.full((n_classes,), n_images // n_classes)
    wanted[torch.randperm(n_classes, generator=generator)[: n_images % n_classes]] += 1
    there = torch.bincount(labels, minlength=n_classes)
    if (there < wanted).any():
        scarce = int((wanted - there).argmax())
        most = int(there.min()) * n_classes
        raise ValueError(
            f"{name} is {n_images}; so many {part} images, balanced, need {int(wanted[scarce])} of class {scarce}, which "
            f"has {int(there[scarce])}, so it may be at most {most}."
        )
    chosen = [
        indices[torch.randperm(len(indices), generator=generator)[: int(wanted[label])]]
        for label in range(n_classes)
        if len(indices := (labels == label).nonzero().squeeze(1))
    ]
    every = torch.cat(chosen)
    return every[torch.randperm(len(every), generator=generator)]
