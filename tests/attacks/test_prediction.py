"""The loop of all attacks, and attacks on predictions by it, against two other libraries."""

from __future__ import annotations

from functools import partial

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from oracles import random_posterior
from relevance import attacks
from relevance.attacks import objectives
from relevance.base import balls, chunks
from relevance.networks import architectures
from relevance.networks.posterior import Posterior


def loss(posterior, images, labels):
    """-log of the mean probability, by its definition and image by image."""
    probabilities = posterior.logits(images).softmax(-1).mean(0)
    return -probabilities.gather(1, labels[:, None]).squeeze(1).log()


def test_the_gradient_agrees_with_finite_differences(dense_posterior, some_images, some_labels):
    found = attacks.loss_gradient(dense_posterior, some_images, some_labels)
    for row, column in [(0, 0), (1, 2), (3, 3)]:
        step = torch.zeros_like(some_images)
        step[:, 0, row, column] = 1e-6
        up, down = (loss(dense_posterior, images, some_labels) for images in (some_images + step, some_images - step))
        assert torch.allclose(found[:, 0, row, column], (up - down) / 2e-6, atol=1e-7)


def test_the_gradient_of_a_batch_is_that_of_each_image(dense_posterior, some_images, some_labels, monkeypatch):
    whole = attacks.loss_gradient(dense_posterior, some_images, some_labels)
    monkeypatch.setitem(chunks.REMEMBERED_AT_ONCE, "cpu", 800)
    assert torch.allclose(attacks.loss_gradient(dense_posterior, some_images, some_labels), whole, atol=1e-12)


def test_fgsm_steps_along_the_sign_of_the_predictive_gradient(dense_posterior, some_images, some_labels):
    attacked = attacks.fgsm(dense_posterior, some_images, some_labels, epsilon=0.1)
    leaf = some_images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(dense_posterior, leaf, some_labels).sum(), leaf)
    assert torch.allclose(attacked, (some_images + 0.1 * gradient.sign()).clamp(0, 1))
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert (attacked - some_images).abs().max() <= 0.1 + 1e-12
    far = attacks.fgsm(dense_posterior, some_images, some_labels, epsilon=1)
    assert set(far.unique().tolist()) == {0, 1}  # clipped at the ends of the range, not before


def test_the_predictive_gradient_is_not_the_mean_of_the_samples_gradients(dense_posterior, some_images, some_labels):
    together = attacks.loss_gradient(dense_posterior, some_images, some_labels)
    apart = torch.stack([attacks.loss_gradient(one, some_images, some_labels) for one in dense_posterior]).mean(0)
    assert not torch.allclose(together, apart, atol=1e-3)


def test_one_sample_is_the_ordinary_attack(dense_posterior, some_images, some_labels):
    network = dense_posterior.network
    network.load_state_dict({name: value[2] for name, value in dense_posterior.samples.items()})
    leaf = some_images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network(leaf), some_labels, reduction="sum"), leaf)
    assert torch.allclose(attacks.loss_gradient(dense_posterior[2], some_images, some_labels), gradient, atol=1e-12)


def test_a_small_attack_raises_every_loss(dense_posterior, some_images, some_labels):
    attacked = attacks.fgsm(dense_posterior, some_images, some_labels, epsilon=1e-3)
    assert (loss(dense_posterior, attacked, some_labels) > loss(dense_posterior, some_images, some_labels)).all()


def test_an_attack_of_size_zero_changes_nothing(dense_posterior, some_images, some_labels):
    assert torch.equal(attacks.fgsm(dense_posterior, some_images, some_labels, epsilon=0), some_images)


def test_a_saturated_prediction_has_a_gradient_of_exactly_zero():
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    posterior = Posterior(network, {"1.weight": torch.tensor([[[1e4], [-1e4]]])})
    images, labels = torch.tensor([0.5, 0.5]).reshape(2, 1, 1, 1), torch.tensor([0, 1])
    gradient = attacks.loss_gradient(posterior, images, labels)
    assert gradient[0].item() == 0
    assert gradient[1].item() == pytest.approx(2e4)  # wrong, and still with a direction: log-softmax does not underflow
    assert torch.equal(attacks.fgsm(posterior, images, labels, 0.1)[0], images[0])


