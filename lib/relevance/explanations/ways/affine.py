"""Affine layers, as modules and as calls of functions: how their weights act, and where these are; a rule does the rest."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from torch import Tensor, fx, nn
from torch.nn import functional

from relevance.base.chunks import Sample
from relevance.explanations.affine import (
    AffineMap,
    Dense,
    Scaling,
    convolution_of,
    norm_factors,
    transposed_convolution_of,
)
from relevance.explanations.ways.way import Affine, Call, Refused, refused

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
# What functions that apply weights take after the inputs, in order, and what it is if it is not said.
CONVOLUTION = {"weight": None, "bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
TRANSPOSED = {
    "weight": None, "bias": None, "stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1,
}  # fmt: skip


def _of_module(how: Callable[[Any], AffineMap]) -> Callable[[Call], Affine]:
    """Return the way through modules with a weight and a bias."""

    def plan(call: Call) -> Affine:
        prefix = f"{call.name}." if call.name else ""

        def parameters(sample: Sample, value: Callable[[Any], Any]) -> tuple[Tensor, Tensor | None]:
            return sample[f"{prefix}weight"], sample.get(f"{prefix}bias")

        return Affine(how(call.target), parameters, type(call.target))

    return plan


def _norm_module(call: Call) -> Affine:
    """Return the way through batch norm, whose statistics may be among a sample's values."""
    prefix = f"{call.name}." if call.name else ""

    def parameters(sample: Sample, value: Callable[[Any], Any]) -> tuple[Tensor, Tensor | None]:
        return norm_factors(call.target, *(sample.get(prefix + part) for part in NORM_PARTS))

    return Affine(Scaling(), parameters, type(call.target))


def _of_function(
    how: Callable[[Any], AffineMap], settings: dict[str, Any], kind: type[nn.Module]
) -> Callable[[Call], Affine | Refused]:
    """Return the way through a function that applies weights, whatever they are computed from, save the image."""

    def plan(call: Call) -> Affine | Refused:
        given = {name: call.argument(place, name, default) for place, (name, default) in enumerate(settings.items(), 1)}
        if call.sources != (call.argument(0, "input"),):
            return refused(call, "with weights that depend on the image")
        if given.get("padding") == "same":
            return refused(call, "with padding 'same'")
        if any(isinstance(value, fx.Node) for name, value in given.items() if name not in {"weight", "bias"}):
            return refused(call, "with settings that it computes")

        def parameters(sample: Sample, value: Callable[[Any], Any]) -> tuple[Tensor, Tensor | None]:
            return value(given["weight"]), value(given["bias"])

        return Affine(how(SimpleNamespace(**given, padding_mode="zeros", kernel_size=None)), parameters, kind)

    return plan


def _norm_function(call: Call) -> Affine | Refused:
    """Return the way through a call of batch norm in evaluation mode."""
    names = ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    defaults = (None, None, None, None, False, 0.1, 1e-5)
    given = {
        name: call.argument(place, name, default)
        for place, (name, default) in enumerate(zip(names, defaults, strict=True), 1)
    }
    if call.sources != (call.argument(0, "input"),):
        return refused(call, "with weights that depend on the image")
    if given["training"] or given["running_mean"] is None:
        return refused(call, "with the statistics of the batch")

    def parameters(sample: Sample, value: Callable[[Any], Any]) -> tuple[Tensor, Tensor | None]:
        return norm_factors(SimpleNamespace(**given), *(value(given[part]) for part in NORM_PARTS))

    return Affine(Scaling(), parameters, nn.BatchNorm2d)


def _dense(settings: Any) -> AffineMap:
    return Dense()


def _convolution(n_dims: int) -> Callable[[Any], AffineMap]:
    return lambda settings: convolution_of(settings, n_dims)


def _transposed(n_dims: int) -> Callable[[Any], AffineMap]:
    return lambda settings: transposed_convolution_of(settings, n_dims)


MODULES: dict[type[nn.Module], Any] = {
    nn.Linear: _of_module(_dense),
    nn.Conv1d: _of_module(_convolution(1)),
    nn.Conv2d: _of_module(_convolution(2)),
    nn.Conv3d: _of_module(_convolution(3)),
    nn.ConvTranspose1d: _of_module(_transposed(1)),
    nn.ConvTranspose2d: _of_module(_transposed(2)),
    nn.ConvTranspose3d: _of_module(_transposed(3)),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _norm_module),
}
FUNCTIONS: dict[Any, Any] = {
    functional.linear: _of_function(_dense, {"weight": None, "bias": None}, nn.Linear),
    functional.conv1d: _of_function(_convolution(1), CONVOLUTION, nn.Conv1d),
    functional.conv2d: _of_function(_convolution(2), CONVOLUTION, nn.Conv2d),
    functional.conv3d: _of_function(_convolution(3), CONVOLUTION, nn.Conv3d),
    functional.conv_transpose1d: _of_function(_transposed(1), TRANSPOSED, nn.ConvTranspose1d),
    functional.conv_transpose2d: _of_function(_transposed(2), TRANSPOSED, nn.ConvTranspose2d),
    functional.conv_transpose3d: _of_function(_transposed(3), TRANSPOSED, nn.ConvTranspose3d),
    functional.batch_norm: _norm_function,
}
