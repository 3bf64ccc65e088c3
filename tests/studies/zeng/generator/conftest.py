from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import GENERATOR_SHAPE, trained_generator
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.zeng.generator import networks
from relevance.studies.zeng.generator.training import Generated, train_generator


class Squares(nn.Module):
    """Logits sum_p m_p x_p^2 / 2 of each class, whose gradient m_p x_p depends on the image; m is planted."""

    def __init__(self):
        super().__init__()
        mask = torch.zeros(2, 1, 8, 8)
        mask[0, :, 1:, :4] = 1
        mask[1, :, 1:, 4:] = 1
        self.mask = nn.Parameter(mask)

    def forward(self, x):
        return (x[:, None].square() * self.mask).flatten(2).sum(2) / 2


@pytest.fixture(scope="module")
def robust():
    return Posterior.of(Squares())


@pytest.fixture(scope="module")
def alone(robust, halves):
    return trained_generator(robust, halves, epochs=25)


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return Posterior.of(architectures.fully_connected(GENERATOR_SHAPE, hidden=12, n_classes=2))


@pytest.fixture(scope="module")
def decoded(robust, halves, classifier):
    network = networks.decoder(classifier, GENERATOR_SHAPE, hidden=8)
    return Generated(train_generator(network, robust, halves, reads=classifier, epochs=2, progress=False), True)
