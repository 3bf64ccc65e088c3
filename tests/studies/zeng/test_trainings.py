"""Distillation, Jacobian regularisation, their ensembles, and alignment, against closed forms and on digits."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from relevance import inference
from relevance.metrics import alignment as metrics_alignment
from relevance.metrics.alignment import alignment
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.zeng import source, trainings

pytestmark = [pytest.mark.stochastic, pytest.mark.usefixtures("own_store")]


def test_the_attack_in_training_stays_in_its_euclidean_ball(digits, trained):
    record = trained[1]["PGD-l2 2.5"].record["settings"]
    assert record["norm"] == "l2"
    assert record["epsilon"] == pytest.approx(2.5 * math.sqrt(digits.train_images[0].numel() / 3072))


# Ensembles


@pytest.mark.parametrize("method", ["standard", "PGD", "distillation", "Jacobian"])
def test_every_training_can_be_a_member_of_an_ensemble(tiny_data, method):
    network = architectures.fully_connected(tiny_data.image_shape, 8, 3)
    setting = source.Setting(method, "l2", 0.5, 2, temperature=5.0, strength=0.5)
    train = partial(train_with, setting, network, tiny_data)
    found = trainings.ensemble_of(train, 3, seed=4)
    assert len(found) == 3
    images = tiny_data.test_images
    for index in range(3):
        torch.testing.assert_close(found[index].logits(images), train(4 + index).logits(images))
    assert not torch.equal(found.samples["1.weight"][0], found.samples["1.weight"][1])
    assert [one["settings"]["seed"] for one in found.record["members"]] == [4, 5, 6]


def train_with(setting, network, data, seed):
    return trainings.trained(setting, network, data, epochs=2, seed=seed, progress=False)


def test_an_ensemble_of_standard_training_is_a_deep_ensemble(tiny_data):
    network = architectures.fully_connected(tiny_data.image_shape, 8, 3)
    found = trainings.ensemble_of(partial(train_with, source.Setting("standard"), network, tiny_data), 2)
    wanted = inference.deep_ensemble(network, tiny_data, epochs=2, n_samples=2, progress=False)
    for name, values in wanted.samples.items():
        assert torch.equal(found.samples[name], values)


def test_members_keep_their_own_statistics_of_batch_norm(tiny_data, tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    train = partial(train_with, source.Setting("standard"), network, tiny_data)
    found = trainings.ensemble_of(train, 2)
    images = tiny_data.test_images
    wanted = torch.cat([train(seed).logits(images) for seed in (0, 1)])
    torch.testing.assert_close(found.logits(images), wanted)
    found.save(tmp_path / "kept.safetensors")
    loaded = Posterior.load(tmp_path / "kept.safetensors", network)
    torch.testing.assert_close(loaded.logits(images), wanted)


def test_what_is_unknown_gets_one_sentence(tiny_data, dense_posterior, some_images, some_labels):
    network = architectures.fully_connected(tiny_data.image_shape, 8, 3)
    with pytest.raises(ValueError, match="names is 'PGD-l2 3'; it may be one of"):
        source.settings(["PGD-l2 3"])
    with pytest.raises(ValueError, match="norm is 'l1'"):
        source.scaled_epsilon(1.0, "l1", (1, 2, 2))
    with pytest.raises(ValueError, match="method is 'TRADES'"):
        trainings.trained(source.Setting("TRADES"), network, tiny_data, epochs=1)
    with pytest.raises(ValueError, match=f"seed is {2**63 - 1}; it must be .* at most {2**63 - 3}"):
        trainings.ensemble_of(lambda seed: pytest.fail("a member is trained"), 3, seed=2**63 - 1)
    with pytest.raises(ValueError, match="member 0 has 5 samples"):
        trainings.ensemble_of(lambda seed: dense_posterior, 2)
    with pytest.raises(ValueError, match="training gave a float"):
        trainings.ensemble_of(lambda seed: 1.0, 2)
    with pytest.raises(ValueError, match="of is 'loss'"):
        alignment(dense_posterior, some_images, some_labels, "loss")
    with pytest.raises(ValueError, match="n_radii is 1"):
        metrics_alignment.distance(dense_posterior, some_images, some_labels, n_radii=1)
