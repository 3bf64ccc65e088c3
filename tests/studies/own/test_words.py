"""Sentences on a reader's own scores: the words follow the numbers."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from oracles import random_posterior
from relevance.datasets.dataset import Dataset
from relevance.networks import architectures
from relevance.studies.own import words
from relevance.studies.own.scores import ATTACKED, ONE, WHOLE, Scored

EMPTY = torch.zeros(4, 1, 2, 2)
SPREAD = [-0.02, 0.02, -0.01, 0.01]


def scored(attack, floor, noise, n_samples=5):
    rows = pd.concat([
        pd.DataFrame({"image": range(4), "kept": 1.0, "after": name, "robustness": [value + off for off in SPREAD],
                      "floor": floor})
        for name, value in ((ATTACKED, attack), ("noise", noise))
    ], ignore_index=True)  # fmt: skip
    return Scored(EMPTY, {}, EMPTY, {}, rows, n_samples)


@pytest.mark.parametrize(
    ("attack", "floor", "noise", "said"),
    [
        (0.7, 0.3, 0.9, ["holds in part: 0.70", "score 0.30", "leaves 0.90, more."]),
        (0.7, 0.3, 0.7, ["holds in part", "leaves 0.70, about as much: the attack does no more than noise."]),
        (0.3, 0.3, 0.9, ["the map is lost: 0.30"]),
    ],
)
def test_the_answer_follows_the_table(attack, floor, noise, said):
    told = words.answer({WHOLE: scored(attack, floor, noise)})
    assert all(part in told for part in said), told


@pytest.mark.parametrize(("one", "word"), [(0.5, "is steadier"), (0.9, "is less steady"), (0.7, "is no steadier")])
def test_averaging_is_said_by_its_direction(one, word):
    told = words.averaging({WHOLE: scored(0.7, 0.3, 0.9), ONE: scored(one, 0.3, 0.9, 1)})
    assert word in told
    assert "5 samples" in told


def test_one_sample_has_nothing_to_average():
    assert "nothing to average" in words.averaging({WHOLE: scored(0.7, 0.3, 0.9, 1)})


def test_chains_are_said_to_have_mixed_or_not():
    network = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=3)
    images = torch.rand((100, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.arange(100) % 3
    data = Dataset("tiny", images, labels, images, labels, ("a", "b", "c"), "made up")
    mixed, short = random_posterior(network, 900), random_posterior(network, 20)
    robustness, floor = torch.tensor([0.7, 0.72]), torch.tensor([0.3, 0.31])
    told = words.given(mixed, data, 3, robustness, floor)
    assert "above the floor of 0.3" in told
    assert "The chains pass" in told
    assert "said of the posterior" in told
    told = words.given(short, data, 2, floor, floor)
    assert "no more than the floor" in told
    assert "do not pass" in told
    assert "these draws, not of the posterior" in told
