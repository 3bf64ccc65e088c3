"""Affine maps z = W a + b and their transposes: what every rule of relevance propagation is made of.

A rule changes weights and inputs and applies the same map again, or its transpose; both are ordinary differentiable
operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor
from torch.func import vjp
from torch.nn import functional

# By the number of dimensions in which a kernel moves.
CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


class AffineMap(Protocol):
    """How weights act on inputs; the weights themselves are given each time."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b for a batch of inputs a."""
        ...

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s for a batch of outputs s, in the shape of ``inputs``."""
        ...

    def spread(self, bias: Tensor, outputs: Tensor) -> Tensor:
        """Return a bias in a shape that is added to ``outputs``, each value to the outputs that it is for."""
        ...


@dataclass(frozen=True)
class Dense:
    """A dense layer on the last dimension; weights [K, J]."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        return functional.linear(inputs, weight, bias)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        return outputs @ weight

    def spread(self, bias: Tensor, outputs: Tensor) -> Tensor:
        """Return the bias, which has a value for each place of the last dimension."""
        return bias


class _OfChannels:
    """A map whose bias has a value for each channel, the second dimension."""

    def spread(self, bias: Tensor, outputs: Tensor) -> Tensor:
        """Return the bias with a dimension for each in which the kernel moves."""
        return bias.reshape(-1, *[1] * (outputs.ndim - 2))


