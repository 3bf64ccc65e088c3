from __future__ import annotations

import pytest

from oracles import random_posterior
from relevance.networks import architectures


@pytest.fixture
def relu_posterior():
    """A dense network with ReLUs and random weights."""
    return random_posterior(architectures.fully_connected((1, 3, 3), 6, 3, activation="relu"), 1, seed=1)
