from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from relevance import explanations
from relevance.networks.posterior import Posterior


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
