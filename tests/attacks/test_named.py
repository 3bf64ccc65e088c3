from __future__ import annotations

import pytest
import torch

from oracles import TWO_RULES
from relevance import explanations
from relevance.attacks import named
from relevance.attacks.named import Attack
from relevance.base import balls


def test_each_rule_has_its_own_attack_on_explanations(dense_posterior, some_images, some_labels):
    attack = Attack("top-k", 0.1, n_steps=3)
    found = [named.perturbed(dense_posterior, some_images, some_labels, attack, rule) for rule in TWO_RULES.values()]
    assert not torch.equal(found[0]["images"], found[1]["images"])


def test_the_target_map_is_that_of_another_image(dense_posterior, some_images, some_labels, monkeypatch):
    given = {}
    monkeypatch.setattr(named, "target_map", lambda *case, **settings: given.update(settings) or case[1])
    named.perturbed(dense_posterior, some_images, some_labels, Attack("target map", 0.1), TWO_RULES["epsilon"])
    target = dense_posterior.predict(some_images).argmax(1)
    own = explanations.lrp(dense_posterior, some_images, target, rule=TWO_RULES["epsilon"])
    nearest = torch.cdist(given["target_maps"].flatten(1), own.flatten(1)).argmin(1)
    assert sorted(nearest.tolist()) == list(range(6))
    assert (nearest != torch.arange(6)).all()


def test_noise_is_the_corners_of_the_ball(dense_posterior, some_images, some_labels):
    found = named.perturbed(dense_posterior, some_images, some_labels, Attack("noise", 0.1, seed=3), None)
    assert torch.equal(found["images"], balls.random_corners(some_images, 0.1, "linf", 3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "DeepFool", "epsilon": 0.1}, "kind is 'DeepFool'; it may be one of: FGSM, PGD"),
        ({"kind": "PGD", "epsilon": -0.1}, "epsilon is -0.1; it must be"),
        ({"kind": "PGD", "epsilon": 0.1, "objective": "hinge"}, "objective is 'hinge'; it may be one of"),
    ],
)
def test_bad_attacks_get_a_sentence(given, message):
    with pytest.raises(ValueError, match=message):
        Attack(**given)
