from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from relevance import inference
from relevance.inference import training

pytestmark = pytest.mark.stochastic


def test_sgd_learns_and_says_what_it_did(small_network, tiny_data):
    before = [value.clone() for value in small_network.parameters()]
    posterior = inference.sgd(small_network, tiny_data, epochs=40, learning_rate=0.01, progress=False)
    assert len(posterior) == 1
    assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.95
    history = posterior.record["history"]
    assert len(history["loss"]) == 40
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["accuracy"][-1] > 0.95
    assert all(itertools.starmap(torch.equal, zip(before, small_network.parameters(), strict=True)))


def test_sgd_is_the_same_for_the_same_seed(small_network, tiny_data):
    first, again, other = (
        inference.sgd(small_network, tiny_data, epochs=2, seed=seed, progress=False).samples["1.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sgd_takes_the_steps_of_adam_on_the_cross_entropy(small_network, tiny_data):
    posterior = inference.sgd(small_network, tiny_data, epochs=3, batch_size=90, learning_rate=0.01, progress=False)
    model = training.initialised(small_network, tiny_data, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):  # a batch of all images, whose order does not count
        optimiser.zero_grad()
        functional.cross_entropy(model(tiny_data.train_images), tiny_data.train_labels).backward()
        optimiser.step()
    for name, value in model.named_parameters():
        assert torch.allclose(posterior.samples[name][0], value, atol=1e-5)


def test_sgd_shuffles(small_network, tiny_data):
    from dataclasses import replace

    order = torch.arange(90).flip(0)
    turned = replace(tiny_data, train_images=tiny_data.train_images[order], train_labels=tiny_data.train_labels[order])
    seen = []
    for data in (tiny_data, turned):
        history = inference.sgd(small_network, data, epochs=1, batch_size=10, progress=False).record["history"]
        seen.append(history["loss"][0])
    # Without shuffling, one set would be the other backwards; with it, both are only other random orders. Either way
    # the losses differ, so what is asked is that the batches are not the file's own.
    model = training.initialised(small_network, tiny_data, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    total = 0.0
    for images, labels in zip(tiny_data.train_images.split(10), tiny_data.train_labels.split(10), strict=True):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        total += loss.item() / 9
    assert abs(seen[0] - total) > 1e-5
    assert seen[0] != seen[1]
