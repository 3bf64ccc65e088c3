"""The other explanation methods, against captum, closed forms, finite differences, and loops over single neurons."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from conftest import random_posterior
from relevance import explanations, networks
from relevance.chunks import VALUES_AT_ONCE
from relevance.explanations.deep_taylor import RootPoints
from relevance.posterior import Posterior

METHODS = {
    "gradient": explanations.gradient,
    "gradient_x_input": explanations.gradient_x_input,
    "integrated_gradients": partial(explanations.integrated_gradients, n_steps=4),
    "smooth_grad": partial(explanations.smooth_grad, n_noise=3),
    "guided_backprop": explanations.guided_backprop,
    "pattern_attribution": None,
    "lrp": explanations.lrp,
}


def method_for(name, posterior, images):
    if name != "pattern_attribution":
        return METHODS[name]
    return partial(explanations.pattern_attribution, patterns=explanations.fit_patterns(posterior, images))


def convolutional(activation=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), activation(), nn.MaxPool2d(2, 1), nn.Conv2d(4, 6, 2, stride=2, groups=2),
        nn.BatchNorm2d(6), activation(), nn.Dropout(0.5), nn.AvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


@pytest.fixture
def conv_posterior():
    torch.manual_seed(0)
    return random_posterior(convolutional(), n_samples=3, seed=2, scale=2.0)


@pytest.fixture
def data_images():
    return torch.rand((40, 1, 4, 4), generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def loaded(posterior, sample=0):
    """One sample as an ordinary network."""
    posterior.network.load_state_dict({k: v[sample] for k, v in posterior.samples.items()}, strict=False)
    return posterior.network


@pytest.mark.parametrize("name", METHODS)
def test_the_expected_map_is_the_mean_and_cuts_leave_no_trace(
    conv_posterior, some_images, some_labels, data_images, name, monkeypatch
):
    method = method_for(name, conv_posterior, data_images)
    every = method(conv_posterior, some_images, some_labels, per_sample=True)
    whole = method(conv_posterior, some_images, some_labels)
    assert every.shape == (3, *some_images.shape)
    assert every.abs().max() > 1e-4
    assert not torch.allclose(every[0], every[1])
    assert torch.allclose(whole, every.mean(0), atol=1e-12)
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 500)
    assert torch.allclose(method(conv_posterior, some_images, some_labels), whole, atol=1e-12)
    assert torch.allclose(method(conv_posterior, some_images, some_labels, per_sample=True), every, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_differentiated_again(some_images, some_labels, data_images, name):
    """By finite differences, on the expected map of a smooth network (of a gradient, the kinked ones have no slope)."""
    torch.manual_seed(0)
    posterior = random_posterior(convolutional(nn.Softplus), n_samples=2, seed=2)
    method = method_for(name, posterior, data_images)
    weights = torch.randn(some_images.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    def score(at):
        return (method(posterior, at, some_labels) * weights).sum()

    leaf = some_images.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(leaf), leaf)
    direction = torch.randn(some_images.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    step = 1e-6 * direction * (some_images > 1e-3) * (some_images < 1 - 1e-3)
    wanted = (score(some_images + step) - score(some_images - step)) / 2e-6
    assert (found * step * 1e6).sum().item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-7)


def test_gradients_agree_with_captum_s(conv_posterior, some_images, some_labels):
    """Of the posterior's mean logit: captum takes any function of the images."""
    from captum.attr import InputXGradient, IntegratedGradients, Saliency

    def mean_logit(images):
        return conv_posterior.logits(images).mean(0)

    def theirs(kind, **options):
        return kind(mean_logit).attribute(some_images.clone().requires_grad_(), target=some_labels, **options)

    given = (conv_posterior, some_images, some_labels)
    assert torch.allclose(explanations.gradient(*given), theirs(Saliency, abs=False), atol=1e-10)
    assert torch.allclose(explanations.gradient_x_input(*given), theirs(InputXGradient), atol=1e-10)
    found = explanations.integrated_gradients(*given, n_steps=7, baseline=0.25)
    wanted = theirs(IntegratedGradients, baselines=0.25, n_steps=7, method="gausslegendre").to(found)
    assert torch.allclose(found, wanted, atol=1e-10)


