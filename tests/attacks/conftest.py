from __future__ import annotations

import pytest

from oracles import random_posterior
from relevance.networks import architectures


@pytest.fixture
def twenty():
    """20 samples of a small dense network, in float64."""
    return random_posterior(architectures.fully_connected((1, 4, 4), hidden=7, n_classes=3), n_samples=20)
