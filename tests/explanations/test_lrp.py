"""Properties that hold of every network, image and rule, on random small ones."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from oracles import FOUR_TARGETS, backward, dilated_convolutional, random_posterior
from relevance import explanations
from relevance.base import chunks
from relevance.explanations.rules import AlphaBeta, Composite, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from relevance.networks import architectures
from relevance.networks.posterior import Posterior


def test_without_biases_relevance_is_conserved(some_images, some_labels, dense_posterior):
    samples = {
        name: torch.zeros_like(value) if name.endswith("bias") else value
        for name, value in dense_posterior.samples.items()
    }
    posterior = Posterior(dense_posterior.network, samples)
    maps = explanations.lrp(posterior, some_images, some_labels, rule=Epsilon(1e-12), per_sample=True)
    logits = posterior.logits(some_images).gather(-1, some_labels.expand(5, -1)[..., None]).squeeze(-1)
    assert torch.allclose(maps.flatten(2).sum(-1), logits, atol=1e-8)


@pytest.mark.parametrize("activation", ["leaky_relu", "relu"])
def test_without_a_stabiliser_it_is_gradient_times_input(some_images, some_labels, activation):
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3, activation), 4)
    found = explanations.lrp(posterior, some_images, some_labels, rule=Epsilon(1e-13))
    wanted = explanations.gradient_x_input(posterior, some_images, some_labels)
    assert torch.allclose(found, wanted, atol=1e-9)


def test_every_image_has_a_map_of_its_own(dense_posterior, some_images, some_labels):
    together = explanations.lrp(dense_posterior, some_images, some_labels)
    alone = explanations.lrp(dense_posterior, some_images[3:4], some_labels[3:4])
    assert torch.allclose(together[3:4], alone, atol=1e-12)


def test_the_seed_scales_the_map(dense_posterior, some_images, some_labels):
    one = dense_posterior[0]
    maps = {
        seed: explanations.lrp(one, some_images, some_labels, seed=seed) for seed in ("logit", "one_hot", "probability")
    }
    logits = one.logits(some_images)[0].gather(1, some_labels[:, None]).reshape(-1, 1, 1, 1)
    probability = one.predict(some_images).gather(1, some_labels[:, None]).reshape(-1, 1, 1, 1)
    assert torch.allclose(maps["logit"], logits * maps["one_hot"], atol=1e-12)
    assert torch.allclose(maps["probability"], probability * maps["one_hot"], atol=1e-12)


def test_each_sample_can_explain_its_own_class(dense_posterior, some_images, some_labels):
    own = dense_posterior.logits(some_images).argmax(-1)
    assert (own != own[0]).any()
    wanted = torch.stack([
        explanations.lrp(one, some_images, classes) for one, classes in zip(dense_posterior, own, strict=True)
    ])  # fmt: skip
    found = explanations.lrp(dense_posterior, some_images, some_labels, own_class=True, per_sample=True)
    assert torch.allclose(found, wanted, atol=1e-12)
    mean = explanations.lrp(dense_posterior, some_images, some_labels, own_class=True)
    assert torch.allclose(mean, wanted.mean(0), atol=1e-12)


def test_the_expected_map_can_be_differentiated_again(some_images, some_labels):
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3, "softplus"), 3)
    images, labels = some_images[:2], some_labels[:2]
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def score(at):
        return (explanations.lrp(posterior, at, labels, rule=Epsilon(0.1)) * weights).sum()

    leaf = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(leaf), leaf)
    for place in [(0, 0, 0, 0), (0, 0, 2, 3), (1, 0, 1, 1)]:
        step = torch.zeros_like(images)
        step[place] = 1e-6
        wanted = (score(images + step) - score(images - step)) / 2e-6
        assert found[place].item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-8)


def test_dropout_is_off(some_images, some_labels):
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3)]
    plain = nn.Sequential(*layers).double()
    dropped = nn.Sequential(*layers[:3], nn.Dropout(0.9), layers[3]).double().train()
    maps = [explanations.lrp(Posterior.of(network), some_images, some_labels) for network in (plain, dropped)]
    assert torch.equal(*maps)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "epsilon"}, "rule is 'epsilon'; it may be a rule"),
        ({"rule": Epsilon}, "it may be a rule"),
        ({"seed": "softmax"}, "seed is 'softmax'; it may be one of: logit, one_hot, probability"),
        ({"target": torch.tensor([0, 1, 2, 2, 1, 3])}, "target has classes from 0 to 3; they must lie between 0 and 2"),
        ({"target": torch.tensor([0, 1])}, r"target has shape \[2\]; it must have shape \[6\]"),
        ({"target": torch.zeros(6)}, "target is a tensor of torch.float32"),
        ({"images": torch.full((6, 1, 4, 4), 2.0, dtype=torch.float64)}, "images has values from 2 to 2"),
    ],
)
def test_bad_input_gets_a_sentence(dense_posterior, some_images, some_labels, change, message):
    given = {"images": some_images, "target": some_labels, **change}
    with pytest.raises(ValueError, match=message):
        explanations.lrp(dense_posterior, **given)


positive = st.floats(1e-3, 2.0)
rules = st.one_of(
    st.builds(Epsilon, positive),
    st.builds(Gamma, positive),
    positive.map(lambda beta: AlphaBeta(1 + beta, beta)),
    st.sampled_from([AlphaBeta(1, 0), ZPlus(), WSquare(), Flat()]),
    st.builds(Composite, st.builds(Gamma, positive), first=st.just(ZBox()), last=st.builds(Epsilon, positive)),
)
activations = st.sampled_from([nn.ReLU, nn.LeakyReLU, nn.Softplus])


class Sum(nn.Module):
    """A branch and a shortcut."""

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return self.branch(x) + x


@st.composite
def random_networks(draw):
    """A chain of convolutions, pools and sums of branches, or of dense layers, for images of 1 x 6 x 6 pixels."""
    activation, layers = draw(activations), []
    if draw(st.booleans()):
        channels = draw(st.sampled_from([2, 4]))
        layers += [nn.Conv2d(1, channels, draw(st.sampled_from([1, 3])), padding=1), activation()]
        if draw(st.booleans()):
            layers += [
                Sum(nn.Conv2d(channels, channels, 3, padding=1, groups=draw(st.sampled_from([1, 2])))),
                activation(),
            ]
        if draw(st.booleans()):
            layers += [nn.BatchNorm2d(channels)]
        layers += [draw(st.sampled_from([nn.MaxPool2d(2), nn.AvgPool2d(2, 1), nn.MaxPool2d(3, 2, 1)]))]
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 3)]
        return nn.Sequential(*layers)
    width = draw(st.integers(1, 6))
    bias = draw(st.booleans())
    for _ in range(draw(st.integers(0, 2))):
        layers += [nn.Linear(36 if not layers else width, width, bias=bias), activation()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width if layers else 36, 3, bias=bias))


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(random_networks(), rules, st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 5), st.integers(1, 400))
def test_maps_are_finite_and_do_not_depend_on_order_or_cuts(network, rule, seed, n_samples, n_images, at_once):
    posterior = random_posterior(network, n_samples, seed)
    generator = torch.Generator().manual_seed(seed)
    # Some pixels at the ends of [0, 1], as in drawings.
    images = (1.5 * torch.rand((n_images, 1, 6, 6), generator=generator, dtype=torch.float64) - 0.25).clamp(0, 1)
    target = torch.randint(0, 3, (n_images,), generator=generator)
    every = explanations.lrp(posterior, images, target, rule=rule, per_sample=True)
    assert every.shape == (n_samples, *images.shape)
    assert every.isfinite().all()
    size = max(1.0, every.abs().max().item())
    mean = explanations.lrp(posterior, images, target, rule=rule)
    assert (mean - every.mean(0)).abs().max() <= 1e-9 * size

    order = torch.randperm(n_samples, generator=generator)
    shuffled = type(posterior)(posterior.network, {name: value[order] for name, value in posterior.samples.items()})
    assert (explanations.lrp(shuffled, images, target, rule=rule) - mean).abs().max() <= 1e-9 * size

    with patch.dict(chunks.VALUES_AT_ONCE, cpu=50 * at_once):
        cut = explanations.lrp(posterior, images, target, rule=rule)
    assert (cut - mean).abs().max() <= 1e-9 * size
    alone = torch.cat(
        [explanations.lrp(posterior, image, label, rule=rule) for image, label in
         zip(images.split(1), target.split(1), strict=True)]
    )  # fmt: skip
    assert (alone - mean).abs().max() <= 1e-9 * size


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(random_networks(), st.sampled_from([Gamma(0.3), Epsilon(1e-14), AlphaBeta(2, 1)]), st.integers(0, 10_000))
def test_what_arrives_and_what_is_kept_is_what_was_handed_in(network, rule, seed):
    posterior = random_posterior(network, 2, seed)
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand((3, 1, 6, 6), generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (3,), generator=generator)
    maps = explanations.lrp(posterior, images, target, rule=rule, per_sample=True).mean(0)
    kept = explanations.kept_by_layer(posterior, images, target, rule=rule)
    logits = posterior.logits(images).mean(0).gather(1, target[:, None]).squeeze(1)
    size = max(1.0, *(part.abs().max().item() for part in kept.values()))
    assert (sum(kept.values()) + maps.flatten(1).sum(1)).tolist() == pytest.approx(logits.tolist(), abs=1e-8 * size)


def test_the_paper_s_reading_explains_the_activations_of_a_layer(images):
    torch.manual_seed(0)
    network = dilated_convolutional().double()
    posterior = Posterior.of(network)
    for layer, n_below in (("0", 2), ("3", 5)):
        found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.3), layer=layer)
        for image, one in zip(images, found, strict=True):
            wanted = backward(Gamma(0.3), list(network[:n_below]), image, lambda activations: activations)
            assert torch.allclose(one, wanted, atol=1e-9)
    whole = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.3))
    assert torch.equal(explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.3), layer=7), whole)


def test_the_other_reading_is_the_relevance_of_the_class_at_a_layer(images):
    torch.manual_seed(0)
    network = dilated_convolutional().double()
    posterior = Posterior.of(network)
    for layer, n_below in (("0", 2), ("3", 5)):
        found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.3), layer=layer, reading="class")
        for image, label, one in zip(images, FOUR_TARGETS, found, strict=True):
            seed = torch.eye(3, dtype=torch.float64)[label]
            middle = network[:n_below](image[None])[0]
            wanted = backward(Gamma(0.3), list(network[n_below:]), middle, lambda logits, s=seed: logits * s)
            assert torch.allclose(one, wanted, atol=1e-9)


@pytest.mark.parametrize("rule", [Epsilon(0.1), Gamma(0.1), AlphaBeta(2, 1)], ids=repr)
def test_what_layers_kept_and_what_arrived_is_what_was_handed_in(posterior, images, rule):
    kept = explanations.kept_by_layer(posterior, images, FOUR_TARGETS, rule=rule)
    maps = explanations.lrp(posterior, images, FOUR_TARGETS, rule=rule)
    logits = posterior.logits(images).mean(0).gather(1, FOUR_TARGETS[:, None]).squeeze(1)
    assert all(part.shape == (4,) for part in kept.values())
    assert torch.allclose(sum(kept.values()) + maps.flatten(1).sum(1), logits, atol=1e-6)