def test_guided_backprop_agrees_with_captum_s(conv_posterior, some_images, some_labels):
    """On ReLUs, one sample after the other: captum's hooks take an ordinary network."""
    from captum.attr import GuidedBackprop

    found = explanations.guided_backprop(conv_posterior, some_images, some_labels, per_sample=True)
    for sample, one in enumerate(found):
        network = loaded(conv_posterior, sample)
        with pytest.warns(UserWarning, match="Setting backward hooks"):
            wanted = GuidedBackprop(network).attribute(some_images.clone().requires_grad_(), target=some_labels)
        assert torch.allclose(one, wanted, atol=1e-10)
    assert not torch.allclose(found.mean(0), explanations.gradient(conv_posterior, some_images, some_labels))


def test_guided_backprop_of_leaky_relus_cuts_what_they_hand_back(some_images, some_labels):
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3), 1)
    found = explanations.guided_backprop(posterior, some_images, some_labels)
    network = loaded(posterior)
    for image, label, one in zip(some_images, some_labels, found, strict=True):
        below = network[1](image.flatten())
        middle = network[3](network[2](below))
        slope = [torch.where(z > 0, 1.0, 0.01).to(z) for z in (below, middle)]
        gradient = (network[5].weight[label] * slope[1]).clamp(min=0) @ network[3].weight
        gradient = (gradient * slope[0]).clamp(min=0) @ network[1].weight
        assert torch.allclose(one.flatten(), gradient, atol=1e-12)


def test_integrated_gradients_are_complete(some_images, some_labels):
    """Their sum is the difference of the logits, here on a smooth network."""
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3, "softplus"), 3)
    for baseline in (0.0, 0.5):
        found = explanations.integrated_gradients(posterior, some_images, some_labels, baseline=baseline)
        logits = [
            posterior.logits(images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
            for images in (some_images, torch.full_like(some_images, baseline))
        ]
        assert torch.allclose(found.flatten(1).sum(1), logits[0] - logits[1], atol=1e-8)


def test_smooth_grad_is_the_mean_gradient_at_noisy_copies(some_images, some_labels):
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3, "softplus"), 2)
    noise = 0.3 * torch.randn((5, 1, 4, 4), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    wanted = []
    for some in noise:
        leaf = (some_images + some).requires_grad_()
        logits = posterior.logits(leaf).mean(0).gather(1, some_labels[:, None]).sum()
        wanted.append(torch.autograd.grad(logits, leaf)[0])
    given = (posterior, some_images, some_labels)
    found = explanations.smooth_grad(*given, noise=0.3, n_noise=5, seed=4)
    assert torch.allclose(found, torch.stack(wanted).mean(0), atol=1e-12)
    assert torch.allclose(explanations.smooth_grad(*given, noise=0), explanations.gradient(*given), atol=1e-12)
    assert not torch.allclose(explanations.smooth_grad(*given, noise=0.3, n_noise=5, seed=5), found)


@pytest.mark.stochastic
def test_patterns_find_the_signal_of_a_linear_model():
    """x = a y + distractor, and w filters the distractor out: the pattern is a, not w."""
    generator = torch.Generator().manual_seed(3)
    signal, distractor = torch.tensor([1.0, 0.5, 0.0, 0.2]), torch.tensor([1.0, -1.0, 2.0, 0.0])
    y = torch.rand(4000, generator=generator, dtype=torch.float64)[:, None]
    other = torch.rand(4000, generator=generator, dtype=torch.float64)[:, None]
    # In these images, and not only in the mean over others, the distractor has nothing to do with y.
    slope = ((y - y.mean()) * other).mean() / (y - y.mean()).square().mean()
    other = other - slope * (y - y.mean())
    images = (0.2 + 0.3 * y * signal + 0.2 * (other * distractor + (distractor < 0).double())).reshape(-1, 1, 2, 2)
    # The weights of y and of its opposite, in pixels.
    basis = torch.linalg.pinv(torch.stack([signal, distractor]).double().T)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([basis[0], -basis[0]]))
    posterior = Posterior.of(network)
    pattern = explanations.fit_patterns(posterior, images)["1"][0]
    assert torch.allclose(pattern[0], signal.double(), atol=1e-9)
    target = torch.tensor([0, 1, 0])
    maps = explanations.pattern_attribution(posterior, images[:3], target, patterns={"1": pattern[None]})
    logits = posterior.logits(images[:3])[0].gather(1, target[:, None])
    assert torch.allclose(maps.flatten(1).sum(1), logits.squeeze(1), atol=1e-10)  # w times pattern is 1
    wanted = logits * (network[1].weight * pattern)[target]
    assert torch.allclose(maps.flatten(1), wanted, atol=1e-12)


