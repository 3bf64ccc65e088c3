from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance import explanations
from relevance.base import chunks


@pytest.mark.parametrize("n_values", [1, 300, 800])
def test_logits_do_not_depend_on_how_samples_and_images_are_cut(dense_posterior, some_images, monkeypatch, n_values):
    """A row has 63 values: one image at a time, two halves of three, and two samples of six images."""
    whole = dense_posterior.logits(some_images)
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", n_values)
    wanted = {1: (1, 1), 300: (3, 1), 800: (6, 2)}[n_values]
    assert chunks.at_once(dense_posterior.network, dense_posterior.samples, some_images) == wanted
    assert torch.allclose(dense_posterior.logits(some_images), whole, atol=1e-12)


def test_large_images_go_together_where_a_map_is_a_gradient(dense_posterior, some_images, monkeypatch):
    network, samples = dense_posterior.network, dense_posterior.samples
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", 63)
    monkeypatch.setitem(chunks.PLAIN_AT_ONCE, "cpu", 3 * 63)
    assert chunks.at_once(network, samples, some_images) == (1, 1)
    assert chunks.at_once(network, samples, some_images, plain=True) == (3, 1)
    many = some_images.repeat(10, 1, 1, 1)
    monkeypatch.setitem(chunks.PLAIN_AT_ONCE, "cpu", 10**9)
    assert chunks.at_once(network, samples, many, plain=True) == (8, 1)  # 60 in eights, the last of four
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", 63 * 30)
    assert chunks.at_once(network, samples, many, plain=True) == (30, 1)


def test_only_the_first_call_asks_a_network_more_often_than_it_must(dense_posterior, some_images, some_labels):
    """How many classes it has, and how large it is, is known then; of images of another shape it is found out anew."""
    called = []
    hook = dense_posterior.network.register_forward_hook(lambda module, images, logits: called.append(len(images[0])))
    explanations.gradient(dense_posterior, some_images, some_labels)
    called.clear()
    explanations.gradient(dense_posterior, some_images, some_labels)
    assert called == [6]
    hook.remove()
    convolution = nn.Conv2d(1, 2, 3)
    samples = {name: value.detach()[None] for name, value in convolution.named_parameters()}
    first = {name: value[0] for name, value in samples.items()}
    sizes = [chunks.values_of_one(convolution, first, torch.rand(2, 1, side, side)) for side in (4, 5, 4)]
    assert sizes == [16 + 2 * 4, 25 + 2 * 9, 16 + 2 * 4]


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
