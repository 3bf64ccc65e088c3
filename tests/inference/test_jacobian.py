from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import ROOT
from relevance import inference
from relevance.inference.jacobian import _terms, penalty
from relevance.networks import architectures

pytestmark = pytest.mark.stochastic


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


def test_what_is_minimised_is_the_mean_of_loss_and_penalty_image_by_image(linear):
    """As the chapter prints it: each image's loss and, in the same brackets, the penalty at that image."""
    network, images, labels = linear
    _, loss, squares = _terms(network, images, labels)
    each = [
        nn.functional.cross_entropy(network(image[None]), label[None])
        + 0.5 * penalty(network, image[None], label[None])
        for image, label in zip(images, labels, strict=True)
    ]
    torch.testing.assert_close(loss + 0.5 * squares, torch.cat(each).mean())
    text = (ROOT / "book/robust-training/training.md").read_text()
    assert r"\sum_{i=1}^{n} \Big( L(x_i, y_i) + \lambda\, \|\nabla_{x_i} L(x_i, y_i)\|_2^2 \Big)" in text


def test_the_penalty_is_differentiated_with_respect_to_the_parameters(linear):
    _, images, labels = linear
    torch.manual_seed(0)
    network = architectures.fully_connected((1, 2, 3), 4, 3, activation="softplus").double()

    def of_weight(values):
        state = {**dict(network.named_parameters()), "1.weight": values}
        return penalty(lambda x: torch.func.functional_call(network, state, (x,)), images, labels).sum()

    assert torch.autograd.gradcheck(of_weight, (network[1].weight.detach().clone().requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("train", [inference.jacobian, inference.low_curvature])
def test_without_strength_it_is_sgd(tiny_data, train):
    network = architectures.fully_connected(tiny_data.image_shape, 8, 3)
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
