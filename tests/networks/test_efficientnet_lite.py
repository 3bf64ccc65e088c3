"""EfficientNet-Lite0: its size by the papers' tables, its padding by TensorFlow's rule, and its names by the published file."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn
from torch.nn import functional

from relevance.networks import pretrained
from relevance.networks.efficientnet_lite import EfficientNetLite0, Size, renamed

ORACLE = "efficientnet_lite_pytorch"
needs_weights = pytest.mark.skipif(
    pretrained.published_file(pretrained.LITE0) is None,
    reason="the weights of EfficientNet-Lite0, of the group photographs, are not installed",
)


def same(x, weight, stride, groups):
    """A convolution as TensorFlow pads it, by its formula."""
    pads = []
    for side, kernel in zip(reversed(x.shape[2:]), reversed(weight.shape[2:]), strict=True):
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        pads += [missing // 2, missing - missing // 2]
    return functional.conv2d(functional.pad(x, pads), weight, None, stride, 0, 1, groups)


@pytest.mark.parametrize("sides", [(8, 8), (7, 8), (9, 5)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (5, 1)])
def test_convolutions_are_padded_as_tensorflow_does(sides, kernel, stride):
    size = Size(*sides)
    layers = size.convolution(4, 4, kernel, stride, groups=4)[:-1]
    x = torch.rand(2, 4, *sides)
    found = layers(x)
    wanted = same(x, layers[-1].weight, stride, 4)
    assert torch.equal(found, wanted)
    assert size.sides == tuple(found.shape[2:])


def test_it_has_the_published_number_of_weights():
    """4.7 million (Tan and Le 2019, Table 1, less squeeze and excitation); and no layer but those that Lite has."""
    with torch.device("meta"):
        network = EfficientNetLite0()
    assert sum(value.numel() for value in network.parameters()) == 4_652_008
    kinds = {type(module) for module in network.modules()}
    assert nn.ReLU6 in kinds
    assert not kinds & {nn.SiLU, nn.Sigmoid, nn.ReLU}
    assert [block.sum is not None for block in network.blocks].count(True) == 9


@needs_weights
def test_every_name_of_the_published_file_has_its_place():
    state = torch.load(pretrained.published_file(pretrained.LITE0), weights_only=True)
    with torch.device("meta"):
        network = EfficientNetLite0()
    assert renamed(state).keys() == network.state_dict().keys()
    assert renamed(renamed(state)).keys() == network.state_dict().keys()


@needs_weights
@pytest.mark.skipif(importlib.util.find_spec(ORACLE) is None, reason=f"{ORACLE} is not installed")
def test_logits_are_those_of_the_other_implementation():
    from efficientnet_lite_pytorch import EfficientNet

    place = pretrained.published_file(pretrained.LITE0)
    other = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(place)).eval()
    network = EfficientNetLite0().eval()
    network.load_state_dict(renamed(torch.load(place, weights_only=True)))
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(network(x), other(x))
