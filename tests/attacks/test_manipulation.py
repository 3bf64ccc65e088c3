from __future__ import annotations

import pytest
import torch

from relevance import attacks, explanations
from relevance.attacks import manipulation


def test_noise_has_the_norm_of_the_manipulation_on_black_and_white():
    # Half of all noise leads out of the pixel range here, and is cut.
    images = torch.zeros(3, 1, 6, 6)
    images[:, :, :3] = 1
    found = images.clone()
    found[0, 0, 0, :2], found[1, 0, 4] = 0.5, 0.9
    control = manipulation.noised(images, found, seed=3)
    sizes = (found - images).flatten(1).norm(dim=1)
    assert torch.allclose((control - images).flatten(1).norm(dim=1), sizes, atol=1e-4)
    assert torch.equal(control[2], images[2])
    assert control.min() >= 0
    assert control.max() <= 1


def test_shares_have_a_mean_of_one_and_zeros_stay():
    maps = torch.tensor([[[[1.0, -3.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    shown = manipulation.shares(lambda posterior, images, target: maps)(None, None, None)
    assert torch.allclose(shown[0], torch.tensor([[[1.0, 1.0]]]))
    assert not shown[1].any()


@pytest.fixture
def case(dense_posterior, some_images):
    """One network, six images and their classes, the gradient's magnitudes, and those of the next image as aims."""
    network = dense_posterior[0]
    target = network.predict(some_images).argmax(1)
    explain = manipulation.shares(explanations.gradient)
    with torch.no_grad():
        aims = explain(network, some_images, target).roll(1, 0)
    return network, some_images, target, explain, aims


@torch.no_grad()
def losses(case, found, output_weight):
    """Mean squared distance from the aims, plus the weight times the squared change of the probabilities, in loops."""
    network, images, target, explain, aims = case
    result = []
    for image, other, label, aim in zip(images, found, target, aims, strict=True):
        shown = explain(network, other[None], label[None])[0]
        change = network.predict(other[None]) - network.predict(image[None])
        result.append(((shown - aim) ** 2).mean() + output_weight * (change**2).sum())
    return torch.stack(result)


@pytest.mark.stochastic
def test_a_manipulation_nears_the_target_map_in_its_ball_and_holds_the_outputs(case):
    network, images, target, *_ = case
    changes = []
    for output_weight in (0.0, 100.0):
        how = attacks.Manipulation(epsilon=0.8, n_steps=8, output_weight=output_weight)
        found = attacks.manipulated(*case, how)
        before, after = (losses(case, points, output_weight) for points in (images, found))
        assert (after <= before + 1e-12).all()
        assert after.mean() < 0.7 * before.mean()
        sizes = (found - images).flatten(1).norm(dim=1)
        assert 0.1 < sizes.max() <= 0.8 + 1e-9
        assert found.min() >= 0
        assert found.max() <= 1
        assert torch.equal(network.predict(found).argmax(1), target)
        changes.append((network.predict(found) - network.predict(images)).square().sum())
    assert changes[1] < 0.5 * changes[0]


def test_a_ball_of_no_size_leaves_the_images_as_they_are(case):
    images = case[1]
    assert torch.equal(attacks.manipulated(*case, attacks.Manipulation(epsilon=0.0, n_steps=3)), images)


@pytest.mark.stochastic
def test_of_several_softened_networks_each_image_gets_the_one_that_led_nearest(case):
    pairs = ((1.0, 1.0), (30.0, 30.0))

    def led(*betas):
        return attacks.manipulated(*case, attacks.Manipulation(epsilon=0.8, n_steps=3, betas=betas))

    each = torch.stack([led(pair) for pair in pairs])
    nearest = torch.stack([losses(case, found, 1.0) for found in each]).argmin(0)
    assert len(nearest.unique()) > 1
    assert torch.equal(led(*pairs), each[nearest, torch.arange(6)])


def test_no_images_are_manipulated_to_none(case):
    network, images, target, explain, aims = case
    none = attacks.manipulated(network, images[:0], target[:0], explain, aims[:0], attacks.Manipulation(n_steps=2))
    assert none.shape == (0, 1, 4, 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilon": -0.1}, "epsilon is -0.1; it must be a finite number at least 0"),
        ({"n_steps": 0}, "n_steps is 0; it must be a whole number of at least 1"),
        ({"output_weight": -1}, "output_weight is -1; it must be a finite number at least 0"),
        ({"top_percent": 0}, "top_percent is 0; it must be a finite number above 0 and at most 100"),
    ],
)
def test_a_manipulation_that_cannot_be_gets_a_sentence(settings, message):
    with pytest.raises(ValueError, match=message):
        attacks.Manipulation(**settings)


def test_a_manipulation_says_what_it_is():
    told = str(attacks.Manipulation(epsilon=0.5, n_steps=7, output_weight=2, betas=((3.0, 100.0), (5.0, 5.0))))
    assert told == (
        "manipulations in 7 steps, of a Euclidean norm of at most 0.5 (pixels lie in [0, 1]), with gamma 2, that follow "
        "softplus of beta 3 to 100 or 5"
    )
