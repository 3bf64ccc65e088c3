from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from relevance import attacks, chunks
from relevance.posterior import Posterior


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
def test_bad_input_gets_a_sentence(dense_posterior, some_images, some_labels, change, message):
    given = {"images": some_images, "labels": some_labels, "epsilon": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        attacks.fgsm(dense_posterior, **given)
