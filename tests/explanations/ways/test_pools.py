"""Maxima give all to the winner; averages, sums and changes of size share in proportion to what was added."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import Function, assert_way, in_parts, moved
from relevance import explanations
from relevance.networks.posterior import Posterior

WINNERS = {
    "MaxPool1d": (nn.MaxPool1d(2), (3, 6)), "MaxPool2d": (nn.MaxPool2d(3, 2, 1), (2, 5, 6)),
    "MaxPool2d, dilated": (nn.MaxPool2d(2, 1, dilation=2, ceil_mode=True), (2, 5, 6)),
    "MaxPool3d": (nn.MaxPool3d(2), (2, 4, 2, 4)), "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(2), (2, 5, 4)),
    "max_pool1d": (Function(lambda x: functional.max_pool1d(x, 2)), (3, 6)),
    "max_pool2d": (Function(lambda x: functional.max_pool2d(x, 3, stride=2, padding=1)), (2, 5, 6)),
    "max_pool2d, ceiling": (Function(lambda x: functional.max_pool2d(x, 2, ceil_mode=True)), (2, 5, 5)),
    "amax": (Function(lambda x: x.amax(-1)), (2, 5, 6)),
    "maximum": (Function(lambda x: torch.maximum(x[:, 0], x[:, 1])), (2, 5)),
}  # fmt: skip
MEANS = {
    "AvgPool1d": (nn.AvgPool1d(2), (3, 6)), "AvgPool2d": (nn.AvgPool2d(3, 2, 1), (2, 5, 6)),
    "AvgPool3d": (nn.AvgPool3d(2), (2, 4, 2, 4)), "AdaptiveAvgPool1d": (nn.AdaptiveAvgPool1d(2), (3, 5)),
    "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d((1, 2)), (2, 5, 4)), "AdaptiveAvgPool3d": (nn.AdaptiveAvgPool3d(1), (2, 3, 2, 2)),
    "nearest": (nn.Upsample(scale_factor=2), (2, 3, 3)), "bilinear": (nn.UpsamplingBilinear2d(scale_factor=2), (2, 3, 3)),
    "bicubic": (nn.Upsample(size=(5, 4), mode="bicubic"), (2, 3, 3)), "Fold": (nn.Fold((4, 4), 3, padding=1), (18, 16)),
    "interpolate": (Function(lambda x: functional.interpolate(x, (4, 5), mode="bilinear")), (2, 3, 3)),
    "avg_pool2d": (Function(lambda x: functional.avg_pool2d(x, 2, count_include_pad=False, padding=1)), (2, 4, 4)),
    "mean": (Function(lambda x: x.mean([2, 3])), (3, 4, 2)), "mean, kept": (Function(lambda x: x.mean(1, keepdim=True)), (3, 4)),
    "sum": (Function(lambda x: torch.sum(x, dim=1)), (3, 4, 2)),
    "einsum": (Function(lambda x: torch.einsum("nchw->nc", x)), (3, 4, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", WINNERS)
def test_maxima_give_all_to_the_winner(name):
    assert_way(*WINNERS[name], moved)


@pytest.mark.parametrize("name", MEANS)
def test_linear_maps_share_in_proportion(name):
    assert_way(*MEANS[name], in_parts)


def test_indices_of_winners_are_refused():
    class WithIndices(nn.Module):
        def forward(self, x):
            return functional.max_pool2d(x, 2, return_indices=True)[0]

    network = nn.Sequential(nn.Conv2d(1, 2, 1), WithIndices(), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(ValueError, match="the network calls .*max_pool2d.*, for which lrp has no rule"):
        explanations.lrp(Posterior.of(network), torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))
