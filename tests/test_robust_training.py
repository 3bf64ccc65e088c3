"""Distillation, Jacobian regularisation, their ensembles, and alignment, against closed forms and on digits."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from relevance import alignment, datasets, figures, inference, networks, trainings
from relevance import robust_training as robust
from relevance.inference.jacobian import penalty
from relevance.posterior import Posterior

pytestmark = pytest.mark.stochastic


def directly(function, *arguments, **settings):
    return function(*arguments, **settings)


@pytest.fixture(scope="module")
def digits():
    return datasets.load("digits").smaller(600, 0)


@pytest.fixture(scope="module")
def trained(digits):
    network = networks.fully_connected(digits.image_shape, 32, 10)
    chosen = robust.settings(["standard", "distillation", "Jacobian", "PGD-l2 2.5", "PGD-linf 16/255"], n_steps=3)
    chosen["Jacobian"] = robust.Setting("Jacobian", strength=2.0)
    # Distillation learns slowly, as its gradients are divided by the temperature.
    with_rate = {"distillation": {"learning_rate": 5e-3}}
    return chosen, {
        name: robust.trained(
            setting, network, digits, epochs=25, batch_size=64, keep=directly, progress=False, **with_rate.get(name, {})
        )
        for name, setting in chosen.items()
    }


@pytest.fixture(scope="module")
def compared(digits, trained):
    images, labels = digits.balanced_test(100, 0)
    size = robust.scaled_epsilon(2.5, "l2", digits.image_shape)
    return trainings.compare(trained[1], images, labels, linf=0.1, l2=size, n_steps=10)


# The penalty


@pytest.fixture
def linear():
    """Logits W x + b of images 1x2x3 and 3 classes."""
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.randn((3, 6), generator=generator, dtype=torch.float64))
    images = torch.rand((5, 1, 2, 3), generator=generator, dtype=torch.float64)
    return network, images, torch.tensor([0, 1, 2, 0, 1])


def test_the_penalty_of_multinomial_regression_has_a_closed_form(linear):
    network, images, labels = linear
    off = network(images).softmax(-1) - nn.functional.one_hot(labels, 3)
    torch.testing.assert_close(penalty(network, images, labels), (off @ network[1].weight).square().sum(1))


def test_the_penalty_is_differentiated_with_respect_to_the_parameters(linear):
    _, images, labels = linear
    torch.manual_seed(0)
    network = networks.fully_connected((1, 2, 3), 4, 3, activation="softplus").double()

    def of_weight(values):
        state = {**dict(network.named_parameters()), "1.weight": values}
        return penalty(lambda x: torch.func.functional_call(network, state, (x,)), images, labels).sum()

    assert torch.autograd.gradcheck(of_weight, (network[1].weight.detach().clone().requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("train", [inference.jacobian, inference.low_curvature])
def test_without_strength_it_is_sgd(tiny_data, train):
    network = networks.fully_connected(tiny_data.image_shape, 8, 3)
    settings = {"epochs": 3, "batch_size": 16, "seed": 3}
    plain = inference.sgd(network, tiny_data, **settings)
    other = train(network, tiny_data, strength=0, **settings)
    for name, values in plain.samples.items():
        torch.testing.assert_close(other.samples[name], values)
    assert other.record["history"]["loss"] == pytest.approx(plain.record["history"]["loss"])
    assert other.record["history"]["accuracy"] == pytest.approx(plain.record["history"]["accuracy"])


def test_batch_norm_keeps_the_images_of_a_batch_apart(tiny_data):
    """Its statistics are trained, and the penalty of an image does not depend on the others."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    found = inference.jacobian(network, tiny_data, epochs=2, progress=False)
    assert dict(found.network.named_buffers())["1.running_mean"].abs().sum() > 0
    images, labels = tiny_data.test_images[:6], tiny_data.test_labels[:6]
    together = penalty(found.network, images, labels)
    alone = torch.cat([penalty(found.network, images[[i]], labels[[i]]) for i in range(6)])
    torch.testing.assert_close(together, alone)


