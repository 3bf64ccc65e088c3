from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import MOST, errors_off
from relevance import inference

pytestmark = pytest.mark.stochastic


def test_masks_of_dropout_cut_whole_neurons_off(small_network, tiny_data):
    posterior = inference.mc_dropout(small_network, tiny_data, epochs=1, n_samples=400, rate=0.25, progress=False)
    assert torch.equal(posterior.samples["1.weight"][0], posterior.samples["1.weight"][1])  # pixels stay
    for name in ("3.weight", "5.weight"):
        cut = (posterior.samples[name] == 0).all(1)  # [S, inputs]
        assert errors_off(cut.double(), 0.25).abs().max() < MOST
        assert errors_off(cut.double().flatten(), 0.25).abs() < MOST
        # What is not cut off is the same in all samples, so the mean is as much of it as is kept.
        kept = posterior.samples[name].sum(0) / (~cut).sum(0)[None, :]
        assert torch.allclose(posterior.samples[name], kept * ~cut[:, None, :], atol=1e-5)


def test_networks_that_a_method_cannot_take_get_a_sentence(tiny_data):
    grouped = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ValueError, match="layer 1 is a convolution in groups"):
        inference.mc_dropout(grouped, tiny_data, progress=False)
    with pytest.raises(ValueError, match="network has 1 dense layers and convolutions; dropout needs at least 2"):
        inference.mc_dropout(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), tiny_data, progress=False)
