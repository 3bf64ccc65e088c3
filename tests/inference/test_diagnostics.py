from __future__ import annotations

import pytest
import torch

from oracles import to_double
from relevance import inference
from relevance.inference import diagnostics
from relevance.inference.chain import Chain
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

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
    assert calm["ess_tail_median"] > 0


def fake_chain(posterior, n_draws):
    row = {"accepted": 1.0, "acceptance": 0.9, "energy_change": -0.2, "n_steps": 3}
    return Chain(torch.zeros(n_draws, 1), [row] * n_draws, [], 0.1)


def test_diagnostics_tell_a_mixed_chain_from_one_that_drifts(small_network, tiny_data):
    from oracles import random_posterior

    mixed = random_posterior(small_network, 200).samples
    drift = {
        name: torch.stack([torch.lerp(value[0], value[1], share / 199) for share in range(200)])
        for name, value in mixed.items()
    }
    found = {}
    for name, samples in (("mixed", mixed), ("drift", drift)):
        posterior = Posterior(small_network.double(), samples)
        found[name] = diagnostics.summary(posterior, to_double(tiny_data), [fake_chain(posterior, 200)])
    assert found["mixed"]["converged"]
    assert found["mixed"]["ess_median"] > 120
    assert not found["drift"]["converged"]
    assert found["drift"]["rhat_median"] > 1.3
    assert found["drift"]["ess_median"] < 20


def test_too_few_draws_are_not_called_converged(small_network, tiny_data, hmc_settings):
    record = inference.hmc(small_network, tiny_data, **(hmc_settings | {"n_samples": 4})).record
    assert record["diagnostics"]["converged"] is False
    assert record["diagnostics"]["rhat_max"] is None


def test_the_convergence_check_is_the_one_that_the_book_states():
    assert diagnostics.RHAT_LIMIT == 1.05
