"""Every classifier of torchvision: its graph gives what the network gives, and its map is finite and adds up."""

from __future__ import annotations

import pytest
import torch

import networks
from relevance import explanations
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
# Which are read again from a file of their own: the others are only larger.
SMALL = 10_000_000


@pytest.mark.parametrize("name", pretrained.classifiers())
def test_every_classifier_has_its_map(name, tmp_path):
    torch.set_num_threads(1)
    given = networks.case(name)
    # graph_of compares, and refuses what differs.
    assert networks.gap(given) < 1e-3
    for reading, rule in networks.READINGS.items():
        found = explanations.lrp(given.posterior, given.image, given.target, rule=rule)
        assert found.isfinite().all()
        assert found.any()
        arrived, kept, _ = networks.lost(given, rule)
        size = max(1.0, abs(arrived), abs(kept))
        assert arrived + kept == pytest.approx(1, abs=2e-3 * size), reading
    if sum(value.numel() for value in given.posterior.samples.values()) < SMALL:
        given.posterior.save(tmp_path / "one")
        back = Posterior.load(tmp_path / "one", given.posterior.network, device="cpu")
        assert torch.equal(back.logits(given.image), given.posterior.logits(given.image))
