"""What chapters turn: figures, texts and readings agree with the library's own numbers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from conftest import random_posterior
from relevance import (
    controls,
    experiments,
    explanations,
    manipulation,
    measure,
    networks,
    paper,
    removal,
    roar,
    studies,
    turns,
)
from relevance.explanations import Epsilon, Gamma
from relevance.measure import Attack


@pytest.fixture
def models(dense_posterior):
    return {"all": dense_posterior, "one": dense_posterior.thinned(1)}


@pytest.fixture
def look(models, some_images, some_labels):
    rules = {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1)}
    attacks = {"FGSM": Attack("FGSM", 0.1), "top-k": Attack("top-k", 0.1, n_steps=2)}
    return turns.Look(models, some_images, some_labels, ("a", "b", "c"), attacks, rules, ("1", "3", "5"), index=2)


def test_a_look_says_what_the_experiment_measures(look, models, some_images, some_labels):
    settings = experiments.Settings(0.2, Epsilon(0.1), 20)
    for name, model in models.items():
        whole = experiments.attack_and_explain(model, some_images, some_labels, settings)
        seen, unrelated = look.seen(model=name, attack_size=0.2)
        assert torch.equal(seen.attacked[0], whole.attacked[2])
        assert torch.allclose(seen.before[0], whole.before[2])
        assert torch.allclose(seen.after[0], whole.after[2], atol=1e-12)
        said = look.reading(model=name, attack_size=0.2)
        assert f"LRP robustness {whole.lrp_robustness[2]:.2f};" in said
        assert f"Softmax robustness {whole.softmax_robustness[2]:.2f}." in said
        others = [0, 1, 3, 4, 5]
        scores = [
            experiments.robustness.lrp_robustness(whole.before[other][None], whole.after[2][None], 20).item()
            for other in others
        ]
        assert unrelated == pytest.approx(sum(scores) / len(scores))


def test_a_look_s_choices_are_those_of_the_functions_below(look, models, some_images, some_labels):
    seen, _ = look.seen(attack="top-k", rule="gamma", layer="3")
    how = Attack("top-k", 0.1, n_steps=2)
    found = measure.perturbed(models["all"], some_images, some_labels, how, Gamma(0.1))["images"]
    target = models["all"].predict(some_images).argmax(1)
    after = explanations.lrp(models["all"], found, target, rule=Gamma(0.1), layer="3")
    assert torch.equal(seen.attacked[0], found[2])
    assert torch.allclose(seen.after[0], after[2], atol=1e-12)


def test_a_look_turns(look):
    axes = {"attack_size": [0, 0.1], "model": ["all", "one"], "layer": ["1", "5"]}
    made = controls.turning(look.figure, axes, caption="c", alt=look.alt, reading=look.reading).data
    assert made.count("With attack size") == 9  # eight texts, and that of the start
    assert plt.get_fignums() == []


def test_what_a_look_does_not_know_is_refused(look):
    with pytest.raises(ValueError, match="model is 'two'; it may be one of: all, one"):
        look.seen(model="two")
    with pytest.raises(ValueError, match="layer is '2'; it may be one of: 1, 3, 5"):
        look.seen(layer="2")


def test_a_study_s_look_finds_what_its_table_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    study = studies.Study(
        "digits", n_train=50, n_images=10, hidden=4, epochs=1, adversarial={"n_steps": 1},
        inference={"warmup": 2, "n_steps": 2}, n_draws=3, n_samples=(3,),
    )  # fmt: skip
    table = study.table(["FGSM", "top-k"], rules=["epsilon"])
    look = turns.of_study(study, ["FGSM", "top-k"])
    rows = table[(table["layer"] == study.layers[-1]) & (table["image"] == look.index)]
    monkeypatch.setattr(measure.attacks, "fgsm", None)  # nothing is attacked anew
    monkeypatch.setattr(measure.attacks, "top_k", None)
    for row in rows.itertuples():
        seen, _ = look.seen(model=row.model, attack=row.attack)
        assert seen.lrp_robustness.item() == pytest.approx(row.lrp_robustness, abs=1e-6)


def test_sizes_hold_the_chapter_s_own():
    assert turns.sizes(0.1, (0.5, 2)) == [0.05, 0.1, 0.2]
    assert turns.sizes(0, (0.5,)) == [0, 0.05]


def test_rules_are_turned_by_their_parameters(dense_posterior, some_images):
    target = dense_posterior.predict(some_images).argmax(1)
    ruled = turns.Ruled(dense_posterior, some_images[:2], target[:2], ["a", "b"])
    logits = dense_posterior.logits(some_images[:2]).mean(0).gather(1, target[:2, None])[:, 0]
    for name, rule in (("epsilon", Epsilon(0.5)), ("alpha-beta", explanations.AlphaBeta(1.5, 0.5))):
        maps = explanations.lrp(dense_posterior, some_images[:2], target[:2], rule=rule)
        first, second = (f"{share:.0%}" for share in (maps.flatten(1).sum(1) / logits).tolist())
        assert f"{first}, {second} of the logit" in ruled.reading(name, 0.5)
    assert set(turns.WITH_PARAMETER) == set(paper.RULES)


def test_manipulations_are_read_from_their_table(dense_posterior, some_images):
    how = manipulation.Manipulation(epsilon=1.0, n_steps=2)
    found = manipulation.cases({"m": dense_posterior}, some_images, ["gradient", "LRP"], how, some_images)
    table = manipulation.table(found)
    led = turns.Manipulated(found, table, 3)
    row = table[(table["method"] == "LRP") & (table["image"] == 3) & (table["change"] == "manipulated")].iloc[0]
    assert f"correlates {row['correlation_target']:.2f} with its target" in led.reading("m", "LRP")
    controls.turning(led.figure, {"model": ["m"], "method": ["gradient", "LRP"]}, caption="c", alt=led.alt)


def test_holes_say_the_accuracies_of_their_share(some_images):
    orders = {name: one.order(some_images[:1], torch.zeros(1))[0] for name, one in roar.BASELINES.items()}
    table = pd.DataFrame(
        [(name, share, seed, accuracy - share * (name == "Sobel") / 2)
         for name in orders for share in (0.0, 0.5) for seed, accuracy in enumerate((0.8, 0.6))],
        columns=["attribution", "share", "seed", "accuracy"],
    )  # fmt: skip
    gaps = turns.Holes(some_images[0], orders, torch.zeros(1, 1, 1), table)
    assert gaps.reading(0.5) == "Test accuracy after retraining: random 0.700, Sobel 0.450."
    assert removal.accuracies(table)["mean"].tolist() == pytest.approx([0.7, 0.7, 0.7, 0.45])
    controls.turning(gaps.figure, {"share_removed": [0.0, 0.5]}, caption="c", alt=gaps.alt, reading=gaps.reading)


def test_a_convolutional_network_s_last_layer_is_asked_for_by_name(some_labels):
    images = torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = random_posterior(networks.convolutional((1, 28, 28), hidden=4, n_classes=3), 2)
    with pytest.raises(ValueError, match="layer"):
        turns.Look({"m": model}, images, some_labels, "abc", {"FGSM": Attack("FGSM", 0.1)}, {"e": Epsilon(0.1)}).seen()
