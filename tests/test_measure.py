"""Tables of attacks, rules, layers and images: the same numbers as by hand, and what cannot move is said not to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from relevance import attacks, datasets, experiments, explanations, measure, robustness, studies
from relevance.attacks import ball
from relevance.explanations import Epsilon, Gamma
from relevance.measure import Attack
from relevance.posterior import Posterior

RULES = {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1)}


def measured(posterior, images, labels, kind, epsilon=0.1, **settings):
    attack = Attack(kind, epsilon, **settings)
    return measure.measured(posterior, images, labels, attack=attack, rules=RULES, layers=["1", "3", "5"])


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
    settings = experiments.Settings(0.1, RULES["epsilon"], 20)
    wanted = experiments.attack_and_explain(dense_posterior, some_images, some_labels, settings).table()
    rows = table[(table["rule"] == "epsilon") & (table["layer"] == "5")].reset_index(drop=True)
    for column in ("lrp_robustness", "unrelated_lrp_robustness", "softmax_robustness", "attacked_class", "attack_linf"):
        assert np.allclose(rows[column], wanted[column]), column


@pytest.mark.parametrize("layer", ["1", "3"])
def test_inner_layers_are_the_maps_of_their_activations(dense_posterior, some_images, some_labels, layer):
    table = measured(dense_posterior, some_images, some_labels, "FGSM")
    attacked = attacks.fgsm(dense_posterior, some_images, some_labels, 0.1)
    target = dense_posterior.predict(some_images).argmax(1)
    before, after = (
        explanations.lrp(dense_posterior, x, target, rule=RULES["gamma"], layer=layer) for x in (some_images, attacked)
    )
    rows = table[(table["rule"] == "gamma") & (table["layer"] == layer)]
    assert np.allclose(rows["lrp_robustness"], robustness.lrp_robustness(before, after, 20))


@pytest.mark.parametrize("kind", measure.KINDS)
def test_every_attack_stays_in_its_ball_and_moves(dense_posterior, some_images, some_labels, kind):
    table = measured(dense_posterior, some_images, some_labels, kind, 0.05, n_steps=2)
    assert (table["attack_linf"] <= 0.05 + 1e-9).all()
    assert (table["attack_linf"] > 0).any()
    assert (table["attack"] == kind).all()


def test_each_rule_has_its_own_attack_on_explanations(dense_posterior, some_images, some_labels):
    attack = Attack("top-k", 0.1, n_steps=3)
    found = [measure.perturbed(dense_posterior, some_images, some_labels, attack, rule) for rule in RULES.values()]
    assert not torch.equal(found[0]["images"], found[1]["images"])


def test_the_target_map_is_that_of_another_image(dense_posterior, some_images, some_labels, monkeypatch):
    given = {}
    monkeypatch.setattr(attacks, "target_map", lambda *case, **settings: given.update(settings) or case[1])
    measure.perturbed(dense_posterior, some_images, some_labels, Attack("target map", 0.1), RULES["epsilon"])
    target = dense_posterior.predict(some_images).argmax(1)
    own = explanations.lrp(dense_posterior, some_images, target, rule=RULES["epsilon"])
    nearest = torch.cdist(given["target_maps"].flatten(1), own.flatten(1)).argmin(1)
    assert sorted(nearest.tolist()) == list(range(6))
    assert (nearest != torch.arange(6)).all()


def test_noise_is_the_corners_of_the_ball(dense_posterior, some_images, some_labels):
    found = measure.perturbed(dense_posterior, some_images, some_labels, Attack("noise", 0.1, seed=3), None)
    assert torch.equal(found["images"], ball.random_corners(some_images, 0.1, "linf", 3))


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


SMALL = {
    "n_train": 60,
    "n_images": 12,
    "hidden": 8,
    "epochs": 2,
    "adversarial": {"n_steps": 1},
    "inference": {"warmup": 2, "n_steps": 2},
    "n_draws": 4,
    "n_samples": (2, 4),
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    return studies.Study("digits", **SMALL)


@pytest.mark.stochastic
def test_a_study_has_all_models_on_the_same_images(study):
    table = study.table(["FGSM", "PGD on the margin"])
    assert list(table["model"].unique()) == ["deterministic", "adversarially trained", "Bayesian, 2", "Bayesian, 4"]
    assert dict(zip(table["model"], table["n_samples"], strict=True))["Bayesian, 4"] == 4
    assert (table.groupby(["model", "attack", "rule", "layer"]).size() == 12).all()
    assert (table.groupby("image")["label"].nunique() == 1).all()
    assert list(table["layer"].unique()) == ["1", "3", "5"]


def test_a_study_finds_its_results_again_and_shares_attacks_between_rules(study, tmp_path, monkeypatch):
    first = study.table(["FGSM"])
    monkeypatch.setattr(measure, "predicted", measure.predicted)  # not kept: cheap
    counted = {"perturbed": 0, "scored": 0}
    folder = tmp_path / "store"
    before = {path.name for path in folder.iterdir() if path.is_dir()}
    again = studies.Study("digits", **SMALL).table(["FGSM"])
    assert {path.name for path in folder.iterdir() if path.is_dir()} == before
    assert first.equals(again)
    study.table(["FGSM"], rules=["epsilon", "gamma"])
    new = [name for name in (path.name for path in folder.iterdir() if path.is_dir()) if name not in before]
    for name in new:
        counted[name.split("-")[0]] = counted.get(name.split("-")[0], 0) + 1
    # Gamma's maps and scores of four models are new; the attacked images are epsilon's.
    assert counted == {"perturbed": 0, "scored": 4, "layer_maps": 4}


def test_attacks_have_the_paper_s_settings_by_their_names(study):
    top_k, on_margin, beta = study.attacks(["top-k", "PGD on the margin", "target map"])
    assert (top_k.n_steps, top_k.step_size, top_k.top_percent) == (10, 0.5, 20)
    assert (on_margin.kind, on_margin.objective) == ("PGD", "margin")
    assert (beta.n_steps, beta.step_size) == (10, 0.01)
    with pytest.raises(ValueError, match="attack is 'fgsm'; it may be one of: FGSM"):
        study.attacks(["fgsm"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "vgg"}, "architecture is 'vgg'; it may be one of: convolutional, fully_connected, resnet20"),
        ({"method": "sgld"}, "method is 'sgld'; it may be one of: hmc, variational"),
        ({"n_samples": (5,)}, "n_samples is 5; it must be a whole number of at least 1 and at most 4"),
    ],
)
def test_bad_studies_get_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        studies.Study("digits", **(SMALL | change))


@pytest.mark.stochastic
def test_a_convolutional_study_by_variational_inference(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    settings = SMALL | {"inference": {"prior_scale": 0.1}, "hidden": 2, "n_samples": (4,)}
    table = studies.Study("digits", "convolutional", "variational", **settings).table(["noise"], models=["Bayesian, 4"])
    assert list(table["layer"].unique()) == ["0", "3", "7"]
    assert datasets.load("digits").image_shape == (1, 28, 28)
