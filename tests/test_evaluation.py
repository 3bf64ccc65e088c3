"""The evaluation of attacks: that it sees a failed attack for what it is."""

from __future__ import annotations

import pytest
import torch

from relevance import attacks, datasets, inference, networks
from relevance.attacks import ball, objectives
from relevance.attacks.square import square
from relevance.posterior import Posterior

pytestmark = pytest.mark.stochastic
SMALL = {"n_steps": 15, "n_restarts": 2, "n_queries": 60, "progress": False}


@pytest.fixture(scope="module")
def trained():
    data = datasets.load("digits")
    network = networks.fully_connected(data.image_shape, hidden=32)
    posterior = inference.deep_ensemble(network, data, n_samples=4, epochs=15, progress=False)
    other = inference.sgd(network, data, epochs=15, seed=9, progress=False)
    return posterior, other, *data.balanced_test(60, seed=0)


def louder(posterior: Posterior, factor: float) -> Posterior:
    """The same decisions, with logits that are larger."""
    last = list(posterior.samples)[-2:]
    return Posterior(
        posterior.network,
        {name: value * factor if name in last else value for name, value in posterior.samples.items()},
    )


@pytest.fixture(scope="module")
def table(trained):
    posterior, other, images, labels = trained
    return attacks.evaluate(posterior, images, labels, 0.15, surrogate=other, **SMALL)


def test_the_table_says_what_each_attack_did(trained, table):
    posterior, _, images, labels = trained
    assert list(table.index) == [
        "none", "random corners", "FGSM", "PGD, cross-entropy", "PGD, margin", "PGD, mean logit", "squares", "transfer",
        "PGD, margin, half the draws", "PGD, margin, other draws", "worst of all",
    ]  # fmt: skip
    assert table.loc["none", "accuracy"] == posterior.accuracy(images, labels)
    attacked = attacks.fgsm(posterior, images, labels, 0.15)
    right = posterior.predict(images).argmax(1) == labels
    still = posterior.predict(attacked).argmax(1) == labels
    assert table.loc["FGSM", "accuracy"] == pytest.approx(still.double().mean().item())
    assert table.loc["FGSM", "success"] == pytest.approx((~still[right]).double().mean().item())
    assert table.loc["FGSM", "linf"] == pytest.approx(0.15, abs=1e-6)
    assert table.loc["FGSM", "l2"] == pytest.approx((attacked - images).flatten(1).norm(dim=1).mean().item())
    assert table.loc["none", ["linf", "l2", "success"]].tolist() == [0, 0, 0]
    ways = table.index[:8]
    assert table.loc["worst of all", "accuracy"] <= table.loc[ways, "accuracy"].min()
    first, second = posterior[:2], posterior[2:]
    attacked = attacks.pgd(first, images, labels, 0.15, n_steps=15, n_restarts=2, objective="margin", progress=False)
    right, still = ((second.predict(x).argmax(1) == labels) for x in (images, attacked))
    assert table.loc["PGD, margin, other draws", "accuracy"] == pytest.approx(still.double().mean().item())
    assert table.loc["PGD, margin, other draws", "success"] == pytest.approx((~still[right]).double().mean().item())
    assert (table.loc[ways, "linf"] <= 0.15 + 1e-6).all()
    assert table.loc["PGD, margin", "accuracy"] < 0.3
    assert table.loc["random corners", "accuracy"] > 0.8
    assert table.loc[ways[1:], "seconds"].min() > 0


def test_a_sound_evaluation_raises_no_concern(trained, table):
    posterior, _, images, labels = trained
    by_epsilon = attacks.accuracy_by_epsilon(posterior, images, labels, [0.5, 0, 0.1, 0.2], n_steps=15, progress=False)
    assert by_epsilon["epsilon"].tolist() == [0, 0.1, 0.2, 0.5]
    assert by_epsilon["accuracy"].is_monotonic_decreasing
    assert by_epsilon["accuracy"].tolist()[0] == posterior.accuracy(images, labels)
    assert by_epsilon["accuracy"].tolist()[-1] == 0
    by_steps = attacks.loss_by_steps(posterior, images, labels, 0.15, n_steps=30)
    assert by_steps["best"].is_monotonic_increasing
    clean = objectives.margin(posterior.logits(images), labels).mean().item()
    assert by_steps["loss"][0] == pytest.approx(clean)
    assert attacks.concerns(table, by_epsilon, by_steps) == []


