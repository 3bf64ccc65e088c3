"""The chapter on attacks: its tables, figures and sentences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from oracles import OUTCOME_SETTINGS, TWO_RULES, FakeOutcome
from relevance import attacks, explanations, metrics
from relevance.attacks import named
from relevance.attacks.named import Attack
from relevance.explanations.rules import Epsilon
from relevance.networks.posterior import Posterior
from relevance.studies import experiment
from relevance.studies.experiment import Settings

pytestmark = pytest.mark.usefixtures("own_store")


def test_an_outcome_explains_the_clean_class_before_and_after(dense_posterior, some_images, some_labels):
    outcome = experiment.outcome(dense_posterior, some_images, some_labels, Settings(0.5, Epsilon(0.1), 25))
    attacked = attacks.fgsm(dense_posterior, some_images, some_labels, 0.5)
    target = dense_posterior.predict(some_images).argmax(1)
    assert not torch.equal(dense_posterior.predict(attacked).argmax(1), target)  # or the test would show nothing
    assert torch.equal(outcome.attacked, attacked)
    for images, maps in ((some_images, outcome.before), (attacked, outcome.after)):
        assert torch.allclose(maps, explanations.lrp(dense_posterior, images, target, rule=Epsilon(0.1)))
    assert torch.equal(outcome.lrp_robustness, metrics.lrp_robustness(outcome.before, outcome.after, 25))


def test_an_attack_has_failed_if_the_class_was_right_and_stayed(outcomes):
    outcome = outcomes["5 samples"]
    for index in range(6):
        clean = outcome.before_probabilities[index].argmax()
        attacked = outcome.after_probabilities[index].argmax()
        assert outcome.failed[index] == (clean == attacked == outcome.labels[index])


def test_averaged_attacks_change_less_than_one_where_samples_disagree():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    up = torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]])
    mixed = torch.tensor([[1.0, 1.0, -1.0, -1.0], [-1.0, -1.0, 1.0, 1.0]])
    images, labels = torch.full((2, 1, 2, 2), 0.5), torch.tensor([0, 1])
    alike = Posterior(network, {"1.weight": torch.stack([up, up])})
    assert experiment.averaged_change(alike, images, labels, 0.2).tolist() == pytest.approx([1, 1])
    # Two of four pixels move together, and the others apart.
    half = Posterior(network, {"1.weight": torch.stack([up, mixed])})
    assert experiment.averaged_change(half, images, labels, 0.2).tolist() == pytest.approx([0.5, 0.5])


def test_the_representative_image_is_usual_among_failed_attacks():
    first = FakeOutcome([True, True, True, True, False], [0.1, 0.5, 0.9, 0.5, 0.5])
    second = FakeOutcome([True, True, True, False, True], [0.2, 0.6, 0.7, 0.6, 0.6])
    assert experiment.representative({"a": first, "b": second}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [({"epsilon": -1}, "epsilon is -1"), ({"top_percent": 0}, "top_percent is 0; it must be a finite number above 0")],
)
def test_bad_settings_get_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        Settings(**{"epsilon": 0.1, "rule": Epsilon(), "top_percent": 20, **change})


def test_zero_gradients_are_flagged(dense_posterior, some_images, some_labels, monkeypatch):
    def gradient(posterior, images, labels):
        found = torch.ones_like(images)
        found[2] = 0
        found[3, 0, 0, 0] = 0
        return found

    monkeypatch.setattr(experiment, "loss_gradient", gradient)
    outcome = experiment.outcome(dense_posterior, some_images, some_labels, OUTCOME_SETTINGS)
    assert outcome.gradient_is_zero.tolist() == [False, False, True, False, False, False]


def test_the_ceiling_is_the_score_of_a_map_with_itself(outcome_rows, outcomes):
    ceiling = metrics.lrp_robustness(outcomes["5 samples"].before, outcomes["5 samples"].before, 25)
    assert outcome_rows.loc[outcome_rows["model"] == "5 samples", "ceiling_lrp_robustness"].tolist() == ceiling.tolist()
    excess = outcome_rows["lrp_robustness"] - outcome_rows["unrelated_lrp_robustness"]
    assert np.allclose(outcome_rows["excess_lrp_robustness"], excess)


def test_a_gallery_holds_what_the_attacks_give(galleries, dense_posterior, some_images, some_labels):
    found = galleries["five"]
    target = dense_posterior.predict(some_images).argmax(1)
    assert torch.equal(found.target, target)
    assert found.attacks == [
        "random corners", "FGSM", "PGD", "top-k", "top-k as written", "target region", "target map",
    ]  # fmt: skip
    assert torch.equal(found.images["clean"], some_images)
    assert torch.equal(found.images["FGSM"], attacks.fgsm(dense_posterior, some_images, some_labels, 0.2))
    for name, images in found.images.items():
        assert (images - some_images).abs().max() <= 0.2 + 1e-12
        maps = explanations.lrp(dense_posterior, images, target, rule=Epsilon(0.1))
        assert torch.allclose(found.maps[name], maps)
    table = found.table()
    overlap = metrics.lrp_robustness(found.maps["clean"], found.maps["top-k"], 25).mean().item()
    assert table.loc["top-k", "overlap"] == pytest.approx(overlap)
    assert (table.loc[["top-k", "top-k as written", "target region", "target map"], "same class"] == 1).all()
    region = attacks.random_region((1, 4, 4), 25, 1)
    reached = [(found.maps[name] * region).flatten(1).sum(1).mean().item() for name in ("clean", "target region")]
    assert table.loc["target region", ["aim, clean", "aim, attacked"]].tolist() == pytest.approx(reached)
    assert reached[1] > reached[0]
    assert table.loc["target map", "aim, attacked"] < table.loc["target map", "aim, clean"]
    assert table["linf"].max() <= 0.2 + 1e-12
    with pytest.raises(ValueError, match="attack is 'none'; it may be one of: FGSM, PGD, random corners"):
        found.scores("none")


def measured(posterior, images, labels, kind, epsilon=0.1, **settings):
    attack = Attack(kind, epsilon, **settings)
    return experiment.rows(posterior, images, labels, attack=attack, rules=TWO_RULES, layers=["1", "3", "5"])


def test_a_row_for_each_rule_layer_and_image(dense_posterior, some_images, some_labels):
    table = measured(dense_posterior, some_images, some_labels, "FGSM")
    assert len(table) == 2 * 3 * 6
    assert not table.duplicated(["rule", "layer", "image"]).any()
    # What happened to the prediction does not depend on what is explained.
    assert (
        (table.groupby("image")[["softmax_robustness", "attacked_class", "attack_linf"]].nunique() == 1)
        .to_numpy()
        .all()
    )
    assert np.allclose(table["excess_lrp_robustness"], table["lrp_robustness"] - table["unrelated_lrp_robustness"])


def test_the_last_layer_under_fgsm_is_what_attack_and_explain_gives(dense_posterior, some_images, some_labels):
    table = measured(dense_posterior, some_images, some_labels, "FGSM")
    settings = experiment.Settings(0.1, TWO_RULES["epsilon"], 20)
    wanted = experiment.outcome(dense_posterior, some_images, some_labels, settings).table()
    rows = table[(table["rule"] == "epsilon") & (table["layer"] == "5")].reset_index(drop=True)
    for column in ("lrp_robustness", "unrelated_lrp_robustness", "softmax_robustness", "attacked_class", "attack_linf"):
        assert np.allclose(rows[column], wanted[column]), column


@pytest.mark.parametrize("layer", ["1", "3"])
def test_inner_layers_are_the_maps_of_their_activations(dense_posterior, some_images, some_labels, layer):
    table = measured(dense_posterior, some_images, some_labels, "FGSM")
    attacked = attacks.fgsm(dense_posterior, some_images, some_labels, 0.1)
    target = dense_posterior.predict(some_images).argmax(1)
    before, after = (
        explanations.lrp(dense_posterior, x, target, rule=TWO_RULES["gamma"], layer=layer)
        for x in (some_images, attacked)
    )
    rows = table[(table["rule"] == "gamma") & (table["layer"] == layer)]
    assert np.allclose(rows["lrp_robustness"], metrics.lrp_robustness(before, after, 20))


@pytest.mark.parametrize("kind", named.KINDS)
def test_every_attack_stays_in_its_ball_and_moves(dense_posterior, some_images, some_labels, kind):
    table = measured(dense_posterior, some_images, some_labels, kind, 0.05, n_steps=2)
    assert (table["attack_linf"] <= 0.05 + 1e-9).all()
    assert (table["attack_linf"] > 0).any()
    assert (table["attack"] == kind).all()


def test_a_saturated_network_is_said_to_leave_nothing_to_follow(dense_posterior, some_images):
    sure = {name: 1e4 * value if name.startswith("5") else value for name, value in dense_posterior.samples.items()}
    saturated = Posterior(dense_posterior.network, sure)[:1]
    labels = saturated.predict(some_images).argmax(1)
    by_entropy = measured(saturated, some_images, labels, "FGSM")
    by_margin = measured(saturated, some_images, labels, "FGSM", objective="margin")
    assert by_entropy["gradient_is_zero"].all()
    assert (by_entropy["attack_linf"] == 0).all()
    assert not by_margin["gradient_is_zero"].any()
    assert (by_margin["attack"] == "FGSM on the margin").all()
