"""Affine maps a -> W a + b: what the layers of a network are to the rules of relevance propagation.

A rule changes weights and inputs and applies the same map again, or its transpose; both are ordinary differentiable
operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.nn import functional


class AffineMap(Protocol):
    """How weights act on inputs; the weights themselves are given each time."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b for a batch of inputs a."""
        ...

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s for a batch of outputs s, in the shape of ``inputs``."""
        ...


@dataclass(frozen=True)
class Dense:
    """A dense layer; weights [K, J]."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        return functional.linear(inputs, weight, bias)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        return outputs @ weight


@dataclass(frozen=True)
class Convolution:
    """A convolution in two dimensions; weights [K, J / groups, height, width], padded with zeros."""

    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        return functional.conv2d(inputs, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        # Several input sizes lead to one output size; the rest says which it was.
        rest = [
            inputs.shape[2 + axis]
            - (outputs.shape[2 + axis] - 1) * self.stride[axis]
            + 2 * self.padding[axis]
            - self.dilation[axis] * (weight.shape[2 + axis] - 1)
            - 1
            for axis in (0, 1)
        ]
        return functional.conv_transpose2d(
            outputs, weight, None, self.stride, self.padding, rest, self.groups, self.dilation
        )


@dataclass(frozen=True)
class Scaling:
    """A factor and a shift for each channel, such as batch norm in evaluation mode; weights [C]."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        scaled = inputs * self._spread(weight, inputs)
        return scaled if bias is None else scaled + self._spread(bias, inputs)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        return outputs * self._spread(weight, inputs)

    @staticmethod
    def _spread(values: Tensor, inputs: Tensor) -> Tensor:
        return values.reshape(-1, *[1] * (inputs.ndim - 2))


@dataclass(frozen=True)
class Layer:
    """One affine layer in a forward pass: what a rule needs to know of it.

    Attributes:
        map: how the weights act.
        inputs: activations a that entered, [N, ...].
        weight, bias: W and b of one posterior sample; ``bias`` is None where there is none.
        outputs: z = W a + b, as the forward pass computed it.
        nonnegative: whether the inputs are known to be at least 0, whatever the image.
    """

    map: AffineMap
    inputs: Tensor
    weight: Tensor
    bias: Tensor | None
    outputs: Tensor
    nonnegative: bool = False

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Apply the map with other inputs and weights."""
        return self.map.forward(inputs, weight, bias)

    def transpose(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """Apply the transposed map with other weights."""
        return self.map.transpose(outputs, weight, self.inputs)


def norm_factors(
    module: Any, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, variance: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return factor and shift of batch norm with its running statistics: the sample's own, or the module's."""
    mean = module.running_mean if mean is None else mean
    variance = module.running_var if variance is None else variance
    if mean is None or variance is None:
        raise ValueError("a batch norm without running statistics depends on the batch; lrp needs track_running_stats.")
    factor = (variance + module.eps).rsqrt()
    factor = factor if weight is None else factor * weight
    shift = -mean * factor
    return factor, shift if bias is None else shift + bias


def convolution_of(name: str, module: Any) -> Convolution:
    """Return how the weights of a ``torch.nn.Conv2d``, or of what has its settings, act; ``name`` is for the error."""
    padding = module.padding
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = (total[0] // 2, total[1] // 2) if not any(side % 2 for side in total) else padding
    if isinstance(padding, str) or module.padding_mode != "zeros":
        raise ValueError(
            f"layer {name} is a convolution with padding {module.padding!r} of mode {module.padding_mode!r}; lrp takes "
            "zeros, the same number on both sides."
        )
    return Convolution(_pair(module.stride), _pair(padding), _pair(module.dilation), module.groups)


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second