# Distillation


def test_a_student_has_learned_the_soft_labels_at_the_temperature(tiny_data):
    network = networks.fully_connected(tiny_data.image_shape, 16, 3)
    settings = {"epochs": 120, "batch_size": 16, "learning_rate": 5e-3, "progress": False}
    found = {
        name: inference.distillation(network, tiny_data, temperature=20.0, **settings, **more)
        for name, more in {"Papernot": {}, "literal": {"teacher_temperature": 1, "student_temperature": 1}}.items()
    }
    images, labels = tiny_data.test_images, tiny_data.test_labels
    lead = {name: (-attacks_margin(one, images, labels)).median().item() for name, one in found.items()}
    assert all(one.accuracy(images, labels) > 0.9 for one in found.values())
    # Trained at 20, the network has logits that are large; taught by labels that are nearly even, small ones.
    assert lead["Papernot"] > 50
    assert lead["literal"] < 2
    # At least the entropy of the soft labels, which no student can get below.
    assert len(found["Papernot"].record["teacher"]["loss"]) == 120
    assert found["Papernot"].record["settings"]["temperature"] == 20


def attacks_margin(posterior, images, labels):
    from relevance.attacks.objectives import margin

    return margin(posterior.logits(images), labels)


def test_at_temperature_one_a_student_is_a_network_taught_by_probabilities(tiny_data):
    network = networks.fully_connected(tiny_data.image_shape, 8, 3)
    found = inference.distillation(network, tiny_data, temperature=1.0, epochs=60, batch_size=16, progress=False)
    plain = inference.sgd(network, tiny_data, epochs=60, batch_size=16, seed=10_000, progress=False)
    # The teacher is the network that SGD trains with its seed, and the student comes near it.
    assert found.record["teacher"]["loss"] == pytest.approx(plain.record["history"]["loss"])
    images = tiny_data.test_images
    assert (found.predict(images) - plain.predict(images)).abs().max() < 0.1


# On digits


def test_jacobian_regularisation_lowers_the_input_gradient(compared):
    norms = compared["mean gradient"]
    assert norms["Jacobian"] < 0.7 * norms["standard"]
    assert compared.loc["Jacobian", "clean"] > compared.loc["standard", "clean"] - 0.05


def test_adversarial_training_helps_against_an_attack_that_it_was_not_trained_on(compared, trained):
    assert compared.loc["PGD-l2 2.5", "margin linf"] > compared.loc["standard", "margin linf"] + trainings.CLEARLY
    assert compared.loc["PGD-linf 16/255", "margin l2"] > compared.loc["standard", "margin l2"] + trainings.CLEARLY
    assert "**no**" not in trainings.told_transfer(compared, trained[0])


def test_distillation_hides_gradients_and_the_margin_attack_undoes_it(compared):
    standard, distilled = compared.loc["standard"], compared.loc["distillation"]
    assert distilled["zero gradients"] > 0.4 > standard["zero gradients"]
    assert distilled["median gradient"] < standard["median gradient"] / 10
    assert distilled["PGD linf"] > standard["PGD linf"] + 0.3
    assert distilled["margin linf"] < standard["margin linf"] + 0.1
    assert "**undone**" in trainings.told_gradients(compared)


def test_a_smaller_mean_gradient_is_not_told_as_a_smaller_one_of_most_images():
    rows = pd.DataFrame({"mean gradient": [1.0, 0.5], "median gradient": [0.1, 0.2]}, index=["standard", "Jacobian"])
    assert "**not** those of most images" in trainings.told_gradients(rows)
    rows["median gradient"] = [0.1, 0.05]
    assert "**not**" not in trainings.told_gradients(rows)


def test_the_attack_in_training_stays_in_its_euclidean_ball(digits, trained):
    record = trained[1]["PGD-l2 2.5"].record["settings"]
    assert record["norm"] == "l2"
    assert record["epsilon"] == pytest.approx(2.5 * math.sqrt(digits.train_images[0].numel() / 3072))


# Settings