def test_the_images_and_autograd_s_state_stay_as_they_are(dense_posterior, some_images, some_labels):
    before = some_images.clone()
    with torch.no_grad():
        attacked = attacks.fgsm(dense_posterior, some_images, some_labels, epsilon=0.1)
    assert torch.equal(some_images, before)
    assert not some_images.requires_grad
    assert not attacked.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1; it must be a finite number at least 0"),
        ({"epsilon": "0.1"}, "epsilon is '0.1'"),
        ({"epsilon": float("inf")}, "epsilon is inf"),
        ({"labels": torch.tensor([0, 1, 2, 2, 1, 7])}, "labels has classes from 0 to 7"),
        ({"labels": torch.tensor([0])}, r"labels has shape \[1\]"),
        ({"images": torch.full((6, 1, 4, 4), float("nan"), dtype=torch.float64)}, "NaN"),
        ({"images": torch.zeros(6, 16, dtype=torch.float64)}, r"images has shape \[6, 16\]"),
    ],
)
def test_bad_input_of_fgsm_gets_a_sentence(dense_posterior, some_images, some_labels, change, message):
    given = {"images": some_images, "labels": some_labels, "epsilon": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        attacks.fgsm(dense_posterior, **given)


pytestmark = pytest.mark.stochastic


@settings(max_examples=40, deadline=None)
@given(
    epsilon=st.floats(0, 1.5),
    norm=st.sampled_from(["linf", "l2"]),
    n_steps=st.integers(1, 4),
    step=st.one_of(st.none(), st.floats(1e-3, 2)),
    random_start=st.booleans(),
    objective=st.sampled_from(sorted(objectives.LOSSES)),
    seed=st.integers(0, 99),
)
def test_every_attacked_image_lies_in_its_ball_and_in_the_pixel_range(
    epsilon, norm, n_steps, step, random_start, objective, seed
):
    posterior = random_posterior(
        architectures.fully_connected((1, 4, 4), hidden=5, n_classes=3), 3, seed=seed, scale=4.0
    )
    images = torch.rand((3, 1, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).round(
        decimals=1
    )
    attacked = attacks.pgd(
        posterior, images, torch.tensor([0, 1, 2]), epsilon, norm=norm, n_steps=n_steps, step_size=step,
        random_start=random_start, objective=objective, seed=seed, n_restarts=1 + random_start,
    )  # fmt: skip
    assert balls.sizes(attacked - images, norm).max() <= epsilon + 1e-9
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert not attacked.requires_grad


def test_fgsm_and_pgd_equal_torchattacks(twenty, some_images, some_labels):
    """With a posterior as an ordinary classifier, and deterministic starts."""
    torchattacks = pytest.importorskip("torchattacks", reason="it is not among conda's packages: see requirements")
    module = attacks.LogPredictive(twenty)
    theirs = torchattacks.FGSM(module, eps=0.1)(some_images, some_labels)
    assert (theirs - attacks.fgsm(twenty, some_images, some_labels, 0.1)).abs().max() < 1e-6
    for n_steps, step in [(1, 0.02), (10, 0.03), (25, 0.1)]:
        theirs = torchattacks.PGD(module, eps=0.1, alpha=step, steps=n_steps, random_start=False)(
            some_images, some_labels
        )
        ours = attacks.pgd(twenty, some_images, some_labels, 0.1, n_steps=n_steps, step_size=step, random_start=False)
        assert (theirs - ours).abs().max() < 1e-6
        assert (ours - some_images).abs().max() > 0.01
    theirs = torchattacks.PGDL2(module, eps=0.5, alpha=0.1, steps=12, random_start=False)(some_images, some_labels)
    ours = attacks.pgd(twenty, some_images, some_labels, 0.5, norm="l2", n_steps=12, step_size=0.1, random_start=False)
    assert (theirs - ours).abs().max() < 1e-6


def test_fgsm_and_pgd_equal_foolbox(twenty, some_images, some_labels):
    model = foolbox.PyTorchModel(attacks.LogPredictive(twenty), bounds=(0, 1), device="cpu")
    _, theirs, _ = foolbox.attacks.LinfFastGradientAttack(random_start=False)(
        model, some_images, some_labels, epsilons=0.1
    )
    assert (theirs - attacks.fgsm(twenty, some_images, some_labels, 0.1)).abs().max() < 1e-6
    for kind, norm, epsilon in [
        (foolbox.attacks.LinfProjectedGradientDescentAttack, "linf", 0.1),
        (foolbox.attacks.L2ProjectedGradientDescentAttack, "l2", 0.5),
    ]:
        attack = kind(abs_stepsize=0.03, steps=10, random_start=False)
        _, theirs, _ = attack(model, some_images, some_labels, epsilons=epsilon)
        ours = attacks.pgd(
            twenty, some_images, some_labels, epsilon, norm=norm, n_steps=10, step_size=0.03, random_start=False
        )
        assert (theirs - ours).abs().max() < 1e-6


def test_a_classifier_for_others_stays_in_evaluation_mode(twenty):
    module = attacks.LogPredictive(twenty).train()
    assert not module.training
    assert not twenty.network.training


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_images_are_no_problem(twenty, some_images, some_labels, norm):
    empty = attacks.pgd(twenty, some_images[:0], some_labels[:0], 0.1, norm=norm, progress=False)
    assert empty.shape == (0, 1, 4, 4)


def test_chunks_change_nothing(twenty, some_images, some_labels, monkeypatch):
    def attacked():
        return attacks.pgd(twenty, some_images, some_labels, 0.2, n_steps=4, n_restarts=2, objective="margin")

    whole = attacked()
    monkeypatch.setitem(chunks.REMEMBERED_AT_ONCE, "cpu", 1200)
    assert chunks.images_with_graph(twenty.network, twenty.samples, some_images) == 1
    assert torch.allclose(attacked(), whole, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epsilon": -1}, "epsilon is -1; it must be a finite number at least 0"),
        ({"epsilon": float("nan")}, "epsilon is nan"),
        ({"n_steps": 0}, "n_steps is 0; it must be a whole number of at least 1"),
        ({"norm": "l1"}, "norm is 'l1'; it may be one of: l2, linf"),
        ({"step_size": 0}, "step_size is 0"),
        ({"objective": "hinge"}, "objective is 'hinge'; it may be one of: cross_entropy, margin, mean_logit"),
        ({"n_restarts": 2, "random_start": False}, "n_restarts is 2 and random_start is False"),
        ({"keep": "first"}, "keep is 'first'; it may be one of: best, last"),
        ({"random_start": 1}, "random_start is 1; it must be True or False"),
        ({"steps": 3}, "'steps' is not a setting here; it may be one of: epsilon, norm, n_steps"),
        ({"labels": torch.tensor([0, 1, 2, 3, 4, 5])}, "labels has classes from 0 to 5; they must lie between 0 and 2"),
        ({"images": torch.full((6, 1, 4, 4), 1.5, dtype=torch.float64)}, "images has values from 1.5 to 1.5"),
    ],
)
def test_bad_input_of_pgd_gets_a_sentence(dense_posterior, some_images, some_labels, change, message):
    with pytest.raises(ValueError, match=message):
        attacks.pgd(dense_posterior, **{"images": some_images, "labels": some_labels, "epsilon": 0.1, **change})


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (
            lambda logits, labels: logits.mean(),
            r"objective gives a tensor of shape \[\] for 6 images; it must give a loss of each",
        ),
        (lambda logits, labels: logits[0], r"objective gives a tensor of shape \[6, 3\] for 6 images"),
        (lambda logits, labels: 1.0, "objective gives 1.0 for 6 images"),
        (lambda logits, labels: torch.ones(len(labels)), "objective, .*, does not depend on the images"),
    ],
    ids=["one number", "logits", "a number", "no gradient"],
)
def test_an_objective_that_is_no_loss_of_each_image_is_refused(
    dense_posterior, some_images, some_labels, objective, said
):
    for attack in (attacks.loss_gradient, attacks.zero_gradients):
        with pytest.raises(ValueError, match=said):
            attack(dense_posterior, some_images, some_labels, objective)
    with pytest.raises(ValueError, match=said):
        attacks.fgsm(dense_posterior, some_images, some_labels, 0.1, objective=objective)


