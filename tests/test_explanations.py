from __future__ import annotations

import pytest
import torch
from torch import nn

from conftest import random_posterior
from relevance import explanations, networks
from relevance.chunks import VALUES_AT_ONCE
from relevance.explanations import Epsilon
from relevance.posterior import Posterior


def by_loops(layers, image, target, epsilon):
    """The epsilon rule as it is written: sums over single connections, on one image."""
    activations = [image.flatten()]
    for layer in layers:
        activations.append(layer(activations[-1][None])[0])
    relevance = torch.zeros_like(activations[-1])
    relevance[target] = activations[-1][target]
    for layer, inputs, outputs in zip(reversed(layers), activations[-2::-1], activations[:0:-1], strict=True):
        if not isinstance(layer, nn.Linear):
            continue
        shared = torch.zeros_like(inputs)
        for j in range(len(inputs)):
            for k in range(len(outputs)):
                sign = 1.0 if outputs[k] >= 0 else -1.0
                shared[j] += inputs[j] * layer.weight[k, j] / (outputs[k] + epsilon * sign) * relevance[k]
        relevance = shared
    return relevance.reshape(image.shape)


def loaded(posterior, sample=0):
    network = posterior.network
    network.load_state_dict({name: value[sample] for name, value in posterior.samples.items()})
    return network


@torch.no_grad()
@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "softplus"])
def test_the_epsilon_map_is_the_rule_written_out(some_images, some_labels, activation):
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3, activation), 2)
    for sample, maps in enumerate(
        explanations.lrp(posterior, some_images, some_labels, rule=Epsilon(0.1), per_sample=True)
    ):
        layers = list(loaded(posterior, sample))[1:]
        for image, label, found in zip(some_images, some_labels, maps, strict=True):
            assert torch.allclose(found, by_loops(layers, image, label, 0.1), atol=1e-12)


def test_the_stabiliser_pushes_zero_up():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    image = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = explanations.lrp(Posterior.of(network), image, torch.tensor([0]), rule=Epsilon(0.5), seed="one_hot")
    assert found.flatten().tolist() == [2, -2]  # 1 / (0 + 0.5), and minus that


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
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3, activation), 4)
    found = explanations.lrp(posterior, some_images, some_labels, rule=Epsilon(1e-13))
    wanted = explanations.gradient_x_input(posterior, some_images, some_labels)
    assert torch.allclose(found, wanted, atol=1e-9)


def test_gradient_agrees_with_finite_differences(dense_posterior, some_images, some_labels):
    found = explanations.gradient(dense_posterior, some_images, some_labels)
    step = torch.zeros_like(some_images)
    step[:, 0, 1, 2] = 1e-6
    up, down = (
        dense_posterior.logits(images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
        for images in (some_images + step, some_images - step)
    )
    assert torch.allclose(found[:, 0, 1, 2], (up - down) / 2e-6, atol=1e-6)


def test_the_expected_map_is_the_mean_of_the_samples_maps(dense_posterior, some_images, some_labels, monkeypatch):
    every = explanations.lrp(dense_posterior, some_images, some_labels, per_sample=True)
    assert every.shape == (5, *some_images.shape)
    assert not torch.allclose(every[0], every[1])
    assert torch.allclose(explanations.lrp(dense_posterior, some_images, some_labels), every.mean(0), atol=1e-12)
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 800)  # two samples at once, and one at the end
    assert torch.allclose(explanations.lrp(dense_posterior, some_images, some_labels), every.mean(0), atol=1e-12)


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


def test_the_expected_map_can_be_differentiated_again(some_images, some_labels):
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3, "softplus"), 3)
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


def test_a_layer_without_a_rule_is_named(some_images, some_labels):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Tanh()).double()
    with pytest.raises(ValueError, match="layer 2 is a Tanh, for which lrp has no rule"):
        explanations.lrp(Posterior.of(network), some_images, some_labels)


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


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), "0.1", True])
def test_a_bad_stabiliser_gets_a_sentence(epsilon):
    with pytest.raises(ValueError, match="epsilon is .*; it must be a finite number at least 0"):
        Epsilon(epsilon)


def test_without_a_stabiliser_a_silent_neuron_passes_nothing_on():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    maps = explanations.lrp(
        Posterior.of(network), torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([0]), rule=Epsilon(0)
    )
    assert torch.equal(maps, torch.zeros_like(maps))


def test_without_a_stabiliser_a_cancelled_neuron_passes_nothing_on():
    """Its inputs are not zero, but their contributions are 1 and -1."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.Linear(1, 1)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -1.0]]))
    image = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = explanations.lrp(Posterior.of(network), image, torch.tensor([0]), rule=Epsilon(0), seed="one_hot")
    assert found.tolist() == [[[[0.0, 0.0]]]]


def test_images_are_cut_without_a_trace(dense_posterior, some_images, some_labels, monkeypatch):
    whole = [explanations.lrp(dense_posterior, some_images, some_labels, per_sample=each) for each in (False, True)]
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 300)  # three images at once, of one sample
    cut = [explanations.lrp(dense_posterior, some_images, some_labels, per_sample=each) for each in (False, True)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(whole, cut, strict=True))
    with pytest.raises(ValueError, match=r"target has shape \[2\]; it must have shape \[6\]"):
        explanations.gradient(dense_posterior, some_images, some_labels[:2])