def test_patterns_are_the_published_estimator_neuron_by_neuron(conv_posterior, data_images):
    """E+ over the places where a ReLU neuron is on; all of them for the logits."""
    patterns = explanations.fit_patterns(conv_posterior, data_images)
    sample = {name: value[1] for name, value in conv_posterior.samples.items()}
    at = functional_call(conv_posterior.network[:3], {k: v for k, v in sample.items() if k[0] in "012"}, (data_images,))
    outputs = nn.functional.conv2d(at, sample["3.weight"], sample["3.bias"], stride=2, groups=2)
    factor = sample["4.weight"] / (1 + conv_posterior.network[4].eps) ** 0.5
    outputs = outputs * factor[:, None, None] + sample["4.bias"][:, None, None]
    on_sometimes = [k for k in range(6) if 1 < (outputs[:, k] > 0).sum() < len(outputs)]
    assert on_sometimes
    for k in on_sometimes:
        channels = at[:, 2 * (k // 3) : 2 * (k // 3) + 2]
        x = torch.stack([channels[:, :, 0:2, 0:2].flatten(1)])[0]  # one place: stride 2 on 3 x 3
        y = outputs[:, k, 0, 0]
        on = y > 0
        direction = (x * y[:, None])[on].mean(0) - x[on].mean(0) * y.mean()
        weight = (sample["3.weight"][k] * factor[k]).flatten()
        assert torch.allclose(patterns["3"][1, k].flatten(), direction / (weight @ direction), atol=1e-9)
    features = outputs.clamp(min=0).flatten(1)
    logits = features @ sample["9.weight"].T
    covariance = (features - features.mean(0)).T @ (logits - logits.mean(0)) / len(features)
    wanted = (covariance / (sample["9.weight"].T * covariance).sum(0)).T
    assert torch.allclose(patterns["9"][1], wanted, atol=1e-9)


def test_a_neuron_that_is_never_on_has_no_pattern(data_images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        network[1].bias.copy_(torch.tensor([-100.0, 5.0, 5.0]))
    patterns = explanations.fit_patterns(Posterior.of(network), data_images)
    assert patterns["1"][0, 0].abs().max() == 0
    assert patterns["1"][0, 1:].abs().amax(1).min() > 0
    assert all(value.isfinite().all() for value in patterns.values())


def test_the_root_of_a_linear_model_is_its_projection(some_images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(0.3 * torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    posterior = Posterior.of(network)
    target = torch.tensor([0, 1, 0, 1, 0, 1])
    near = 0.4 + 0.2 * some_images  # far enough from 0 and 1 for the projection to stay inside
    roots = explanations.root_points(posterior, near, target, tolerance=1e-9)
    weight = network[1].weight[target]
    logits = (weight * near.flatten(1)).sum(1)
    wanted = near.flatten(1) - weight * (logits / (weight**2).sum(1))[:, None]
    inside = ((wanted >= 0) & (wanted <= 1)).all(1)
    assert inside.sum() >= 3
    assert torch.allclose(roots.images.flatten(1)[inside], wanted[inside], atol=1e-7)
    assert roots.converged[inside].all()
    assert torch.allclose(roots.distances, (roots.images - near).flatten(1).norm(dim=1))
    maps = explanations.deep_taylor(posterior, near, target, roots=roots)
    assert torch.allclose(maps.flatten(1)[inside], (weight * (near.flatten(1) - wanted))[inside], atol=1e-7)
    assert torch.allclose(maps.flatten(1).sum(1)[inside], logits[inside], atol=1e-7)


def test_roots_in_the_box_are_the_nearest_by_another_solver(some_images):
    """Pixels at their bounds: the projection onto a box and a plane, by scipy's search for its one multiplier."""
    from scipy.optimize import brentq

    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.randn(2, 16, generator=torch.Generator().manual_seed(2)))
        network[1].bias.copy_(torch.tensor([1.0, -1.0]))
    target = torch.zeros(6, dtype=torch.long)
    roots = explanations.root_points(Posterior.of(network), some_images, target, tolerance=1e-9)
    weight, bias = network[1].weight[0].detach().numpy(), network[1].bias[0].item()
    bound = ((roots.images == 0) | (roots.images == 1)).flatten(1).any(1)
    assert bound.any()
    # The logit takes both signs over the box, so every image has a root: w.z falls as its multiplier grows.
    assert np.minimum(weight, 0).sum() + bias < 0 < np.maximum(weight, 0).sum() + bias
    assert roots.converged.all()
    for image, root in zip(some_images.flatten(1).numpy(), roots.images.flatten(1).numpy(), strict=True):

        def projected(multiplier, image=image):
            return np.clip(image - multiplier * weight, 0, 1)

        best = brentq(lambda multiplier: np.dot(weight, projected(multiplier)) + bias, -1e3, 1e3, xtol=1e-13)
        assert root == pytest.approx(projected(best), abs=1e-5)


def test_roots_of_a_network_are_roots_and_those_that_are_not_are_named(some_images, some_labels):
    posterior = random_posterior(networks.fully_connected((1, 4, 4), 7, 3), 4)
    roots = explanations.root_points(posterior, some_images, some_labels, tolerance=1e-6)
    logits = posterior.logits(roots.images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
    before = posterior.logits(some_images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
    assert torch.allclose(roots.logits, logits)
    assert roots.converged.any()
    assert torch.equal(roots.converged, logits.abs() <= 1e-6 * before.abs().clamp(min=1))
    assert ((roots.images >= 0) & (roots.images <= 1)).all()
    never = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).double()
    with torch.no_grad():
        never[1].bias.fill_(100.0)
    roots = explanations.root_points(Posterior.of(never), some_images, torch.zeros(6, dtype=torch.long))
    assert not roots.converged.any()
    assert roots.images.isfinite().all()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("integrated_gradients", {"n_steps": 0}, "n_steps is 0"),
        ("integrated_gradients", {"baseline": 2}, "baseline is 2"),
        ("smooth_grad", {"noise": -1}, "noise is -1"),
        ("smooth_grad", {"n_noise": 2.5}, "n_noise is 2.5"),
        (
            "pattern_attribution",
            {"patterns": {}},
            r"patterns has the layers  and \[\] samples; it must have 1, 3, 5 and 5",
        ),
        ("root_points", {"n_steps": -1}, "n_steps is -1"),
        ("root_points", {"tolerance": 0}, "tolerance is 0"),
        ("deep_taylor", {"roots": RootPoints(*[torch.zeros(2)] * 4)}, r"roots has images of shape \[2\]"),
    ],
)
def test_bad_settings_get_a_sentence(dense_posterior, some_images, some_labels, method, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(explanations, method)(dense_posterior, some_images, some_labels, **options)


@pytest.mark.parametrize("name", [*METHODS, "deep_taylor", "root_points"])
def test_bad_images_and_targets_get_a_sentence(dense_posterior, some_images, some_labels, data_images, name):
    method = method_for(name, dense_posterior, data_images) if name in METHODS else getattr(explanations, name)
    spoilt = some_images.clone()
    spoilt[0, 0, 1, 1] = float("nan")
    with pytest.raises(ValueError, match="images has values that are NaN or infinite"):
        method(dense_posterior, spoilt, some_labels)
    with pytest.raises(ValueError, match="target has classes from 1 to 3; they must lie between 0 and 2"):
        method(dense_posterior, some_images, some_labels + 1)