@pytest.mark.parametrize("posterior", [None, "a", torch.nn.Linear(4, 2), {}], ids=repr)
def test_what_is_no_posterior_gets_a_sentence(posterior, some_images, some_labels):
    with pytest.raises(ValueError, match="posterior is .*; it must be a Posterior; Posterior.of"):
        attacks.fgsm(posterior, some_images, some_labels, 0.1)


@pytest.mark.parametrize(
    "objective",
    [
        lambda logits, labels: logits.mean((0, 2)) * torch.tensor([1, 1, torch.nan, 1, 1, 1]),
        lambda logits, labels: (logits.mean((0, 2)) * torch.tensor([1, 1, 0, 1, 1, 1])).square().sqrt(),
    ],
    ids=["value", "gradient"],
)
def test_an_objective_or_a_gradient_that_is_nan_is_refused(dense_posterior, some_images, some_labels, objective):
    case = (dense_posterior, some_images, some_labels)
    said = "objective, or what explain gives, is NaN or has a gradient that is NaN for 1 of 6 images"
    for attack in (attacks.fgsm, partial(attacks.pgd, progress=False), partial(attacks.loss_by_steps, progress=False)):
        with pytest.raises(ValueError, match=said):
            attack(*case, 0.1, objective=objective)
    with pytest.raises(ValueError, match=said):
        attacks.loss_gradient(*case, objective)
