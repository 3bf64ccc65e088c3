"""Each switch does what its row says, against a version of it that is written out by hand."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from torch import nn

from oracles import random_posterior
from relevance import attacks, explanations, metrics
from relevance.attacks.named import Attack
from relevance.explanations import Epsilon, Gamma
from relevance.networks import architectures
from relevance.studies.carbone import released
from relevance.studies.carbone.released import Switches

OFF = Switches()
FGSM = Attack("FGSM", 0.1, "mean_loss")
RULE = Epsilon(0.1)


@pytest.fixture
def case(dense_posterior, some_images, some_labels):
    return dense_posterior, some_images, some_labels


def test_all_are_off_and_frozen():
    assert not any(vars(OFF).values())
    assert all(f"{one.name}: row " in Switches.__doc__ for one in fields(Switches))
    with pytest.raises(AttributeError):
        OFF.own_class = True
    with pytest.raises(ValueError, match="own_class is 1; it must be True or False"):
        Switches(own_class=1)


@pytest.mark.parametrize("kind", ["FGSM", "PGD", "noise"])
def test_off_is_the_library_s_own_attack(case, kind):
    attack = Attack(kind, 0.1, n_steps=2)
    assert torch.equal(
        released.attacked(*case, attack, RULE, OFF), attacks.named.perturbed(*case, attack, RULE)["images"]
    )


def test_off_is_the_library_s_own_map_and_score(case, target):
    posterior, images, _ = case
    found = released.maps(posterior, images, target, FGSM, RULE, OFF)
    assert torch.equal(found, explanations.lrp(posterior, images, target, rule=RULE))
    assert torch.equal(released.robustness(found, -found.roll(1, 0), 25, OFF),
                       metrics.lrp_robustness(found, -found.roll(1, 0), 25))  # fmt: skip


def by_hand(weights, x, classes=None):
    """Logits, and what they depend on, of one sample of the dense network of three layers with leaky ReLU."""
    first = x @ weights["1.weight"].T + weights["1.bias"]
    second = nn.functional.leaky_relu(first) @ weights["3.weight"].T + weights["3.bias"]
    return first, second, nn.functional.leaky_relu(second) @ weights["5.weight"].T + weights["5.bias"]


def test_row_1_attacks_every_sample_and_averages_the_images(case):
    posterior, images, labels = case
    found = released.attacked(posterior, images, labels, FGSM, RULE, Switches(averaged_images=True))
    total = torch.zeros_like(images)
    for index in range(5):
        x = images.clone().requires_grad_()
        logits = by_hand({name: value[index] for name, value in posterior.samples.items()}, x.flatten(1))[2]
        nn.functional.cross_entropy(logits, labels).backward()
        total += (images + 0.1 * x.grad.sign()).clamp(0, 1)
    assert torch.allclose(found, total / 5)
    full = released.attacked(posterior, images, labels, FGSM, RULE, OFF)
    assert (found - images).abs().mean() < (full - images).abs().mean()


def on_relevance(kind, **switches):
    attack = Attack(kind, 0.2, n_steps=3, step_size=0.5, top_percent=25, seed=3)
    return attack, Switches(**switches)


def expected_map(posterior, points, target, slope=1.0):
    """The epsilon rule on images of any sign, written out; times a slope at what arrives at neurons below zero."""
    total = 0.0
    for index in range(len(posterior)):
        weights = {name: value[index] for name, value in posterior.samples.items()}
        x = points.flatten(1)
        values = by_hand(weights, x)
        inputs = [x, *(nn.functional.leaky_relu(value) for value in values[:2])]
        relevance = nn.functional.one_hot(target, 3) * values[2]
        for place, layer in ((2, "5"), (1, "3"), (0, "1")):
            z = values[place]
            relevance = inputs[place] * ((relevance / (z + 0.1 * z.sign())) @ weights[f"{layer}.weight"])
            if place:
                relevance = torch.where(values[place - 1] < 0, slope * relevance, relevance)
        total = total + relevance
    return (total / len(posterior)).reshape(points.shape)


@pytest.mark.parametrize("kind", ["top-k", "target region"])
@pytest.mark.parametrize("clamped", [True, False])
def test_rows_2_and_3_step_along_the_relevance_and_clamp_the_image(case, target, kind, clamped):
    posterior, images, labels = case
    attack, switches = on_relevance(kind, detached_relevance=True, clamped_image=clamped)
    found = released.attacked(posterior, images, labels, attack, RULE, switches)
    points = images
    for _ in range(3):
        points = points + 0.5 * expected_map(posterior, points, target).sign()
        points = points.clamp(-0.2, 0.2) if clamped else (images + (points - images).clamp(-0.2, 0.2)).clamp(0, 1)
    assert torch.allclose(found, points.clamp(0, 1))


def test_row_2_makes_both_attacks_the_same(case):
    both = [
        released.attacked(*case, on_relevance(kind)[0], RULE, Switches(detached_relevance=True))
        for kind in ("top-k", "target region")
    ]
    assert torch.equal(*both)
    aimed = [released.attacked(*case, on_relevance(kind)[0], RULE, OFF) for kind in ("top-k", "target region")]
    assert not torch.equal(*aimed)


def test_row_3_leaves_the_ball_around_the_image(case):
    attack, switches = on_relevance("top-k", clamped_image=True)
    found = released.attacked(*case, attack, RULE, switches)
    assert found.max() <= 0.2
    assert (found - case[1]).abs().max() > 0.2


@pytest.mark.parametrize("kind", ["top-k", "target region"])
def test_without_them_the_attacks_are_the_paper_s_formulas(case, target, kind):
    posterior, images, labels = case
    attack = Attack(kind, 0.2, n_steps=3, step_size=0.1, top_percent=25, seed=3)
    walk = {"rule": RULE, "n_steps": 3, "step_size": 0.1, "keep_label": False, "keep": "last", "progress": False}
    given = (posterior, images, target, 0.2)
    wanted = (
        attacks.top_k(*given, top_percent=25, measure="relevance", **walk)
        if kind == "top-k"
        else attacks.target_region(*given, region=attacks.random_region((1, 4, 4), 25, 3), **walk)
    )
    assert torch.allclose(released.attacked(posterior, images, labels, attack, RULE, OFF), wanted)


def test_row_4_has_no_target(case, target):
    posterior, images, labels = case
    attack = Attack("target map", 0.2, n_steps=2, step_size=0.01)
    found = released.attacked(posterior, images, labels, attack, RULE, Switches(detached_target=True))
    low, high = images.mean(), images.std()
    # At the image itself the outputs are where they are to stay, so the first step goes nowhere, and the clamp is all.
    clamped = images.clamp(low, high)
    x = clamped.clone().requires_grad_()
    soft = explanations.softened(posterior, 100.0)
    change = soft.predict(x.detach()) * 0 + soft.log_predictive(x).exp() - posterior.predict(images)
    change.square().sum().backward()
    assert torch.allclose(found, (clamped - 0.01 * x.grad.sign()).clamp(low, high))
    # Nothing of it depends on which map it is brought towards.
    other = Attack("target map", 0.2, n_steps=2, step_size=0.01, seed=7)
    assert torch.equal(found, released.attacked(posterior, images, labels, other, RULE, Switches(detached_target=True)))
    soft_map = released.maps(posterior, images, target, attack, RULE, Switches(detached_target=True))
    assert torch.allclose(soft_map, explanations.lrp(soft, images, target, rule=RULE))
    assert torch.equal(
        released.maps(posterior, images, target, FGSM, RULE, Switches(detached_target=True)),
        explanations.lrp(posterior, images, target, rule=RULE),
    )


def test_row_5_explains_every_sample_s_own_class(case, target):
    posterior, images, _ = case
    found = released.maps(posterior, images, target, FGSM, RULE, Switches(own_class=True))
    wanted = torch.stack([explanations.lrp(one, images, one.predict(images).argmax(1), rule=RULE) for one in posterior])
    assert torch.allclose(found, wanted.mean(0))


def test_row_6_takes_half_from_each_end():
    before = torch.tensor([[5.0, 4.0, 3.0, 0.0, 0.0, -1.0, -0.5, 0.0]])
    after = torch.tensor([[5.0, 0.0, 3.0, 4.0, 0.0, -1.0, -0.5, 0.0]])
    # Of 8 pixels 50 %: the two largest (0, 1; then 0, 3) and the two smallest (5, 6).
    assert released.robustness(before, after, 50, Switches(signed_top=True)).tolist() == [0.75]
    # In absolute value the top four are 0, 1, 2, 5; then 0, 2, 3, 5.
    assert released.robustness(before, after, 50, OFF).tolist() == [0.75]
    # Ties go by position: two maps of nothing are the same, which is what they are not when ties are shared.
    nothing = torch.zeros(1, 8)
    assert released.robustness(nothing, nothing, 50, Switches(signed_top=True)).tolist() == [1]
    assert released.robustness(nothing, nothing, 50, OFF).tolist() == [0.5]


def test_row_6_makes_unrelated_maps_alike_where_their_support_is_the_same():
    """Maps of 784 pixels that are zero but on 64 of them, and have nothing else in common: 157 are on top."""
    generator = torch.Generator().manual_seed(0)
    pair = torch.zeros(2, 200, 784, dtype=torch.float64)
    pair[..., 300:364] = torch.randn(2, 200, 64, generator=generator, dtype=torch.float64)
    found = released.robustness(*pair, 20, Switches(signed_top=True))
    # All 64 are on top of both; of the others as many are not as maps differ in how many of the 64 are positive.
    more = (pair > 0).double().sum(2)
    assert torch.allclose(found, 1 - (more[0] - more[1]).abs() / 157)
    assert found.min() > 0.85
    # By shares of ties, the other 93 places are spread over 720 zeros.
    assert torch.allclose(
        released.robustness(*pair, 20, OFF), torch.tensor((64 + 93**2 / 720) / 157, dtype=torch.float64)
    )


def test_row_7_squares_the_positive_weights(case, target):
    posterior, images, _ = case
    found = released.maps(posterior[:1], images, target, FGSM, Gamma(0.3), Switches(squared_gamma=True))
    weights = {name: value[0] for name, value in posterior.samples.items()}
    x = images.flatten(1)
    values = by_hand(weights, x)
    inputs = [x, *(nn.functional.leaky_relu(value) for value in values[:2])]
    relevance = nn.functional.one_hot(target, 3) * values[2]
    for place, layer in ((2, "5"), (1, "3"), (0, "1")):
        weight, bias = (w + 0.3 * w.clamp(min=0) ** 2 for w in (weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
        relevance = inputs[place] * ((relevance / (inputs[place] @ weight.T + bias)) @ weight)
    assert torch.allclose(found, relevance.reshape(images.shape))
    # It concerns the gamma rule alone.
    assert torch.equal(
        released.maps(posterior, images, target, FGSM, RULE, Switches(squared_gamma=True)),
        released.maps(posterior, images, target, FGSM, RULE, OFF),
    )
    with pytest.raises(ValueError, match="gamma is -1; it must be a finite number at least 0"):
        released.SquaredGamma(-1)


def test_row_8_multiplies_what_arrives_below_zero_by_the_slope(case, target):
    posterior, images, _ = case
    found = released.maps(posterior[:1], images, target, FGSM, RULE, Switches(own_slope=True))
    assert torch.allclose(found, expected_map(posterior[:1], images, target, slope=0.01))
    assert not torch.allclose(found, explanations.lrp(posterior[:1], images, target, rule=RULE))


def test_the_switches_leave_the_posterior_as_it_is(case, target):
    posterior, images, _ = case
    before = explanations.lrp(posterior, images, target)
    released.maps(posterior, images, target, FGSM, RULE, Switches(own_slope=True))
    assert torch.equal(explanations.lrp(posterior, images, target), before)
    assert type(posterior.network[2]) is nn.LeakyReLU


def test_a_convolutional_network_has_its_slopes_too(some_labels):
    posterior = random_posterior(architectures.convolutional((1, 16, 16), 2, 3), 2)
    images = torch.rand((6, 1, 16, 16), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = released.maps(posterior, images, some_labels, FGSM, RULE, Switches(own_slope=True))
    assert not torch.allclose(found, released.maps(posterior, images, some_labels, FGSM, RULE, OFF))