def test_a_network_that_only_hides_its_gradient_is_flagged_and_broken_by_the_margin(trained):
    """Logits multiplied by 30: the gradients of cross-entropy vanish, and no decision changes."""
    posterior, _, images, labels = trained
    posterior = posterior[0]
    table = attacks.evaluate(posterior, images, labels, 0.15, **SMALL)
    assert attacks.concerns(table) == []
    loud = louder(posterior, 30)
    assert torch.equal(loud.predict(images).argmax(1), posterior.predict(images).argmax(1))
    found = attacks.evaluate(loud, images, labels, 0.15, **SMALL)
    share = attacks.zero_gradients(loud, images, labels).double().mean().item()
    assert share > 0.3
    assert found.loc["PGD, cross-entropy", "zero gradients"] == share
    assert found.loc["PGD, margin", "zero gradients"] == 0
    assert found.loc["FGSM", "accuracy"] > table.loc["FGSM", "accuracy"] + 0.2
    assert found.loc["PGD, margin", "accuracy"] <= table.loc["PGD, margin", "accuracy"] + 0.02
    said = " ".join(attacks.concerns(found))
    assert f"PGD, cross-entropy: the gradient is exactly zero at {share:.0%} of the images" in said
    assert "PGD, margin: the gradient" not in said


def test_each_check_sees_what_it_is_for(table):
    def said(row=None, column=None, value=None, **more):
        changed = table.copy()
        if row is not None:
            changed.loc[row, column] = value
        return attacks.concerns(changed, **more)

    assert "random squares, which need no gradient, alone" in said("squares", "alone", 0.1)[0]
    assert "a transferred attack alone" in said("transfer", "alone", 0.1)[0]
    assert "One step breaks more" in said("FGSM", "accuracy", -0.1)[0]
    assert "Random corners" in said("random corners", "accuracy", -0.1)[0]
    assert "PGD, cross-entropy leaves an accuracy of 90.0%" in said("PGD, cross-entropy", "accuracy", 0.9)[0]
    assert "part of what it finds is in the draws" in said("PGD, margin, other draws", "accuracy", 0.9)[0]
    import pandas as pd

    far = pd.DataFrame({"epsilon": [0.1, 0.5], "accuracy": [0.9, 0.4]})
    assert said(by_epsilon=far) == ["In a ball of 0.5 the accuracy is still 40.0%."]
    rising = pd.DataFrame({"step": range(8), "loss": range(8), "best": range(8)})
    flat = pd.DataFrame({"step": range(8), "loss": [1.0] * 8, "best": [1.0] * 8})
    assert said(by_steps=flat) == ["The loss did not rise at any step."]
    assert "The last quarter of the steps still brought 14%" in said(by_steps=rising)[0]


def test_squares_find_without_a_gradient_what_there_is(trained):
    posterior, _, images, labels = trained
    attacked = square(posterior, images, labels, 0.3, n_queries=150, progress=False)
    assert ball.sizes(attacked - images, "linf").max() <= 0.3 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert posterior.accuracy(attacked, labels) < posterior.accuracy(images, labels) - 0.3
    margins = [objectives.margin(posterior.logits(x), labels) for x in (images, attacked)]
    assert (margins[1] >= margins[0]).all()
    wrong = margins[0] > 0
    assert torch.equal(attacked[wrong], images[wrong])
    # No image's squares depend on the other images.
    again = square(posterior, images, labels, 0.3, n_queries=150, progress=False)
    assert torch.equal(again, attacked)
    # It does not look at gradients: that of a network whose logits are louder is the same attack.
    loud = square(louder(posterior, 30), images, labels, 0.3, n_queries=150, progress=False)
    assert (loud != images).flatten(1).any(1)[~wrong].all()


def test_a_square_shrinks_and_fits_the_image():
    from relevance.attacks.square import _side

    sides = [_side(0.8, done, 8, 8) for done in (0, 0.003, 0.03, 0.15, 0.5, 0.99)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 7
    assert sides[-1] == 1
    assert _side(1.0, 0, 3, 50) == 3


@pytest.mark.parametrize(
    ("call", "change", "message"),
    [
        (square, {"n_queries": 1}, "n_queries is 1; it must be a whole number of at least 2"),
        (square, {"first_share": 0}, "first_share is 0"),
        (square, {"epsilon": -1}, "epsilon is -1"),
        (square, {"labels": torch.tensor([0, 0, 0, 0, 0, 7])}, "labels has classes from 0 to 7"),
        (attacks.evaluate, {"n_restarts": 0}, "n_restarts is 0"),
        (attacks.evaluate, {"norm": "l3"}, "norm is 'l3'"),
        (attacks.loss_by_steps, {"n_restarts": 2, "random_start": True}, "n_restarts is 2; it must be .* at most 1"),
        (attacks.loss_by_steps, {"images": torch.zeros(6, 1, 4, 5)}, "images has shape"),
    ],
)
def test_bad_input_gets_a_sentence(dense_posterior, some_images, some_labels, call, change, message):
    with pytest.raises(ValueError, match=message):
        call(dense_posterior, **{"images": some_images, "labels": some_labels, "epsilon": 0.1, **change})
