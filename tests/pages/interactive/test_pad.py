from __future__ import annotations

import pytest
import torch

from oracles import random_posterior
from relevance.datasets import reading
from relevance.datasets.dataset import Dataset
from relevance.networks import architectures
from relevance.pages.interactive import pad


def test_the_digits_are_counted_as_they_were():
    data = reading.load("digits", device="cpu")
    counts = pad.counts_of(data.test_images[:50])
    from sklearn.datasets import load_digits

    wanted = torch.as_tensor(load_digits().images[-len(data.test_images) :][:50] / 16)
    assert torch.equal(counts, wanted)


def test_wrong_input_gets_a_sentence(tiny_data, dense_posterior):
    models = {"a": dense_posterior}
    with pytest.raises(ValueError, match="models are"):
        pad.canvas({}, tiny_data)
    with pytest.raises(ValueError, match="takes images of shape"):
        pad.canvas({"a": random_posterior(architectures.fully_connected((1, 8, 8)), 1)}, tiny_data)
    with pytest.raises(ValueError, match="epsilon_max is 2"):
        pad.canvas(models, tiny_data, epsilon_max=2)
    with pytest.raises(ValueError, match="epsilon is 0.4"):
        pad.canvas(models, tiny_data, epsilon=0.4)
    with pytest.raises(ValueError, match="top_percent is 0"):
        pad.canvas(models, tiny_data, top_percent=0)
    colour = torch.zeros(3, 3, 8, 8)
    labels = torch.tensor([0, 1, 2])
    coloured = Dataset("coloured", colour, labels, colour, labels, ("a", "b", "c"), "made up")
    with pytest.raises(ValueError, match=r"\[1, H, H\]"):
        pad.canvas(models, coloured)
