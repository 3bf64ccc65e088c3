from __future__ import annotations

import pytest
from torch.nn import functional

from relevance import attacks, inference
from relevance.inference import training
from relevance.inference.adversarial import Settings as AdversarialSettings
from relevance.inference.adversarial import perturbed

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_training_attacks_stay_in_their_ball_and_raise_the_loss(small_network, tiny_data, norm):
    model = training.initialised(small_network, tiny_data, 0)
    images, labels = tiny_data.train_images[:20], tiny_data.train_labels[:20]
    settings = AdversarialSettings(epsilon=0.3, norm=norm, n_steps=7)
    attacked = perturbed(model, images, labels, settings.search)
    difference = (attacked - images).flatten(1)
    size = difference.abs().amax(1) if norm == "linf" else difference.norm(dim=1)
    assert size.max() <= 0.3 + 1e-6
    assert size.min() > 0.1
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    losses = [functional.cross_entropy(model(x), labels) for x in (images, attacked)]
    assert losses[1] > losses[0]
    assert model.training


def test_adversarial_training_withstands_its_own_attack_better(small_network, tiny_data):
    settings = {"epochs": 60, "learning_rate": 0.01, "progress": False}
    plain = inference.sgd(small_network, tiny_data, **settings)
    hardened = inference.adversarial(small_network, tiny_data, **settings, epsilon=0.25, n_steps=5)
    rights = []
    for posterior in (plain, hardened):
        attacked = attacks.pgd(posterior, tiny_data.test_images, tiny_data.test_labels, 0.25, n_steps=20)
        rights.append(posterior.accuracy(attacked, tiny_data.test_labels))
    assert rights[1] > rights[0] + 0.1
