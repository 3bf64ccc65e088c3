"""Classifiers of torchvision: the graph gives what the network gives, and the map is finite and adds up.

Those with fewer weights: the others are only larger. ``benchmarks/networks.py`` measures all of them.
"""

from __future__ import annotations

import pytest
import torch

import networks
from relevance import explanations
from relevance.datasets.reading import import_torchvision
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior

import_torchvision()
from torchvision import models  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
LARGE = 30_000_000
NAMES = [name for name in pretrained.classifiers() if models.get_model_weights(name).DEFAULT.meta["num_params"] < LARGE]


@pytest.mark.parametrize("name", NAMES)
def test_a_classifier_has_its_map(name, tmp_path):
    torch.set_num_threads(1)
    given = networks.case(name)
    given.posterior.save(tmp_path / "one")
    back = Posterior.load(tmp_path / "one", given.posterior.network, device="cpu")
    assert torch.equal(back.logits(given.image), given.posterior.logits(given.image))
    # Roundings of single precision grow from layer to layer.
    samples = {key: value.double() for key, value in given.posterior.samples.items()}
    image = given.image.double()
    posterior = Posterior(given.posterior.network.double(), samples)
    logits = posterior.logits(image)[0]
    twice = networks.Case(posterior, image, given.target, logits.gather(1, given.target[:, None])[:, 0])
    # graph_of compares, and refuses what differs.
    assert networks.gap(twice) < 1e-6
    for reading, rule in networks.READINGS.items():
        found = explanations.lrp(posterior, image, given.target, rule=rule)
        assert found.isfinite().all()
        assert found.any()
        arrived, kept, _ = networks.lost(twice, rule)
        size = max(1.0, abs(arrived), abs(kept))
        assert arrived + kept == pytest.approx(1, abs=1e-6 * size), reading
