from __future__ import annotations

import pytest

from relevance import inference
from relevance.networks import architectures

pytestmark = pytest.mark.stochastic


def test_chains_record_divergences_and_the_energy_error(tiny_data):
    network = architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3)
    given = {"n_samples": 12, "warmup": 0, "n_steps": 10, "adapt": False, "n_chains": 1, "progress": False}
    calm = inference.hmc(network, tiny_data, step_size=0.01, **given).record["diagnostics"]
    wild = inference.hmc(network, tiny_data, step_size=5.0, **given).record["diagnostics"]
    assert calm["divergences"] == 0
    assert 0 < calm["energy_error"] < 5
    assert wild["divergences"] == 12
    assert wild["energy_error"] is None
    assert calm["n_samples"] == 12
    assert calm["n_gradients"] == 12 * (10 + 1)  # and one for the scales of hidden units
    assert "certificate" not in calm  # one chain cannot see what it has not found
