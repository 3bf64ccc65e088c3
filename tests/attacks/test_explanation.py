"""Attacks on explanations: that they follow the gradient they say, and that they do what they are for."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from relevance import attacks, explanations, inference, metrics
from relevance.base import chunks
from relevance.base.balls import random_points
from relevance.datasets import reading
from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

pytestmark = pytest.mark.stochastic
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def digits():
    """Three networks trained on digits, as a posterior; 40 images; the classes it predicts; their maps."""
    data = reading.load("digits")
    network = architectures.fully_connected(data.image_shape, hidden=32)
    posterior = inference.deep_ensemble(network, data, n_samples=3, epochs=15, progress=False)
    images, _ = data.balanced_test(40, seed=0)
    target = posterior.predict(images).argmax(1)
    return posterior, images, target, explanations.lrp(posterior, images, target, rule=Epsilon(0.1))


def maps_of(digits, images):
    posterior, _, target, _ = digits
    return explanations.lrp(posterior, images, target, rule=Epsilon(0.1))


def planted() -> tuple[Posterior, torch.Tensor, torch.Tensor]:
    """A network whose explanation hangs on one pixel, the gate, and whose prediction does not.

    Two hidden units see four pixels each, and both the gate (pixel 8), with opposite signs; just one of them is on. Class
    0 gets their sum, and wins by far either way.
    """
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 2), nn.ReLU(), nn.Linear(2, 2))
    gate = 40.0
    hidden = torch.zeros(2, 9)
    hidden[0, :4], hidden[1, 4:8], hidden[0, 8], hidden[1, 8] = 1, 1, gate, -gate
    samples = {
        "1.weight": hidden,
        "1.bias": torch.tensor([-0.03 * gate - 2, 0.03 * gate - 2]),
        "3.weight": torch.tensor([[1.0, 1.0], [0.0, 0.0]]),
        "3.bias": torch.tensor([0.0, -20.0]),
    }
    images = torch.full((1, 1, 3, 3), 0.5)
    images[..., 2, 2] = 0.01
    return Posterior(network, {name: value[None] for name, value in samples.items()}), images, torch.tensor([0])


def share(top, sizes):
    return (top * sizes).sum(1) / sizes.sum(1)


def test_one_step_goes_along_the_sign_of_the_gradient_that_the_paper_writes(dense_posterior, some_images, some_labels):
    """Against finite differences of D, for an expected map and for every rule."""
    region = attacks.random_region((1, 4, 4), 30, seed=1)
    images = 0.3 + 0.4 * some_images  # no pixel at the end of the range
    for rule in (Epsilon(0.1), Gamma(0.1), AlphaBeta(1, 0)):
        explain = partial(explanations.lrp, dense_posterior, target=some_labels, rule=rule)
        top = explanations.top_share(explain(images=images), 20)
        aims = {
            "top_k": lambda x, top=top, explain=explain: -(top * explain(images=x).flatten(1)).sum(1),
            "share": lambda x, top=top, explain=explain: -share(top, explain(images=x).flatten(1).abs()),
            "region": lambda x, explain=explain: (region * explain(images=x)).flatten(1).sum(1),
        }
        given = {"n_steps": 1, "keep": "last", "keep_label": False, "rule": rule, **QUIET}
        found = {
            "top_k": attacks.top_k(dense_posterior, images, some_labels, 0.01, measure="relevance", **given),
            "share": attacks.top_k(dense_posterior, images, some_labels, 0.01, **given),
            "region": attacks.target_region(dense_posterior, images, some_labels, 0.01, region=region, **given),
        }
        for name, aim in aims.items():
            slope = torch.zeros_like(images)
            for pixel in range(16):
                step = torch.zeros_like(images)
                step.view(-1, 16)[:, pixel] = 1e-6
                slope.view(-1, 16)[:, pixel] = (aim(images + step) - aim(images - step)) / 2e-6
            clear = slope.abs() > 1e-6
            assert clear.double().mean() > 0.9
            assert torch.allclose((found[name] - images)[clear], 0.01 * slope.sign()[clear], atol=1e-12)


def test_top_k_lowers_the_overlap_more_than_noise_does(digits):
    posterior, images, target, before = digits
    attacked = attacks.top_k(posterior, images, target, 0.1, **QUIET)
    assert torch.equal(posterior.predict(attacked).argmax(1), target)
    corners = images + 0.1 * (2 * torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(0)) - 1)
    noise = random_points(images, 0.1, "linf", torch.Generator().manual_seed(0))
    scores = [metrics.lrp_robustness(before, maps_of(digits, x), 20) for x in (attacked, corners.clamp(0, 1), noise)]
    for of_noise in scores[1:]:
        difference = metrics.paired_difference(scores[0], of_noise)
        assert difference.low > 0.08
    # Relevance as the paper sums it sends what is negative further down, and keeps it among the top.
    as_written = attacks.top_k(posterior, images, target, 0.1, measure="relevance", **QUIET)
    assert (
        metrics.paired_difference(scores[0], metrics.lrp_robustness(before, maps_of(digits, as_written), 20)).low > 0.05
    )


def test_two_regions_give_two_images_and_each_raises_its_own(digits):
    posterior, images, target, before = digits
    regions = [attacks.random_region((1, 28, 28), 20, seed=seed) for seed in (0, 1)]
    found = [attacks.target_region(posterior, images, target, 0.1, region=region, **QUIET) for region in regions]
    assert (found[0] != found[1]).flatten(1).any(1).all()
    for region, attacked in zip(regions, found, strict=True):
        assert torch.equal(posterior.predict(attacked).argmax(1), target)
        gained = ((maps_of(digits, attacked) - before) * region).flatten(1).sum(1)
        assert (gained > 0).all()
        other = ((maps_of(digits, found[1 if attacked is found[0] else 0]) - before) * region).flatten(1).sum(1)
        assert (gained > other).all()


def test_a_target_map_is_come_closer_to_with_the_label_kept(digits):
    posterior, images, target, before = digits
    towards = before.roll(1, 0)
    attacked = attacks.target_map(posterior, images, target, 0.1, target_maps=towards, n_steps=15, **QUIET)
    assert torch.equal(posterior.predict(attacked).argmax(1), target)
    distances = [(maps - towards).flatten(1).norm(dim=1) for maps in (before, maps_of(digits, attacked))]
    assert (distances[1] <= distances[0]).all()
    assert (distances[1] / distances[0]).median() < 0.9
    assert (attacked - images).abs().max() <= 0.1 + 1e-6
    # Holding the outputs costs nearness, and holds them.
    held = attacks.target_map(
        posterior, images, target, 0.1, target_maps=towards, n_steps=15, output_weight=1e3, **QUIET
    )
    moved = [(posterior.predict(x) - posterior.predict(images)).norm(dim=1).mean() for x in (attacked, held)]
    assert moved[1] < 0.5 * moved[0]


def test_a_label_is_only_kept_where_that_is_asked_for(digits):
    posterior, images, target, before = digits
    # Images from whose class it is a small step, so that many leave it.
    near, beyond = images, attacks.pgd(posterior, images, target, 0.5, progress=False)
    for _ in range(8):
        middle = (near + beyond) / 2
        inside = (posterior.predict(middle).argmax(1) == target)[:, None, None, None]
        near, beyond = torch.where(inside, middle, near), torch.where(inside, beyond, middle)
    given = {"target_maps": before.roll(1, 0), "n_steps": 15, **QUIET}
    free, bound = (attacks.target_map(posterior, near, target, 0.4, keep_label=keep, **given) for keep in (False, True))
    assert torch.equal(posterior.predict(bound).argmax(1), target)
    assert (posterior.predict(free).argmax(1) != target).sum() >= 5


def test_a_planted_vulnerable_explanation_is_broken_by_each_attack():
    posterior, images, target = planted()
    before = explanations.lrp(posterior, images, target, rule=Epsilon(0.1))
    assert before.flatten()[:4].abs().max() == 0
    assert before.flatten()[4:8].min() > 0.1
    flipped = images.clone()
    flipped[..., 2, 2] = 0.06
    other = explanations.lrp(posterior, flipped, target, rule=Epsilon(0.1))
    given = {"rule": Epsilon(0.1), **QUIET}

    broken = attacks.top_k(posterior, images, target, 0.1, top_percent=45, **given)
    region = (torch.arange(9) < 4).reshape(1, 3, 3)
    with pytest.warns(RuntimeWarning, match="moved no image"):
        stuck = attacks.target_region(posterior, images, target, 0.1, region=region, **given)
    given |= {"random_start": True, "n_restarts": 10}
    moved = attacks.target_region(posterior, images, target, 0.1, region=region, **given)
    near = attacks.target_map(posterior, images, target, 0.1, target_maps=other, **given)

    after = {name: explanations.lrp(posterior, x, target, rule=Epsilon(0.1)) for name, x in
             {"top_k": broken, "stuck": stuck, "region": moved, "map": near}.items()}  # fmt: skip
    assert metrics.lrp_robustness(before, after["top_k"], 45) < 0.5
    # A unit that is off has no gradient: a random start gets over the kink.
    assert (after["stuck"] * region).sum() == 0
    assert (after["region"] * region).sum() > 0.5
    assert (after["map"] - other).norm() < 0.5 * (before - other).norm()
    for attacked in (broken, moved, near):
        assert posterior.predict(attacked).argmax(1) == 0


def test_other_explanations_are_attacked_by_the_same_functions(digits):
    posterior, images, target, _ = digits
    for explain in (explanations.gradient_x_input, partial(explanations.integrated_gradients, n_steps=4)):
        before = explain(posterior, images[:8], target[:8])
        attacked = attacks.top_k(posterior, images[:8], target[:8], 0.1, explain=explain, n_steps=4, **QUIET)
        after = explain(posterior, attacked, target[:8])
        top = explanations.top_share(before, 20)
        kept, left = (share(top, maps.flatten(1).abs()) for maps in (before, after))
        assert (left < kept).all()


def test_a_map_without_a_gradient_is_attacked_through_a_softened_network(digits):
    """The gradient of a piecewise linear network is constant between the kinks."""
    posterior, images, target, _ = digits
    given = {"explain": explanations.gradient, "n_steps": 5, **QUIET}
    with pytest.warns(RuntimeWarning, match="moved no image: the maps may have no gradient"):
        attacks.top_k(posterior, images[:8], target[:8], 0.1, **given)
    attacked = attacks.top_k(posterior, images[:8], target[:8], 0.1, beta=(5.0, 50.0), **given)
    before, after = (explanations.gradient(posterior, x, target[:8]) for x in (images[:8], attacked))
    top = explanations.top_share(before, 20)
    kept, left = (share(top, maps.flatten(1).abs()) for maps in (before, after))
    assert left.mean() < kept.mean() - 0.01


def test_the_attack_may_see_fewer_samples_than_judge_it(digits):
    posterior, images, target, before = digits
    whole = attacks.top_k(posterior, images, target, 0.1, **QUIET)
    few = attacks.top_k(posterior, images, target, 0.1, n_samples=1, **QUIET)
    assert not torch.equal(few, whole)
    assert torch.equal(posterior.predict(few).argmax(1), target)
    top = explanations.top_share(before, 20)
    left = [share(top, maps_of(digits, x).flatten(1).abs()) for x in (images, few, whole)]
    assert (left[1] <= left[0] + 1e-6).all()  # judged by the whole posterior, no walk ends above its start
    assert left[2].mean() < left[1].mean()


def test_chunks_change_nothing(digits, monkeypatch):
    posterior, images, target, before = digits

    def found():
        return attacks.target_map(posterior, images[:6], target[:6], 0.1, target_maps=before[6:12], n_steps=3, **QUIET)

    whole = found()
    monkeypatch.setitem(chunks.REMEMBERED_AT_ONCE, "cpu", 8000)
    assert (found() - whole).abs().max() < 1e-5


def test_a_random_region_has_its_share_of_pixels():
    region = attacks.random_region((1, 8, 8), 20, seed=5)
    assert region.shape == (1, 8, 8)
    assert region.sum() == 13
    assert not torch.equal(region, attacks.random_region((1, 8, 8), 20, seed=6))


@pytest.mark.parametrize(
    ("attack", "change", "message"),
    [
        ("top_k", {"epsilon": -0.1}, "epsilon is -0.1; it must be a finite number at least 0"),
        ("top_k", {"top_percent": 0}, "top_percent is 0"),
        ("top_k", {"rule": Epsilon(), "explain": explanations.gradient}, "rule and explain are both given"),
        ("top_k", {"measure": "rank"}, "measure is 'rank'; it may be one of: magnitude, relevance, share"),
        ("top_k", {"keep_label": "yes"}, "keep_label is 'yes'; it must be True or False"),
        ("top_k", {"n_samples": 9}, "n_samples is 9; it must be a whole number of at least 1 and at most 5"),
        ("top_k", {"target": torch.tensor([0, 1, 2, 2, 1, 3])}, "target has classes from 0 to 3"),
        ("top_k", {"n_steps": 0}, "n_steps is 0"),
        ("top_k", {"iterations": 3}, "'iterations' is not a setting here"),
        ("target_region", {"region": torch.ones(1, 4, 4)}, "region is a tensor of torch.float32; it must be a tensor of truth"),
        ("target_region", {"region": torch.ones(5, 5, dtype=torch.bool)}, r"region has shape \[5, 5\]; it must fit maps"),
        ("target_region", {"region": torch.zeros(4, 4, dtype=torch.bool)}, "region has no pixel for some image"),
        ("target_map", {"target_maps": torch.zeros(6, 1, 3, 3)}, r"has shape \[6, 1, 3, 3\]; it must have shape \[6, 1, 4, 4\]"),
        ("target_map", {"target_maps": torch.full((6, 1, 4, 4), torch.nan)}, "target_maps has values that are NaN"),
        ("target_map", {"target_maps": torch.zeros(6, 1, 4, 4), "beta": 3}, "beta is 3; it must be two numbers"),
        ("target_map", {"target_maps": torch.zeros(6, 1, 4, 4), "output_weight": -1}, "output_weight is -1"),
    ],
)  # fmt: skip
def test_bad_input_gets_a_sentence(dense_posterior, some_images, some_labels, attack, change, message):
    given = {"images": some_images, "target": some_labels, "epsilon": 0.1, **QUIET, **change}
    with pytest.raises(ValueError, match=message):
        getattr(attacks, attack)(dense_posterior, **given)


def test_maps_that_are_nan_are_refused_and_not_taken_for_maps_without_a_gradient(
    dense_posterior, some_images, some_labels
):
    with pytest.raises(ValueError, match="objective, or what explain gives, is NaN"):
        attacks.target_region(
            dense_posterior, some_images, some_labels, 0.1, region=torch.ones(4, 4, dtype=torch.bool),
            explain=lambda posterior, images, target: images * torch.nan, **QUIET,
        )  # fmt: skip


def test_no_images_are_attacked_alike(dense_posterior, some_images, some_labels):
    none, labels = some_images[:0], some_labels[:0]
    case = (dense_posterior, none, labels, 0.1)
    region = torch.ones(1, 4, 4, dtype=torch.bool)
    for found in (
        attacks.fgsm(*case), attacks.pgd(*case, **QUIET), attacks.square(*case, **QUIET), attacks.top_k(*case, **QUIET),
        attacks.target_region(*case, region=region, **QUIET), attacks.target_map(*case, target_maps=none, **QUIET),
    ):  # fmt: skip
        assert found.shape == (0, 1, 4, 4)
    for attack in (attacks.evaluate, attacks.loss_by_steps):
        with pytest.raises(ValueError, match="images has 0 images; it must have at least 1"):
            attack(*case)
