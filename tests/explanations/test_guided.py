from __future__ import annotations

import pytest
import torch

from oracles import random_posterior
from relevance import explanations
from relevance.networks import architectures


def loaded(posterior, sample=0):
    """One sample as an ordinary network."""
    posterior.network.load_state_dict({k: v[sample] for k, v in posterior.samples.items()}, strict=False)
    return posterior.network


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
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3), 1)
    found = explanations.guided_backprop(posterior, some_images, some_labels)
    network = loaded(posterior)
    for image, label, one in zip(some_images, some_labels, found, strict=True):
        below = network[1](image.flatten())
        middle = network[3](network[2](below))
        slope = [torch.where(z > 0, 1.0, 0.01).to(z) for z in (below, middle)]
        gradient = (network[5].weight[label] * slope[1]).clamp(min=0) @ network[3].weight
        gradient = (gradient * slope[0]).clamp(min=0) @ network[1].weight
        assert torch.allclose(one.flatten(), gradient, atol=1e-12)
