"""What chapters turn: figures, texts and readings agree with the library's own numbers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
import torch

from oracles import random_posterior
from relevance import explanations, metrics
from relevance.attacks import named
from relevance.attacks.named import Attack
from relevance.explanations.rules import Epsilon, Gamma
from relevance.networks import architectures
from relevance.pages import interactive
from relevance.pages.interactive.turning import turning
from relevance.studies import experiment
from relevance.studies.carbone.study import Study

pytestmark = pytest.mark.usefixtures("own_store")


@pytest.fixture
def models(dense_posterior):
    return {"all": dense_posterior, "one": dense_posterior.thinned(1)}


@pytest.fixture
def look(models, some_images, some_labels):
    rules = {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1)}
    attacks = {"FGSM": Attack("FGSM", 0.1), "top-k": Attack("top-k", 0.1, n_steps=2)}
    return interactive.Look(models, some_images, some_labels, ("a", "b", "c"), attacks, rules, ("1", "3", "5"), index=2)


def test_a_look_says_what_the_experiment_measures(look, models, some_images, some_labels):
    settings = experiment.Settings(0.2, Epsilon(0.1), 20)
    for name, model in models.items():
        whole = experiment.outcome(model, some_images, some_labels, settings)
        seen = look.seen(model=name, attack_size=0.2)
        assert torch.equal(seen.attacked, whole.attacked[2])
        assert torch.allclose(seen.before, whole.before[2])
        assert torch.allclose(seen.after, whole.after[2], atol=1e-12)
        said = look.reading(model=name, attack_size=0.2)
        assert f"Of the top 20 % of the pixels {whole.lrp_robustness[2]:.0%} stay on top;" in said
        assert f"Softmax robustness {whole.softmax_robustness[2]:.2f}." in said
        others = [0, 1, 3, 4, 5]
        scores = [
            metrics.lrp_robustness(whole.before[other][None], whole.after[2][None], 20).item() for other in others
        ]
        assert seen.unrelated == pytest.approx(sum(scores) / len(scores))


def test_a_look_s_choices_are_those_of_the_functions_below(look, models, some_images, some_labels):
    seen = look.seen(attack="top-k", rule="gamma", layer="3")
    how = Attack("top-k", 0.1, n_steps=2)
    found = named.perturbed(models["all"], some_images, some_labels, how, Gamma(0.1))["images"]
    target = models["all"].predict(some_images).argmax(1)
    after = explanations.lrp(models["all"], found, target, rule=Gamma(0.1), layer="3")
    assert torch.equal(seen.attacked, found[2])
    assert torch.allclose(seen.after, after[2], atol=1e-12)


def test_a_look_turns(look):
    axes = {"attack_size": [0, 0.1], "model": ["all", "one"], "layer": ["1", "5"]}
    made = turning(look.figure, axes, caption="c", alt=look.alt, reading=look.reading).data
    assert made.count("With attack size") == 9  # eight texts, and that of the start
    assert plt.get_fignums() == []


def test_what_a_look_does_not_know_is_refused(look):
    with pytest.raises(ValueError, match="model is 'two'; it may be one of: all, one"):
        look.seen(model="two")
    with pytest.raises(ValueError, match="layer is '2'; it may be one of: 1, 3, 5"):
        look.seen(layer="2")


def test_a_study_s_look_finds_what_its_table_computed(monkeypatch):
    study = Study(
        "digits", n_train=50, n_images=10, hidden=4, epochs=1, adversarial={"n_steps": 1},
        inference={"warmup": 2, "n_steps": 2}, n_draws=3, n_samples=(3,),
    )  # fmt: skip
    table = study.table(["FGSM", "top-k"], rules=["epsilon"])
    look = interactive.of_study(study, ["FGSM", "top-k"])
    rows = table[(table["layer"] == study.layers[-1]) & (table["image"] == look.index)]
    monkeypatch.setattr(named, "fgsm", None)  # nothing is attacked anew
    monkeypatch.setattr(named, "top_k", None)
    for row in rows.itertuples():
        seen = look.seen(model=row.model, attack=row.attack)
        assert seen.lrp_robustness == pytest.approx(row.lrp_robustness, abs=1e-6)


def test_sizes_hold_the_chapter_s_own():
    assert interactive.sizes(0.1, (0.5, 2)) == [0.05, 0.1, 0.2]
    assert interactive.sizes(0, (0.5,)) == [0, 0.05]


def test_a_convolutional_network_s_last_layer_is_asked_for_by_name(some_labels):
    images = torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = random_posterior(architectures.convolutional((1, 28, 28), hidden=4, n_classes=3), 2)
    with pytest.raises(ValueError, match="layer"):
        interactive.Look(
            {"m": model}, images, some_labels, "abc", {"FGSM": Attack("FGSM", 0.1)}, {"e": Epsilon(0.1)}
        ).seen()
