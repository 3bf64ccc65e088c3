from __future__ import annotations

import numpy as np
import torch
from torch import nn

from relevance.datasets.dataset import Dataset
from relevance.networks.posterior import Posterior
from relevance.studies.zeng import retraining
from relevance.studies.zeng.roar import BASELINES


def test_what_is_removed_becomes_the_mean_of_the_training_images():
    generator = torch.Generator().manual_seed(3)
    train, test = torch.rand((50, 3, 4, 4), generator=generator) * 0.5, torch.ones((20, 3, 4, 4))
    train[:, 1] += 0.5
    labels = torch.arange(50) % 2
    data = Dataset("colours", train, labels, test, labels[:20], ("a", "b"), "made up")
    fill = retraining.channel_mean(data)
    np.testing.assert_allclose(fill[:, 0, 0], train.numpy().mean((0, 2, 3)), rtol=1e-6)
    seen = []

    def look(network, data, *, seed, progress):
        seen.append(data)
        return Posterior.of(network)

    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    orders = tuple(BASELINES["random"].order(images, labels[: len(images)]) for images in (train, test))
    retraining.retrained(network, data, look, {}, orders=orders, share=0.25)
    for images, changed in ((train, seen[0].train_images), (test, seen[0].test_images)):
        gone = (changed != images).all(1)
        assert (gone.flatten(1).sum(1) == 4).all()
        assert torch.equal(changed, torch.where(gone[:, None], fill, images))
