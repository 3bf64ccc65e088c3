"""A scene shows what the library computes, remembers it, and packs it for a page without loss of the scores."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from oracles import SMALL_STUDY
from relevance import attacks, explanations, metrics
from relevance.attacks import named
from relevance.pages.interactive import scene_page
from relevance.pages.interactive.scene import ATTACKS, BLIND, MODELS, Choice
from relevance.studies import names


def test_a_view_is_what_the_library_computes(scene):
    choice = Choice(1, names.BAYESIAN, 4, "FGSM", 0.15, "gamma", "3", 30)
    view = scene.view(choice)
    posterior = scene.study.trained[names.BAYESIAN]
    image, label = scene.images[1][None], scene.labels[1][None]
    attacked = attacks.fgsm(posterior, image, label, 0.15)
    target = posterior.predict(image).argmax(1)
    before, after = (
        explanations.lrp(posterior, x, target, rule=names.RULES["gamma"], layer="3") for x in (image, attacked)
    )
    assert torch.equal(view.attacked, attacked[0])
    assert torch.allclose(view.before, before[0], atol=1e-6)
    assert torch.allclose(view.after, after[0], atol=1e-6)
    assert view.explained == target.item()
    assert view.lrp_robustness == pytest.approx(metrics.lrp_robustness(before, after, 30).item())
    both = torch.cat([posterior.predict(image), posterior.predict(attacked)])
    assert torch.allclose(view.probabilities, both, atol=1e-6)
    assert view.softmax_robustness == pytest.approx(1 - (both[0] - both[1]).abs().max().item(), abs=1e-6)
    others = explanations.lrp(
        posterior, scene.images, posterior.predict(scene.images).argmax(1), rule=names.RULES["gamma"], layer="3"
    )[[0, 2]]
    unrelated = [metrics.lrp_robustness(other[None], after, 30).item() for other in others]
    assert view.unrelated == pytest.approx(np.mean(unrelated))


def test_every_attack_stays_in_its_ball_and_noise_follows_nothing(scene):
    for attack in ATTACKS:
        view = scene.view(Choice(attack=attack, epsilon=0.07))
        assert (view.attacked - view.image).abs().max() <= 0.07 + 1e-6
        assert view.attacked.min() >= 0
        assert view.attacked.max() <= 1


def test_a_change_computes_only_what_depends_on_it(scene, monkeypatch):
    start = Choice(0, names.BAYESIAN, 2, "PGD", 0.11)
    scene.view(start)
    calls = []
    original = named.perturbed
    monkeypatch.setattr(
        "relevance.pages.interactive.scene.perturbed", lambda *given: calls.append(given) or original(*given)
    )
    for same in (replace(start, top_percent=5), replace(start, rule="gamma"), replace(start, layer="1")):
        scene.view(same)
    assert calls == []
    scene.view(replace(start, epsilon=0.12))
    assert len(calls) == 1


def test_an_attack_without_an_effect_says_so(scene):
    view = scene.view(Choice(attack="FGSM", epsilon=0.1))
    assert BLIND not in view.sentence(scene.study.data.classes)
    assert BLIND in replace(view, blind=True).sentence(scene.study.data.classes)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": 3}, "image is 3; it must be a whole number of at least 0 and at most 2"),
        ({"model": "best"}, "model is 'best'; it may be one of: Bayesian, adversarially trained, deterministic"),
        (
            {"model": names.BAYESIAN, "n_samples": 5},
            "n_samples is 5; it must be a whole number of at least 1 and at most 4",
        ),
        ({"attack": "target map"}, "attack is 'target map'; it may be one of:"),
        ({"epsilon": -1}, "epsilon is -1; it must be a finite number at least 0"),
        ({"rule": "zeta"}, "rule is 'zeta'"),
        ({"layer": "2"}, "layer is '2'; it may be one of: 1, 3, 5"),
        ({"top_percent": 0}, "top_percent is 0"),
    ],
)
def test_wrong_choices_get_a_sentence(scene, wrong, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        scene.view(Choice(**wrong))


def test_models_are_those_of_the_study():
    assert set(MODELS) == set(SMALL_STUDY.trained)
    assert list(product(MODELS, [1])) == scene_page.Grid(n_samples=(1,)).variants
