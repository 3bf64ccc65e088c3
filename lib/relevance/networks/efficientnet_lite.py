"""EfficientNet-Lite0: EfficientNet-B0 without squeeze and excitation, with ReLU6 for swish.

The blocks are those of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, Table 1), in the numbers of EfficientNet-B0 (Tan and
Le 2019, arXiv:1905.11946, Table 1). Lite leaves out squeeze and excitation, has ReLU6 everywhere, and scales neither stem nor
head, which for Lite0, whose scales are 1, makes no difference.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Mapping

from torch import Tensor, nn

from relevance.base import checks

# Of each stage: how much the block widens its input inside, channels, blocks, stride of the first, and side of the kernels.
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3))  # fmt: skip
STEM, HEAD, DROPOUT = 32, 1280, 0.2
# The published weights come from TensorFlow, whose batch norms add this to variances.
EPSILON = 1e-3
# Parts of the names of published weights -> those here. Batch norms are numbered as they follow each other in their block.
PUBLISHED = {
    "_conv_stem": "stem.conv",
    "_conv_head": "head.conv",
    "_fc": "dense",
    "_bn0": "stem.norm",
    "_bn1": "head.norm",
}
OF_BLOCK = {"_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv",
            "_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm"}  # fmt: skip


class Size:
    """The sides of what the next layer is given."""

    def __init__(self, height: int, width: int) -> None:
        self.sides = (height, width)

    def convolution(self, channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1) -> nn.Sequential:
        """Return a convolution with its batch norm, which gives ceil(side / stride) pixels each way, as TensorFlow's do.

        What is missing for that is padded, the odd pixel of it after the image: a layer of its own where there is one.
        """
        missing = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in self.sides]
        self.sides = (math.ceil(self.sides[0] / stride), math.ceil(self.sides[1] / stride))
        even = all(each % 2 == 0 for each in missing)
        padding = (missing[0] // 2, missing[1] // 2) if even else (0, 0)
        layers: dict[str, nn.Module] = {}
        if not even:
            top, left = missing[0] // 2, missing[1] // 2
            layers["pad"] = nn.ZeroPad2d((left, missing[1] - left, top, missing[0] - top))
        layers["conv"] = nn.Conv2d(channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        layers["norm"] = nn.BatchNorm2d(out_channels, eps=EPSILON)
        return nn.Sequential(OrderedDict(layers))


class Sum(nn.Module):
    """The sum of two branches, as a layer, which has a name and can be put in another's place."""

    def forward(self, inner: Tensor, x: Tensor) -> Tensor:
        """Return both, added."""
        return inner + x


class InvertedResidual(nn.Module):
    """A block that widens its input, filters each channel by itself, and narrows it again; added to its input where it fits."""

    def __init__(self, size: Size, channels: int, out_channels: int, widening: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = channels * widening
        layers: dict[str, nn.Module] = {}
        if widening != 1:
            layers |= {"expand": size.convolution(channels, inner, 1, 1), "activation0": nn.ReLU6()}
        layers |= {"depthwise": size.convolution(inner, inner, kernel, stride, groups=inner), "activation1": nn.ReLU6()}
        layers |= {"project": size.convolution(inner, out_channels, 1, 1)}
        self.inner = nn.Sequential(OrderedDict(layers))
        self.sum = Sum() if stride == 1 and channels == out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's values."""
        inner: Tensor = self.inner(x)
        return inner if self.sum is None else self.sum(inner, x)


class EfficientNetLite0(nn.Module):
    """The network, in torch's layers alone.

    Args:
        image_shape: (3, H, W) of the images: how much is padded depends on their size.
        n_classes: number of classes.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (3, 224, 224), n_classes: int = 1000) -> None:
        super().__init__()
        channels, height, width = checks.image_shape("image_shape", image_shape)
        checks.count("n_classes", n_classes, at_least=2)
        size = Size(height, width)
        self.stem = size.convolution(channels, STEM, 3, 2)
        self.activation0 = nn.ReLU6()
        blocks, channels = [], STEM
        for widening, out_channels, n_blocks, first, kernel in STAGES:
            for index in range(n_blocks):
                stride = first if index == 0 else 1
                blocks.append(InvertedResidual(size, channels, out_channels, widening, kernel, stride))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = size.convolution(channels, HEAD, 1, 1)
        self.activation1 = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(DROPOUT)
        self.dense = nn.Linear(HEAD, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, K] of normalised images."""
        features = self.activation1(self.head(self.blocks(self.activation0(self.stem(x)))))
        logits: Tensor = self.dense(self.dropout(self.flatten(self.pool(features))))
        return logits


def renamed(state: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """Return a state dict with the names of this module for those of the published file; others stay."""
    return OrderedDict((_name(name), value) for name, value in state.items())


def _name(published: str) -> str:
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", published)
    if block and block[2] in OF_BLOCK:
        return f"blocks.{block[1]}.inner.{OF_BLOCK[block[2]]}.{block[3]}"
    head, _, rest = published.partition(".")
    return f"{PUBLISHED[head]}.{rest}" if head in PUBLISHED else published