def test_the_source_has_fourteen_settings_of_pgd():
    assert len(robust.TABLE_1) == 14
    assert len(robust.settings()) == 10
    assert [one.name for one in robust.TABLE_1[-2:]] == ["PGD-linf 16/255"] * 2
    assert {one.n_steps for one in robust.TABLE_1} == {20, 40}
    assert robust.settings(["distillation"])["distillation"].temperature == 100


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_a_scaled_radius_changes_each_pixel_as_much_as_the_source_s(shape):
    size = math.prod(shape)
    found = robust.scaled_epsilon(1.5, "l2", shape)
    assert found / math.sqrt(size) == pytest.approx(1.5 / math.sqrt(3072))
    assert robust.scaled_epsilon(8 / 255, "linf", shape) == 8 / 255


# Ensembles


@pytest.mark.parametrize("method", ["standard", "PGD", "distillation", "Jacobian"])
def test_every_training_can_be_a_member_of_an_ensemble(tiny_data, method):
    network = networks.fully_connected(tiny_data.image_shape, 8, 3)
    setting = robust.Setting(method, "l2", 0.5, 2, temperature=5.0, strength=0.5)
    train = partial(train_with, setting, network, tiny_data)
    found = robust.ensemble_of(train, 3, seed=4)
    assert len(found) == 3
    images = tiny_data.test_images
    for index in range(3):
        torch.testing.assert_close(found[index].logits(images), train(4 + index).logits(images))
    assert not torch.equal(found.samples["1.weight"][0], found.samples["1.weight"][1])
    assert [one["settings"]["seed"] for one in found.record["members"]] == [4, 5, 6]


def train_with(setting, network, data, seed):
    return robust.trained(setting, network, data, epochs=2, seed=seed, keep=directly, progress=False)


def test_an_ensemble_of_standard_training_is_a_deep_ensemble(tiny_data):
    network = networks.fully_connected(tiny_data.image_shape, 8, 3)
    found = robust.ensemble_of(partial(train_with, robust.Setting("standard"), network, tiny_data), 2)
    wanted = inference.deep_ensemble(network, tiny_data, epochs=2, n_samples=2, progress=False)
    for name, values in wanted.samples.items():
        assert torch.equal(found.samples[name], values)


def test_members_keep_their_own_statistics_of_batch_norm(tiny_data, tmp_path):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    train = partial(train_with, robust.Setting("standard"), network, tiny_data)
    found = robust.ensemble_of(train, 2)
    images = tiny_data.test_images
    wanted = torch.cat([train(seed).logits(images) for seed in (0, 1)])
    torch.testing.assert_close(found.logits(images), wanted)
    found.save(tmp_path / "kept.safetensors")
    loaded = Posterior.load(tmp_path / "kept.safetensors", network)
    torch.testing.assert_close(loaded.logits(images), wanted)


# Alignment


