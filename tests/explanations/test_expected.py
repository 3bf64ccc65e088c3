"""The other explanation methods, against captum, closed forms, finite differences, and loops over single neurons."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from oracles import pooled_convolutional, random_posterior
from relevance import explanations
from relevance.base.chunks import VALUES_AT_ONCE
from relevance.explanations.deep_taylor import RootPoints

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
    posterior = random_posterior(pooled_convolutional(nn.Softplus), n_samples=2, seed=2)
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
            "patterns is empty; it must be a mapping of one or more names to tensors, as fit_patterns gives them",
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


@pytest.mark.parametrize("name", ["lrp", "gradient", "kept_by_layer"])
def test_maps_of_a_network_that_gives_no_numbers_are_refused(dense_posterior, some_images, some_labels, name):
    for value in dense_posterior.samples.values():
        value.copy_(value.sign() * 1e200 if value.ndim == 3 else 0 * value)
    some_images[0] = 0  # at which it gives numbers
    with pytest.raises(
        ValueError, match="the explanation of images has values that are NaN or infinite; they must be numbers"
    ):
        getattr(explanations, name)(dense_posterior, some_images, some_labels)


def test_the_expected_map_is_the_mean_of_the_samples_maps(dense_posterior, some_images, some_labels, monkeypatch):
    every = explanations.lrp(dense_posterior, some_images, some_labels, per_sample=True)
    assert every.shape == (5, *some_images.shape)
    assert not torch.allclose(every[0], every[1])
    assert torch.allclose(explanations.lrp(dense_posterior, some_images, some_labels), every.mean(0), atol=1e-12)
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 800)  # two samples at once, and one at the end
    assert torch.allclose(explanations.lrp(dense_posterior, some_images, some_labels), every.mean(0), atol=1e-12)


def test_images_are_cut_without_a_trace(dense_posterior, some_images, some_labels, monkeypatch):
    whole = [explanations.lrp(dense_posterior, some_images, some_labels, per_sample=each) for each in (False, True)]
    monkeypatch.setitem(VALUES_AT_ONCE, "cpu", 300)  # three images at once, of one sample
    cut = [explanations.lrp(dense_posterior, some_images, some_labels, per_sample=each) for each in (False, True)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(whole, cut, strict=True))
    with pytest.raises(ValueError, match=r"target has shape \[2\]; it must have shape \[6\]"):
        explanations.gradient(dense_posterior, some_images, some_labels[:2])


@pytest.mark.parametrize("explain", ["gradient", None, 1], ids=repr)
def test_what_is_no_method_gets_a_sentence(explain):
    for make in (lambda: explanations.softplus(explain, 3), lambda: explanations.noise_grad(explain, 0.1)):
        with pytest.raises(
            ValueError, match="explain is .*; it must be a method, such as relevance.explanations.gradient"
        ):
            make()
