from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles import to_double
from relevance import inference

pytestmark = pytest.mark.stochastic


def test_the_map_estimate_of_a_linear_model_is_its_one_maximum(tiny_data):
    """A softmax of linear outputs with a normal prior has one maximum, which Newton's method finds."""
    data = to_double(tiny_data)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    given = {"epochs": 400, "learning_rate": 0.01, "batch_size": 90, "prior_scale": 0.5, "progress": False}
    posterior = inference.map_estimate(network, data, **given)
    weights = torch.zeros(3, 17, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14)

    def energy():
        optimiser.zero_grad()
        outputs = data.train_images.flatten(1) @ weights[:, :16].T + weights[:, 16]
        value = functional.cross_entropy(outputs, data.train_labels, reduction="sum") + weights.square().sum() / 0.5
        value.backward()
        return value

    wanted = optimiser.step(energy)
    assert wanted is not None
    assert (posterior.samples["1.weight"][0] - weights[:, :16]).abs().max() < 0.005
    history = posterior.record["history"]
    assert 90 * (history["loss"][-1] + history["penalty"][-1]) == pytest.approx(energy().item(), rel=1e-4)


def test_an_ensemble_with_a_prior_is_of_map_estimates(small_network, tiny_data):
    given = {"epochs": 3, "prior_scale": 0.2, "progress": False}
    members = inference.deep_ensemble(small_network, tiny_data, n_samples=2, seed=4, **given)
    for index in range(2):
        one = inference.map_estimate(small_network, tiny_data, seed=4 + index, **given)
        assert all(torch.equal(members.samples[name][index], value[0]) for name, value in one.samples.items())
    free = inference.deep_ensemble(small_network, tiny_data, n_samples=2, seed=4, epochs=3, progress=False)
    assert free.samples["1.weight"].norm() > members.samples["1.weight"].norm()


def test_bad_prior_scales_get_a_sentence(small_network, tiny_data):
    for train in (inference.map_estimate, inference.deep_ensemble):
        with pytest.raises(ValueError, match="prior_scale is 0; it must be a finite number above 0"):
            train(small_network, tiny_data, prior_scale=0, progress=False)
