"""Normalisation by an image's own size and mean, beside the formula with dense matrices."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import Function, assert_way, passed_on
from relevance import explanations
from relevance.networks.architectures import Normalise
from relevance.networks.posterior import Posterior


def centred(values, factor, bias, eps, relevance):
    """R_i = x_i sum_j g_j (d_ij - 1 / N) / s R_j / y_j, as the paper writes it, with g and b (Ali et al. 2022)."""
    n = len(values)
    deviation = ((values - values.mean()).square().mean() + eps).sqrt()
    outputs = factor * (values - values.mean()) / deviation + bias
    found = torch.zeros_like(values)
    for i in range(n):
        for j in range(n):
            found[i] += values[i] * factor[j] * ((i == j) - 1 / n) / deviation * relevance[j] / outputs[j]
    return found


def by_groups(inputs, relevance, groups, factor, bias, eps):
    """The same for each group of values, each value with its own factor and bias."""
    parts = [one.detach().reshape(groups, -1) for one in (inputs, factor, bias, relevance)]
    found = [centred(x, g, b, eps, r) for x, g, b, r in zip(*parts, strict=True)]
    return torch.stack(found).reshape(inputs.shape)


def spread(values, shape):
    return values.reshape(-1, *[1] * (len(shape) - 1)).expand(shape)


def layer_norm(inner, inputs, outputs, relevance):
    shape = inner.weight.shape
    groups = inputs.numel() // shape.numel()
    factor, bias = (one.expand(inputs.shape) for one in (inner.weight, inner.bias))
    return by_groups(inputs, relevance, groups, factor, bias, inner.eps)


def group_norm(inner, inputs, outputs, relevance):
    factor, bias = (spread(one, inputs.shape) for one in (inner.weight, inner.bias))
    return by_groups(inputs, relevance, inner.num_groups, factor, bias, inner.eps)


def plain_norm(groups):
    def oracle(inner, inputs, outputs, relevance):
        ones, zeros = torch.ones_like(inputs), torch.zeros_like(inputs)
        return by_groups(inputs, relevance, groups, ones, zeros, 1e-5)

    return oracle


class Channels(nn.LayerNorm):
    """The layer norm of images, as torchvision has it: of a subclass that permutes."""

    def forward(self, x):
        x = functional.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


def of_channels(inner, inputs, outputs, relevance):
    found = layer_norm(inner, inputs.permute(1, 2, 0), outputs, relevance.permute(1, 2, 0))
    return found.permute(2, 0, 1)


class Manual(nn.Module):
    """A layer norm in plain arithmetic."""

    def forward(self, x):
        centre = x - x.mean(-1, keepdim=True)
        return centre / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()


def root_mean_square(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


NORMS = {
    "layer norm": (nn.LayerNorm(5, eps=0.01), (3, 5), layer_norm),
    "layer norm of two dimensions": (nn.LayerNorm((2, 4)), (3, 2, 4), layer_norm),
    "layer norm of channels": (Channels(4), (4, 2, 3), of_channels),
    "plain layer norm": (nn.LayerNorm(5, elementwise_affine=False), (3, 5), plain_norm(3)),
    "call of layer norm": (Function(lambda x: functional.layer_norm(x, (4,))), (2, 4), plain_norm(2)),
    "arithmetic": (Manual(), (2, 4), plain_norm(2)),
    "group norm": (nn.GroupNorm(2, 6, eps=0.01), (6, 2, 2), group_norm),
    "call of group norm": (Function(lambda x: functional.group_norm(x, 3)), (6, 2), plain_norm(3)),
    "instance norm": (nn.InstanceNorm2d(3), (3, 2, 3), plain_norm(3)),
    "call of instance norm": (Function(functional.instance_norm), (3, 2, 3), plain_norm(3)),
    "RMS norm": (nn.RMSNorm(5), (3, 5), passed_on),
    "RMS norm in arithmetic": (Function(root_mean_square, nn.Parameter(torch.randn(5))), (3, 5), passed_on),
    "normalize": (Function(lambda x: functional.normalize(x, dim=-1)), (3, 5), passed_on),
    "local response norm": (nn.LocalResponseNorm(2), (4, 2, 2), passed_on),
}


@pytest.mark.parametrize("name", NORMS)
def test_the_size_is_taken_as_a_constant(name):
    assert_way(*NORMS[name])


def test_normalise_passes_relevance_on():
    assert_way(Normalise([0.3, -0.2], [0.5, 2.0]), (2, 3, 2), passed_on)


def test_without_a_bias_layer_norm_conserves():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(16, 6, bias=False), nn.LayerNorm(6), nn.Linear(6, 3, bias=False)
    ).double()
    images = torch.rand((2, 1, 4, 4), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    posterior, target = Posterior.of(network), torch.tensor([0, 2])
    found = explanations.lrp(posterior, images, target, rule=explanations.Epsilon(1e-13))
    logits = posterior.logits(images)[0].gather(1, target[:, None])[:, 0]
    assert torch.allclose(found.flatten(1).sum(1), logits, rtol=1e-8)
    kept = explanations.kept_by_layer(posterior, images, target, rule=explanations.Epsilon(1e-13))
    assert kept["2"].abs().max() < 1e-8


def test_statistics_of_training_make_another_layer_of_instance_norm():
    network = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten(), nn.Linear(27, 3)
    )
    with pytest.raises(ValueError, match="layer 1 is a InstanceNorm2d, for which lrp has no rule"):
        explanations.lrp(Posterior.of(network), torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))
