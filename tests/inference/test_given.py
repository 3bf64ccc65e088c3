"""Chains of other libraries: certified as the library's own are, by the same numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from oracles import random_posterior
from relevance import inference
from relevance.datasets.dataset import Dataset
from relevance.inference import given
from relevance.networks import architectures

NETWORK = architectures.fully_connected((1, 4, 4), hidden=3, n_classes=3).double()
IMAGES = torch.rand((6, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
DATA = Dataset("tiny", IMAGES, LABELS, IMAGES, LABELS, ("a", "b", "c"), "made up")
DRAWS = random_posterior(NETWORK, n_samples=900)


def test_independent_draws_are_certified_and_moved_chains_are_not():
    found = inference.certify(given.chains(DRAWS, 3, start="prior"), DATA, n_images=6)
    assert found.word == "certified"
    assert (found.n_draws, found.starts, found.n_gradients) == (900, ["prior"] * 3, 0)
    assert found.mixing["energy"].constant == found.mixing["energy"].values == 1
    apart = {
        name: value + (torch.arange(900) >= 600).reshape(-1, *[1] * (value.ndim - 1))
        for name, value in DRAWS.samples.items()
    }
    assert inference.certify(given.chains(replace(DRAWS, samples=apart), 3), DATA, n_images=6).word == "not converged"


def test_energies_are_looked_at():
    jumps = torch.arange(900.0) // 300
    found = inference.certify(given.chains(DRAWS, 3, energies=jumps, n_gradients=70, seconds=2.0), DATA, n_images=6)
    assert found.word == "not converged"
    assert found.mixing["energy"].rhat > 2
    assert (found.n_gradients, found.seconds) == (70, 2.0)


def test_the_record_keeps_what_was_known():
    known = replace(DRAWS, record={"method": "nuts", "library": "pyro"})
    record = given.chains(known, 2).record
    assert (record["method"], record["drawn by"], record["library"]) == ("hmc", "nuts", "pyro")
    assert known.record == {"method": "nuts", "library": "pyro"}


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"n_chains": 7}, "n_chains is 7; it must divide the 900 draws"),
        ({"n_chains": 0}, "n_chains is 0"),
        ({"n_chains": 2, "energies": [1.0]}, r"energies is .*; it must be a list of 900 numbers"),
        ({"n_chains": 2, "energies": torch.full((900,), torch.nan)}, "an item of energies is nan"),
        ({"n_chains": 2, "seconds": -1}, "seconds is -1"),
        ({"n_chains": 2, "n_gradients": -1}, "n_gradients is -1"),
        ({"n_chains": 2, "start": "zero"}, "start is 'zero'"),
    ],
)
def test_what_are_no_chains_is_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        given.chains(DRAWS, **settings)
