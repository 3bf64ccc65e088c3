from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance.base import chunks


@pytest.mark.parametrize("n_values", [1, 300, 800])
def test_logits_do_not_depend_on_how_samples_and_images_are_cut(dense_posterior, some_images, monkeypatch, n_values):
    """A row has 63 values: one image at a time, two halves of three, and two samples of six images."""
    whole = dense_posterior.logits(some_images)
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", n_values)
    wanted = {1: (1, 1), 300: (3, 1), 800: (6, 2)}[n_values]
    assert chunks.at_once(dense_posterior.network, dense_posterior.samples, some_images) == wanted
    assert torch.allclose(dense_posterior.logits(some_images), whole, atol=1e-12)


def test_a_module_that_stands_at_two_places_and_a_tied_weight_are_called_right_and_left_as_they_were():
    shared, other = nn.Linear(4, 4), nn.Linear(4, 4)
    other.weight = shared.weight
    network = nn.Sequential(nn.Flatten(), shared, nn.ReLU(), shared, nn.Tanh(), other)
    before = {name: value.clone() for name, value in network.named_parameters()}
    images = torch.rand(3, 1, 2, 2)
    samples = {name: torch.stack([value, 2 * value, -value]).detach() for name, value in network.named_parameters()}
    found = torch.cat(list(chunks.over_samples(lambda sample: chunks.call(network, sample, images), samples, 3)))
    for factor, logits in zip((1, 2, -1), found, strict=True):
        weight, biases = factor * before["1.weight"], [factor * before[name] for name in ("1.bias", "5.bias")]
        hidden = (images.flatten(1) @ weight.T + biases[0]).relu() @ weight.T + biases[0]
        assert torch.allclose(logits, hidden.tanh() @ weight.T + biases[1], atol=1e-6)
    for name, value in network.named_parameters():
        assert isinstance(value, nn.Parameter)
        assert torch.equal(value, before[name])
