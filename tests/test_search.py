"""The loop of all attacks, and attacks on predictions by it, against two other libraries."""

from __future__ import annotations

import foolbox
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_posterior
from torch import nn

from oracles import MOST, errors_off
from relevance import attacks, chunks, networks
from relevance.attacks import ball, objectives
from relevance.attacks.search import Search, climb
from relevance.posterior import Posterior

pytestmark = pytest.mark.stochastic


def hill(points, rows, done):
    """Highest where all pixels are 0.5."""
    return -(points - 0.5).flatten(1).square().sum(1)


@pytest.fixture
def twenty():
    """20 samples of a small dense network, in float64."""
    return random_posterior(networks.fully_connected((1, 4, 4), hidden=7, n_classes=3), n_samples=20)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_hill_is_climbed_to_the_top_or_to_the_edge_of_the_ball(some_images, norm):
    wide = climb(hill, some_images, Search(4.0, norm, n_steps=400, step_size=0.01, keep="best"), n_at_once=4)
    assert (wide - 0.5).abs().max() < 0.02
    # Of a small ball around an image away from the top, the best point is on the edge.
    images = torch.full((2, 1, 4, 4), 0.1, dtype=torch.float64)
    near = climb(hill, images, Search(0.2, norm, n_steps=50), n_at_once=1)
    edge = 0.1 + (0.2 if norm == "linf" else 0.2 / 4)
    assert torch.allclose(near, torch.full_like(near, edge), atol=1e-6)


def test_the_best_point_of_all_walks_is_kept(some_images):
    def far(**given):
        # Steps of this size jump over the top and back.
        search = Search(0.5, n_steps=7, step_size=0.4, random_start=True, seed=3, **given)
        return hill(climb(hill, some_images, search, n_at_once=6), None, 0)

    last, best, four = far(keep="last"), far(keep="best"), far(keep="best", n_restarts=4)
    assert (best >= last).all()
    assert (best > last).any()
    assert (four >= best).all()
    assert (four > best).any()
    assert (far(keep="last", n_restarts=4) >= last).all()


def test_points_that_are_not_accepted_are_not_gone_to(some_images):
    def accepts(points, rows):
        return points.flatten(1).mean(1) < 0.6

    images = some_images * 0.5
    up = Search(1.0, n_steps=60, step_size=0.5)
    found = climb(lambda points, rows, done: points.flatten(1).sum(1), images, up, n_at_once=4, accepts=accepts)
    means = found.flatten(1).mean(1)
    assert (means < 0.6).all()
    assert (means > 0.58).all()  # half the step each time, up to the border
    nowhere = climb(hill, images, Search(0.3, random_start=True), n_at_once=4, accepts=lambda p, rows: rows < 0)
    assert torch.equal(nowhere, images)


def test_another_score_may_say_which_point_is_best(some_images):
    def closeness(points, rows):
        return -(points - some_images[rows]).flatten(1).abs().sum(1)

    start = climb(hill, some_images, Search(0.5, keep="best"), n_at_once=6, score=closeness)
    assert torch.equal(start, some_images)


def test_the_walk_says_how_far_it_is(some_images):
    seen = []

    def objective(points, rows, done):
        seen.append((done, rows.tolist()))
        return hill(points, rows, done)

    climb(objective, some_images, Search(0.1, n_steps=3), n_at_once=4)
    assert seen == [(0, [0, 1, 2, 3]), (0.5, [0, 1, 2, 3]), (1, [0, 1, 2, 3]), (0, [4, 5]), (0.5, [4, 5]), (1, [4, 5])]


def test_points_fill_the_ball(some_images):
    images = torch.full((4000, 1, 1, 2), 0.5, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    square = ball.random_points(images, 0.4, "linf", generator) - images
    assert square.abs().max() <= 0.4
    assert errors_off(square.flatten(), 0.0).abs() < MOST
    assert errors_off(square.flatten() ** 2, 0.4**2 / 3).abs() < MOST
    disc = ball.sizes(ball.random_points(images, 0.4, "l2", generator) - images, "l2")
    assert disc.max() <= 0.4
    # In two dimensions a radius below r has the probability (r / 0.4)^2.
    assert errors_off((disc < 0.2).double(), 0.25).abs() < MOST


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
    posterior = random_posterior(networks.fully_connected((1, 4, 4), hidden=5, n_classes=3), 3, seed=seed, scale=4.0)
    images = torch.rand((3, 1, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).round(
        decimals=1
    )
    attacked = attacks.pgd(
        posterior, images, torch.tensor([0, 1, 2]), epsilon, norm=norm, n_steps=n_steps, step_size=step,
        random_start=random_start, objective=objective, seed=seed, n_restarts=1 + random_start,
    )  # fmt: skip
    assert ball.sizes(attacked - images, norm).max() <= epsilon + 1e-9
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


def test_objectives_are_what_they_say(twenty, some_images, some_labels):
    logits = twenty.logits(some_images)
    p = logits.softmax(-1).mean(0)
    at = torch.arange(6), some_labels
    assert torch.allclose(objectives.cross_entropy(logits, some_labels), -p[at].log())
    others = p.scatter(1, some_labels[:, None], 0).amax(1)
    assert torch.allclose(objectives.margin(logits, some_labels), (others / p[at]).log())
    wrong = twenty.predict(some_images).argmax(1) != some_labels
    assert torch.equal(objectives.margin(logits, some_labels) > 0, wrong)
    assert torch.allclose(objectives.mean_logit(logits, some_labels), -logits.mean(0).log_softmax(-1)[at])
    one = objectives.margin(logits[:1], some_labels)
    wrong_logits = logits[0].scatter(1, some_labels[:, None], -torch.inf).amax(1)
    assert torch.allclose(one, wrong_logits - logits[0][at])


def test_an_objective_may_be_a_function(twenty, some_images, some_labels):
    named, given = (
        attacks.pgd(twenty, some_images, some_labels, 0.2, objective=objective)
        for objective in ("mean_logit", objectives.mean_logit)
    )
    assert torch.equal(named, given)


def test_the_margin_goes_on_where_cross_entropy_stops():
    """A network that is sure: in float32 its loss has no gradient, the difference of its logits has one."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    weight = torch.tensor([[1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, -1.0]]) * 30
    posterior = Posterior(network, {"1.weight": weight[None]})
    images, labels = torch.full((1, 1, 2, 2), 0.6), torch.tensor([0])
    assert (attacks.loss_gradient(posterior, images, labels) == 0).all()
    assert torch.equal(attacks.fgsm(posterior, images, labels, 0.2), images)
    moved = attacks.fgsm(posterior, images, labels, 0.2, objective="margin")
    assert torch.allclose(moved, torch.full_like(moved, 0.4))


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
def test_bad_input_gets_a_sentence(dense_posterior, some_images, some_labels, change, message):
    with pytest.raises(ValueError, match=message):
        attacks.pgd(dense_posterior, **{"images": some_images, "labels": some_labels, "epsilon": 0.1, **change})
