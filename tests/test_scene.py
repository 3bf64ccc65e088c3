"""A scene shows what the library computes, remembers it, and packs it for a page without loss of the scores."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from dataclasses import replace
from html import unescape
from itertools import product

import numpy as np
import pytest
import torch

from relevance import attacks, explanations, figures, grid, measure, paper, robustness, studies
from relevance.scene import ATTACKS, BLIND, MODELS, Choice, Scene

SMALL = studies.Study(
    "digits", n_train=200, hidden=8, epochs=3, n_draws=4, n_samples=(2,), inference={"warmup": 4, "n_steps": 4}
)
GRID = {
    "images": (0, 2), "n_samples": (1, 4), "attacks": ("FGSM", "top-k"), "sizes": (0.05, 0.2), "rules": ("epsilon", "gamma"),
    "top_percents": (10, 30),
}  # fmt: skip


@pytest.fixture(scope="module")
def scene():
    return Scene(SMALL, n_images=3)


def test_a_view_is_what_the_library_computes(scene):
    choice = Choice(1, studies.BAYESIAN, 4, "FGSM", 0.15, "gamma", "3", 30)
    view = scene.view(choice)
    posterior = scene.study.trained[studies.BAYESIAN]
    image, label = scene.images[1][None], scene.labels[1][None]
    attacked = attacks.fgsm(posterior, image, label, 0.15)
    target = posterior.predict(image).argmax(1)
    before, after = (
        explanations.lrp(posterior, x, target, rule=paper.RULES["gamma"], layer="3") for x in (image, attacked)
    )
    assert torch.equal(view.attacked, attacked[0])
    assert torch.allclose(view.before, before[0], atol=1e-6)
    assert torch.allclose(view.after, after[0], atol=1e-6)
    assert view.explained == target.item()
    assert view.lrp_robustness == pytest.approx(robustness.lrp_robustness(before, after, 30).item())
    both = torch.cat([posterior.predict(image), posterior.predict(attacked)])
    assert torch.allclose(view.probabilities, both, atol=1e-6)
    assert view.softmax_robustness == pytest.approx(1 - (both[0] - both[1]).abs().max().item(), abs=1e-6)
    others = explanations.lrp(
        posterior, scene.images, posterior.predict(scene.images).argmax(1), rule=paper.RULES["gamma"], layer="3"
    )[[0, 2]]
    unrelated = [robustness.lrp_robustness(other[None], after, 30).item() for other in others]
    assert view.unrelated == pytest.approx(np.mean(unrelated))


def test_every_attack_stays_in_its_ball_and_noise_follows_nothing(scene):
    for attack in ATTACKS:
        view = scene.view(Choice(attack=attack, epsilon=0.07))
        assert (view.attacked - view.image).abs().max() <= 0.07 + 1e-6
        assert view.attacked.min() >= 0
        assert view.attacked.max() <= 1


def test_a_change_computes_only_what_depends_on_it(scene, monkeypatch):
    start = Choice(0, studies.BAYESIAN, 2, "PGD", 0.11)
    scene.view(start)
    calls = []
    original = measure.perturbed
    monkeypatch.setattr(measure, "perturbed", lambda *given: calls.append(given) or original(*given))
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
            {"model": studies.BAYESIAN, "n_samples": 5},
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


def test_the_figure_has_a_panel_for_each_thing(scene):
    figure = figures.scene(scene.view(Choice()), scene.study.data.classes, 20)
    assert [axis.get_title() for axis in figure.axes] == [*figures.SCENE_TITLES, "probability"]


def packed(html):
    spec = json.loads(unescape(re.search(r'data-spec="([^"]*)"', html)[1]))
    return spec, gzip.decompress(b64decode(re.search(r'data-views="([^"]*)"', html)[1]))


def test_a_page_holds_every_combination(scene):
    html = grid.page(scene, **GRID).data
    spec, block = packed(html)
    assert spec["axes"]["model"] == [
        "deterministic",
        "adversarially trained",
        "Bayesian, 1 sample",
        "Bayesian, 4 samples",
    ]
    assert [len(values) for values in spec["axes"].values()] == [2, 4, 2, 2, 2, 3, 2]
    # Read from the end: the last state's last layer has, for each percentage, a bit for each pixel and two scores.
    pixels = 28 * 28
    last = block[-2 * (pixels // 8 + 4) :]
    for part, percent in zip((last[: pixels // 8 + 4], last[pixels // 8 + 4 :]), (10, 30), strict=True):
        view = scene.view(Choice(2, studies.BAYESIAN, 4, "top-k", 0.2, "gamma", "5", percent))
        found = np.frombuffer(part[-4:], "<u2") / 65535
        assert found == pytest.approx([view.lrp_robustness, view.unrelated], abs=1e-5)
        on_top = np.unpackbits(np.frombuffer(part[:-4], np.uint8), bitorder="little")
        assert on_top.astype(bool).tolist() == (robustness.top_share(view.after[None], percent)[0] == 1).tolist()


def test_a_page_is_the_same_each_time(scene):
    small = {**GRID, "images": (1,), "rules": ("epsilon",), "layers": ("5",)}
    assert grid.page(scene, **small).data == grid.page(Scene(SMALL, n_images=3), **small).data


def test_a_page_that_is_too_large_or_has_no_choice_gets_a_sentence(scene, monkeypatch):
    with pytest.raises(ValueError, match="sizes is empty; a page needs at least one choice of each kind"):
        grid.page(scene, sizes=())
    with pytest.raises(ValueError, match="'size' is not a setting here"):
        grid.page(scene, size=(0.1,))
    monkeypatch.setattr(grid, "LARGEST", 1e4)
    with pytest.raises(ValueError, match=r"the playground is \d.\d MB; it may be 0.0 MB: give fewer choices"):
        grid.page(scene, **GRID)


def test_models_are_those_of_the_study():
    assert set(MODELS) == set(SMALL.trained)
    assert list(product(MODELS, [1])) == grid.Grid(n_samples=(1,)).variants
