from __future__ import annotations

import torch

from oracles import random_posterior
from relevance import explanations
from relevance.networks import architectures


def test_gradient_agrees_with_finite_differences(dense_posterior, some_images, some_labels):
    found = explanations.gradient(dense_posterior, some_images, some_labels)
    step = torch.zeros_like(some_images)
    step[:, 0, 1, 2] = 1e-6
    up, down = (
        dense_posterior.logits(images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
        for images in (some_images + step, some_images - step)
    )
    assert torch.allclose(found[:, 0, 1, 2], (up - down) / 2e-6, atol=1e-6)


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


def test_integrated_gradients_are_complete(some_images, some_labels):
    """Their sum is the difference of the logits, here on a smooth network."""
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3, "softplus"), 3)
    for baseline in (0.0, 0.5):
        found = explanations.integrated_gradients(posterior, some_images, some_labels, baseline=baseline)
        logits = [
            posterior.logits(images).mean(0).gather(1, some_labels[:, None]).squeeze(1)
            for images in (some_images, torch.full_like(some_images, baseline))
        ]
        assert torch.allclose(found.flatten(1).sum(1), logits[0] - logits[1], atol=1e-8)