def binary(bias=0.0, scale=1.0):
    """Two classes on images 1x2x2: logits (scale (w x + b), 0), with a boundary through the middle of the pixel range."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    weights = torch.tensor([[1.0, -0.5, 0.25, -0.75], [0, 0, 0, 0]], dtype=torch.float64)
    with torch.no_grad():
        network[1].weight.copy_(scale * weights)
        network[1].bias.copy_(torch.tensor([scale * bias, 0.0]))
    return Posterior.of(network), weights[0]


@pytest.fixture
def middling():
    """Images near the middle of the pixel range, so that the boundary is reached before its ends."""
    generator = torch.Generator().manual_seed(3)
    return 0.5 + 0.3 * (torch.rand((8, 1, 2, 2), generator=generator, dtype=torch.float64) - 0.5)


def test_for_a_linear_binary_classifier_alignment_is_the_distance_to_the_boundary(middling):
    posterior, weights = binary()
    target = posterior.predict(middling).argmax(1)
    wanted = (middling.flatten(1) @ weights).abs() / weights.norm()
    torch.testing.assert_close(alignment.alignment(posterior, middling, target), wanted)
    found = alignment.bound(posterior, middling, target)
    for column in ("rho", "first order"):
        assert found[column].to_numpy() == pytest.approx(wanted.numpy(), rel=1e-4)
    assert found[["bias", "xi"]].to_numpy().max() < 1e-4


def test_a_bias_is_the_error_term_of_a_linear_classifier(middling):
    posterior, weights = binary(bias=0.2)
    target = posterior.predict(middling).argmax(1)
    found = alignment.bound(posterior, middling, target)
    wanted = (middling.flatten(1) @ weights + 0.2).abs() / weights.norm()
    assert found["rho"].to_numpy() == pytest.approx(wanted.numpy(), rel=1e-4)
    assert found["bias"].to_numpy() == pytest.approx(0.2 / weights.norm().item())
    assert (found["rho"] <= found["alignment"] + found["bias"] + 1e-6).all()


@pytest.mark.parametrize("of", alignment.SCORES)
def test_alignment_does_not_see_the_size_of_the_logits(middling, of):
    target = binary()[0].predict(middling).argmax(1) * 0
    once, thrice = (alignment.alignment(binary(0.2, scale)[0], middling, target, of) for scale in (1.0, 3.0))
    torch.testing.assert_close(once, thrice)


def test_the_rival_is_the_class_with_the_nearest_boundary(some_images):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False)).double()
    posterior = Posterior.of(network)
    logits, weights = network(some_images).detach(), network[1].weight.detach()
    target = logits.argmax(1)
    leads = logits.gather(1, target[:, None]) - logits
    distances = (leads / (weights[target][:, None] - weights).norm(dim=-1)).scatter(1, target[:, None], torch.inf)
    found = alignment.score(posterior, some_images, target)
    torch.testing.assert_close(found.distances, distances.amin(1))
    assert torch.equal(found.rivals, distances.argmin(1))
    torch.testing.assert_close(alignment.alignment(posterior, some_images, target), distances.amin(1))


def test_the_score_of_a_posterior_is_that_of_its_predictive(dense_posterior, some_images):
    target = dense_posterior.predict(some_images).argmax(1)
    found = alignment.score(dense_posterior, some_images, target)
    log_p = dense_posterior.log_predictive(some_images)
    wanted = log_p.gather(1, target[:, None]) - log_p.gather(1, found.rivals[:, None])
    torch.testing.assert_close(found.values, wanted.squeeze(1))
    step = 1e-6 * torch.randn(some_images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = dense_posterior.log_predictive(some_images + step)
    ahead = (moved.gather(1, target[:, None]) - moved.gather(1, found.rivals[:, None])).squeeze(1)
    torch.testing.assert_close((found.gradients * step).flatten(1).sum(1), ahead - found.values, rtol=1e-4, atol=1e-10)


def test_the_distance_is_that_of_an_exhaustive_search():
    """On images of two pixels, all of which can be tried."""
    torch.manual_seed(1)
    network = networks.fully_connected((1, 1, 2), 24, 3).double()
    with torch.no_grad():
        for values in network.parameters():
            values.mul_(3)
        # So that the classes meet in the middle.
        network[-1].bias -= network(torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64))[0]
    posterior = Posterior.of(network)
    line = torch.linspace(0, 1, 201, dtype=torch.float64)
    everywhere = torch.cartesian_prod(line, line).reshape(-1, 1, 1, 2)
    classes = posterior.predict(everywhere).argmax(1)
    assert len(classes.unique()) > 1
    chosen = torch.randperm(len(everywhere), generator=torch.Generator().manual_seed(0))[:40]
    images, target = everywhere[chosen], classes[chosen]
    apart = torch.cdist(images.flatten(1), everywhere.flatten(1))
    wanted = apart.where(classes[None] != target[:, None], torch.inf).amin(1)
    found = alignment.distance(posterior, images, target)
    # The grid misses the boundary by less than its own width.
    assert (found >= wanted - 0.01).all()
    assert ((found - wanted) < 0.01).double().mean() > 0.8
    assert (alignment.distance(posterior, images, (target + 1) % 3) == 0).all()


def test_without_a_gradient_there_is_no_alignment(middling):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    nn.init.zeros_(network[1].weight)
    posterior = Posterior.of(network)
    target = posterior.predict(middling).argmax(1)
    assert alignment.alignment(posterior, middling, target).isnan().all()
    assert alignment.distance(posterior, middling, target, n_radii=3, n_steps=2).isinf().all()


def test_alignment_by_epsilon_is_paired_with_standard_training(digits, trained):
    chosen, posteriors = trained
    images, _ = digits.balanced_test(40, 0)
    rows = trainings.bounds(posteriors, images, n_radii=6, n_steps=8)
    curve = trainings.by_epsilon(rows, chosen, digits.image_shape)
    sizes = robust.sizes(chosen, digits.image_shape)
    assert list(sizes.index) == ["PGD-l2 2.5", "PGD-linf 16/255"]
    part = curve[(curve["norm"] == "l2") & (curve["quantity"] == "rho")]
    means = [rows.loc[rows["training"] == name, "rho"].mean() for name in ("standard", "PGD-l2 2.5")]
    assert part["mean"].tolist() == pytest.approx(means)
    assert part["gain"].tolist() == pytest.approx([0, means[1] - means[0]])
    assert part["epsilon"].tolist() == [0, sizes.loc["PGD-l2 2.5", "here"]]
    assert np.all(curve["low"] <= curve["mean"])
    # Training moves the boundary away.
    assert part["gain low"].iloc[1] > 0
    assert "it grows" in trainings.told_alignment(curve)
    for picture in (
        figures.alignment_by_epsilon(curve),
        figures.saliency_by_training(images[:2], dict.fromkeys(chosen, images[:2] - 0.5)),
    ):
        assert len(picture.axes) > 1
    with pytest.raises(ValueError, match="standard training among the rows is 'standard'"):
        trainings.by_epsilon(rows[rows["training"] != "standard"], chosen, digits.image_shape)
    with pytest.raises(ValueError, match="at least one must be PGD's"):
        trainings.by_epsilon(rows, {"standard": chosen["standard"]}, digits.image_shape)
    assert "error term" in trainings.told_bound(trainings.summary(rows))


# Bad input


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        (inference.jacobian, {"strength": -1}, "strength is -1"),
        (inference.distillation, {"temperature": 0}, "temperature is 0; it must be"),
        (inference.distillation, {"student_temperature": -1}, "student_temperature is -1"),
        (inference.distillation, {"strength": 1}, "'strength' is not a setting"),
    ],
)
def test_bad_settings_get_one_sentence(tiny_data, function, settings, words):
    with pytest.raises(ValueError, match=words):
        function(networks.fully_connected(tiny_data.image_shape, 8, 3), tiny_data, **settings)


def test_what_is_unknown_gets_one_sentence(tiny_data, dense_posterior, some_images, some_labels):
    network = networks.fully_connected(tiny_data.image_shape, 8, 3)
    with pytest.raises(ValueError, match="names is 'PGD-l2 3'; it may be one of"):
        robust.settings(["PGD-l2 3"])
    with pytest.raises(ValueError, match="norm is 'l1'"):
        robust.scaled_epsilon(1.0, "l1", (1, 2, 2))
    with pytest.raises(ValueError, match="method is 'TRADES'"):
        robust.trained(robust.Setting("TRADES"), network, tiny_data, epochs=1)
    with pytest.raises(ValueError, match="member 0 has 5 samples"):
        robust.ensemble_of(lambda seed: dense_posterior, 2)
    with pytest.raises(ValueError, match="training gave a float"):
        robust.ensemble_of(lambda seed: 1.0, 2)
    with pytest.raises(ValueError, match="of is 'loss'"):
        alignment.alignment(dense_posterior, some_images, some_labels, "loss")
    with pytest.raises(ValueError, match="n_radii is 1"):
        alignment.distance(dense_posterior, some_images, some_labels, n_radii=1)