@dataclass(frozen=True)
class Convolution(_OfChannels):
    """A convolution in one, two or three dimensions; weights [K, J / groups, ...], padded with zeros.

    Attributes:
        stride, padding, dilation: a number for each dimension.
        groups: of channels.
    """

    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        convolve = CONVOLUTIONS[len(self.stride)]
        return convolve(inputs, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        # Several input sizes lead to one output size; the rest says which it was.
        rest = [
            inputs.shape[2 + axis]
            - (outputs.shape[2 + axis] - 1) * self.stride[axis]
            + 2 * self.padding[axis]
            - self.dilation[axis] * (weight.shape[2 + axis] - 1)
            - 1
            for axis in range(len(self.stride))
        ]
        back = TRANSPOSED[len(self.stride)]
        return back(outputs, weight, None, self.stride, self.padding, rest, self.groups, self.dilation)


@dataclass(frozen=True)
class TransposedConvolution(_OfChannels):
    """A transposed convolution in one, two or three dimensions; weights [J, K / groups, ...].

    Attributes:
        stride, padding, rest, dilation: a number for each dimension; ``rest`` is what torch calls output_padding.
        groups: of channels.
    """

    stride: tuple[int, ...] = (1, 1)
    padding: tuple[int, ...] = (0, 0)
    rest: tuple[int, ...] = (0, 0)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        convolve = TRANSPOSED[len(self.stride)]
        return convolve(inputs, weight, bias, self.stride, self.padding, self.rest, self.groups, self.dilation)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        back = CONVOLUTIONS[len(self.stride)]
        found = back(outputs, weight, None, self.stride, self.padding, self.dilation, self.groups)
        # Where the rest is as large as the stride, a window more fits than there were inputs.
        for dim, size in enumerate(inputs.shape[2:], 2):
            found = found.narrow(dim, 0, size)
        return found


@dataclass(frozen=True)
class Padded(_OfChannels):
    """A convolution whose inputs are padded first: with what is not zero, or not by the same number on both sides.

    Attributes:
        inner: the convolution, without padding of its own.
        pad: how much before and after, from the last dimension on, as ``torch.nn.functional.pad`` takes it.
        mode: what with: ``"constant"`` (zeros), ``"reflect"``, ``"replicate"`` or ``"circular"``.
    """

    inner: Convolution
    pad: tuple[int, ...]
    mode: str

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        return self.inner.forward(self.padded(inputs), weight, bias)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        padded = self.padded(inputs)
        (found,) = vjp(self.padded, inputs)[1](self.inner.transpose(outputs, weight, padded))
        return found

    def padded(self, inputs: Tensor) -> Tensor:
        """Return the inputs with their padding."""
        return functional.pad(inputs, self.pad, self.mode)


@dataclass(frozen=True)
class Scaling(_OfChannels):
    """A factor and a shift for each channel, such as batch norm in evaluation mode; weights [C]."""

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        scaled = inputs * self.spread(weight, inputs)
        return scaled if bias is None else scaled + self.spread(bias, inputs)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        return outputs * self.spread(weight, inputs)


@dataclass(frozen=True)
class Bilinear:
    """A function of inputs and weights that is linear in each, such as a matrix product with a matrix of parameters.

    Attributes:
        function: (inputs, weights) -> outputs.
    """

    function: Callable[[Tensor, Tensor], Tensor]

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return W a + b (see :class:`AffineMap`)."""
        outputs = self.function(inputs, weight)
        return outputs if bias is None else outputs + bias

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        """Return W^T s (see :class:`AffineMap`)."""
        (found,) = vjp(lambda given: self.function(given, weight), inputs)[1](outputs)
        return found

    def spread(self, bias: Tensor, outputs: Tensor) -> Tensor:
        """Return the bias, which has the shape of the outputs, or one that spreads to it."""
        return bias


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


def scaled_outputs(how: AffineMap, weight: Tensor, factor: Tensor) -> Tensor:
    """Return the weights of a map whose output channels are multiplied by a factor each."""
    if isinstance(how, TransposedConvolution):  # whose second dimension is that of the outputs of one group
        by_group = weight.reshape(how.groups, -1, *weight.shape[1:])
        factor = factor.reshape(how.groups, 1, -1, *[1] * (weight.ndim - 2))
        return (by_group * factor).reshape(weight.shape)
    return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))


def scaled_inputs(how: AffineMap, weight: Tensor, factor: Tensor) -> Tensor:
    """Return the weights of a dense or convolutional map whose input channels are multiplied by a factor each."""
    inner = how.inner if isinstance(how, Padded) else how
    if isinstance(inner, Convolution) and inner.groups > 1:
        by_group = weight.reshape(inner.groups, -1, *weight.shape[1:])
        factor = factor.reshape(inner.groups, 1, -1, *[1] * (weight.ndim - 2))
        return (by_group * factor).reshape(weight.shape)
    return weight * factor.reshape(1, -1, *[1] * (weight.ndim - 2))


def convolution_of(module: Any, n_dims: int = 2) -> Convolution | Padded:
    """Return how the weights of a convolution in ``n_dims`` dimensions, or of what has its settings, act."""
    dilation = _each(module.dilation, n_dims)
    if module.padding == "same":
        kernel = _each(module.kernel_size, n_dims)
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        sides = [(both // 2, both - both // 2) for both in total]
    else:
        sides = [(side, side) for side in _each(0 if module.padding == "valid" else module.padding, n_dims)]
    stride = _each(module.stride, n_dims)
    if module.padding_mode == "zeros" and all(before == after for before, after in sides):
        return Convolution(stride, tuple(before for before, _ in sides), dilation, module.groups)
    pad = tuple(side for both in reversed(sides) for side in both)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return Padded(Convolution(stride, (0,) * n_dims, dilation, module.groups), pad, mode)


def transposed_convolution_of(module: Any, n_dims: int = 2) -> TransposedConvolution:
    """Return how the weights of a transposed convolution, or of what has its settings, act."""
    stride, padding, rest, dilation = (
        _each(part, n_dims) for part in (module.stride, module.padding, module.output_padding, module.dilation)
    )
    return TransposedConvolution(stride, padding, rest, dilation, module.groups)


def _each(value: Any, n_dims: int) -> tuple[int, ...]:
    """Return a setting as a number for each dimension."""
    if isinstance(value, int):
        return (value,) * n_dims
    values = tuple(int(one) for one in value)
    return values * n_dims if len(values) == 1 else values
