"""The evaluation of attacks: that it sees a failed attack for what it is."""

from __future__ import annotations

import pytest
import torch

from oracles import SMALL_EVALUATION, louder
from relevance import attacks
from relevance.attacks import objectives
from relevance.attacks.square import square
from relevance.studies.background import doubts

pytestmark = pytest.mark.stochastic


def test_the_table_says_what_each_attack_did(trained_ensemble, evaluation_table):
    posterior, _, images, labels = trained_ensemble
    assert list(evaluation_table.index) == [
        "none", "random corners", "FGSM", "PGD, cross-entropy", "PGD, margin", "PGD, mean logit", "squares", "transfer",
        "PGD, margin, half the draws", "PGD, margin, other draws", "worst of all",
    ]  # fmt: skip
    assert evaluation_table.loc["none", "accuracy"] == posterior.accuracy(images, labels)
    attacked = attacks.fgsm(posterior, images, labels, 0.15)
    right = posterior.predict(images).argmax(1) == labels
    still = posterior.predict(attacked).argmax(1) == labels
    assert evaluation_table.loc["FGSM", "accuracy"] == pytest.approx(still.double().mean().item())
    assert evaluation_table.loc["FGSM", "success"] == pytest.approx((~still[right]).double().mean().item())
    assert evaluation_table.loc["FGSM", "linf"] == pytest.approx(0.15, abs=1e-6)
    assert evaluation_table.loc["FGSM", "l2"] == pytest.approx((attacked - images).flatten(1).norm(dim=1).mean().item())
    assert evaluation_table.loc["none", ["linf", "l2", "success"]].tolist() == [0, 0, 0]
    ways = evaluation_table.index[:8]
    assert evaluation_table.loc["worst of all", "accuracy"] <= evaluation_table.loc[ways, "accuracy"].min()
    first, second = posterior[:2], posterior[2:]
    attacked = attacks.pgd(first, images, labels, 0.15, n_steps=15, n_restarts=2, objective="margin", progress=False)
    right, still = ((second.predict(x).argmax(1) == labels) for x in (images, attacked))
    assert evaluation_table.loc["PGD, margin, other draws", "accuracy"] == pytest.approx(still.double().mean().item())
    assert evaluation_table.loc["PGD, margin, other draws", "success"] == pytest.approx(
        (~still[right]).double().mean().item()
    )
    assert (evaluation_table.loc[ways, "linf"] <= 0.15 + 1e-6).all()
    assert evaluation_table.loc["PGD, margin", "accuracy"] < 0.3
    assert evaluation_table.loc["random corners", "accuracy"] > 0.8
    assert evaluation_table.loc[ways[1:], "seconds"].min() > 0


def test_a_sound_evaluation_raises_no_concern(trained_ensemble, evaluation_table):
    posterior, _, images, labels = trained_ensemble
    by_epsilon = attacks.accuracy_by_epsilon(posterior, images, labels, [0.5, 0, 0.1, 0.2], n_steps=15, progress=False)
    assert by_epsilon["epsilon"].tolist() == [0, 0.1, 0.2, 0.5]
    once = attacks.accuracy_by_epsilon(
        posterior, images[:5], labels[:5], (size for size in (0.1, 0)), n_steps=1, progress=False
    )
    assert once["epsilon"].tolist() == [0, 0.1]
    assert by_epsilon["accuracy"].is_monotonic_decreasing
    assert by_epsilon["accuracy"].tolist()[0] == posterior.accuracy(images, labels)
    assert by_epsilon["accuracy"].tolist()[-1] == 0
    by_steps = attacks.loss_by_steps(posterior, images, labels, 0.15, n_steps=30)
    assert by_steps["best"].is_monotonic_increasing
    clean = objectives.margin(posterior.logits(images), labels).mean().item()
    assert by_steps["loss"][0] == pytest.approx(clean)
    assert doubts.concerns(evaluation_table, by_epsilon, by_steps) == []


def test_a_network_that_only_hides_its_gradient_is_flagged_and_broken_by_the_margin(trained_ensemble):
    """Logits multiplied by 30: the gradients of cross-entropy vanish, and no decision changes."""
    posterior, _, images, labels = trained_ensemble
    posterior = posterior[0]
    table = attacks.evaluate(posterior, images, labels, 0.15, **SMALL_EVALUATION)
    assert doubts.concerns(table) == []
    loud = louder(posterior, 30)
    assert torch.equal(loud.predict(images).argmax(1), posterior.predict(images).argmax(1))
    found = attacks.evaluate(loud, images, labels, 0.15, **SMALL_EVALUATION)
    share = attacks.zero_gradients(loud, images, labels).double().mean().item()
    assert share > 0.3
    assert found.loc["PGD, cross-entropy", "zero gradients"] == share
    assert found.loc["PGD, margin", "zero gradients"] == 0
    assert found.loc["FGSM", "accuracy"] > table.loc["FGSM", "accuracy"] + 0.2
    assert found.loc["PGD, margin", "accuracy"] <= table.loc["PGD, margin", "accuracy"] + 0.02
    said = " ".join(doubts.concerns(found))
    assert f"PGD, cross-entropy: the gradient is exactly zero at {share:.0%} of the images" in said
    assert "PGD, margin: the gradient" not in said


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
