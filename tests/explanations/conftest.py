from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import dilated_convolutional, pooled_convolutional, random_posterior, residual


@pytest.fixture
def images():
    return torch.rand((4, 2, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def conv_posterior():
    torch.manual_seed(0)
    return random_posterior(pooled_convolutional(), n_samples=3, seed=2, scale=2.0)


@pytest.fixture
def data_images():
    return torch.rand((40, 1, 4, 4), generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def dense():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(32, 6), nn.LeakyReLU(0.2), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3)
    )


NETWORKS = {"dense": dense, "convolutional": dilated_convolutional, "residual": residual}


@pytest.fixture(params=list(NETWORKS))
def posterior(request):
    torch.manual_seed(0)
    network = NETWORKS[request.param]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return random_posterior(network, n_samples=3, seed=1)
