"""Rows of residual networks, against what they say written out on small networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles import dilated_convolutional, random_posterior
from relevance import attacks, explanations, metrics
from relevance.explanations import Epsilon
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.carbone import residual

RULE = Epsilon(0.1)


def images_of(*shape, seed=1):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_row_9_changes_nothing_in_the_paper_s_mnist_network(some_labels):
    """Its convolutions have stride 1 and neither padding nor groups nor dilation."""
    posterior = random_posterior(architectures.convolutional((1, 16, 16), 2, 3), 2)
    images = images_of(6, 1, 16, 16)
    found = explanations.lrp(posterior, images, some_labels, rule=residual.PlainBack(RULE))
    assert torch.equal(found, explanations.lrp(posterior, images, some_labels, rule=RULE))


@pytest.mark.parametrize("settings", [{"stride": 2}, {"padding": 1}, {"dilation": 2}, {"groups": 2}])
def test_row_9_ignores_the_settings_of_a_convolution(settings):
    layer = nn.Conv2d(2, 4, 3, **settings).double()
    network = nn.Sequential(layer, nn.Flatten())
    images = images_of(3, 2, 6, 6)
    posterior = Posterior.of(network)
    outputs = layer(images)
    classes = outputs[0].numel() - torch.arange(1, 4)  # neurons of the last group
    found = explanations.lrp(posterior, images, classes, rule=residual.PlainBack(RULE))
    seed = (functional.one_hot(classes, outputs[0].numel()) * outputs.flatten(1)).reshape(outputs.shape)
    back = functional.conv_transpose2d(seed / (outputs + 0.1 * outputs.sign()), layer.weight)
    whole = torch.zeros_like(images)
    channels, height, width = (min(a, b) for a, b in zip(back.shape[1:], images.shape[1:], strict=True))
    whole[:, :channels, :height, :width] = back[:, :channels, :height, :width]
    assert torch.allclose(found, images * whole)
    assert not torch.allclose(found, explanations.lrp(posterior, images, classes, rule=RULE))


def test_row_12_explains_the_ends_alone():
    network = dilated_convolutional()
    posterior, images = random_posterior(network, 1), images_of(3, 2, 4, 4)
    classes = torch.tensor([0, 1, 2])
    found = residual.at_the_ends(posterior, images, classes, RULE)
    first, last = network[0], network[-1]
    sample = {name: value[0] for name, value in posterior.samples.items()}

    def between(activations):
        for index in range(1, len(network) - 1):
            own = {n.removeprefix(f"{index}."): v for n, v in sample.items() if n.startswith(f"{index}.")}
            activations = torch.func.functional_call(network[index], own, (activations,))
        return activations

    own = {n.removeprefix("0."): v for n, v in sample.items() if n.startswith("0.")}
    z = torch.func.functional_call(first, own, (images,))
    leaf = z.detach().requires_grad_()
    hidden = between(leaf)
    weight, bias = (sample[f"{len(network) - 1}.{part}"] for part in ("weight", "bias"))
    logits = hidden @ weight.T + bias
    seed = functional.one_hot(classes, 3) * logits
    relevance = hidden * ((seed / (logits + 0.1 * logits.sign())) @ weight)
    (arrived,) = torch.autograd.grad(hidden, leaf, relevance.detach())
    wanted = images * functional.conv_transpose2d(
        arrived / (z + 0.1 * z.sign()), own["weight"], None, first.stride, first.padding, 1, first.groups
    )
    assert torch.allclose(found, wanted)
    assert isinstance(last, nn.Linear)


def test_row_12_explains_attacked_images_by_other_draws(dense_posterior, some_images, target):
    attacked = (some_images + 0.1).clamp(0, 1)
    found = residual.by_other_draws(dense_posterior, some_images, attacked, target, RULE, 25)
    before = explanations.lrp(dense_posterior[:2], some_images, target, rule=RULE)
    after = explanations.lrp(dense_posterior[2:], attacked, target, rule=RULE)
    assert torch.equal(found, metrics.lrp_robustness(before, after, 25))


def test_row_12_clamps_normalised_pixels(some_images, some_labels, dense_posterior):
    found = residual.clamped_after_normalising(dense_posterior, some_images, some_labels, 0.2, [0.5], [0.25])
    sign = attacks.loss_gradient(dense_posterior, some_images, some_labels).sign()
    wanted = 0.5 + 0.25 * ((some_images - 0.5) / 0.25 + 0.2 * sign).clamp(0, 1)
    assert torch.allclose(found, wanted)
    assert found.min() >= 0.5  # what was darker than the mean is the mean


def test_effects_are_those_of_the_functions():
    posterior = random_posterior(architectures.resnet20((3, 16, 16), 2, 3), 4, scale=0.5)
    images, labels = images_of(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    rows = residual.effects(posterior, images, labels, 0.1, RULE, 20).set_index("change")["value"]
    target = posterior.predict(images).argmax(1)
    maps = [explanations.lrp(posterior, images, target, rule=rule) for rule in (RULE, residual.PlainBack(RULE))]
    assert rows.iloc[0] == pytest.approx(metrics.linear_similarity(*maps).mean().item())
    assert rows["k-LRP, other draws for attacked images"] < rows["k-LRP, the same draws"]
    assert rows.iloc[4] == pytest.approx((attacks.fgsm(posterior, images, labels, 0.1) - images).abs().mean().item())
    assert rows.iloc[5] > rows.iloc[4]
