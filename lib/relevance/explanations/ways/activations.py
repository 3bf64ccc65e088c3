"""Activations, which act on each neuron by itself: relevance passes through them unchanged (Achtibat et al. 2024, Eq. 9)."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from relevance.explanations.ways.way import Call, Way, unchanged

SAME = Way(unchanged, gate=None, divisor=None, pixelwise=True, passes_on=True)
POSITIVE = Way(unchanged, nonnegative=True, activation=True, passes_on=True)
EITHER = Way(unchanged, nonnegative=False, activation=True, passes_on=True)
GATE = Way(unchanged, nonnegative=True, gate=True, activation=True, passes_on=True)
# One over a size, or over its square root: what normalises another value.
DIVISOR = Way(unchanged, nonnegative=False, divisor=True, passes_on=True)


def _clamped(call: Call) -> Way:
    """Return the way through a clamp, which gives nothing below its lower bound."""
    least: Any = call.argument(1, "min", getattr(call.target, "min_val", None))
    return POSITIVE if isinstance(least, (int, float)) and least >= 0 else EITHER


MODULES: dict[type[nn.Module], Any] = {
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout,
                     nn.FeatureAlphaDropout), SAME),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.Softplus), POSITIVE),
    **dict.fromkeys((nn.Sigmoid, nn.Hardsigmoid), GATE),
    **dict.fromkeys((nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Mish, nn.Hardswish, nn.ELU, nn.CELU, nn.SELU, nn.Tanh, nn.Softsign,
                     nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.LogSigmoid, nn.PReLU, nn.RReLU), EITHER),
    nn.Hardtanh: _clamped,
}  # fmt: skip
FUNCTIONS: dict[Any, Any] = {
    **dict.fromkeys((functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d,
                     functional.alpha_dropout, functional.feature_alpha_dropout, torch.dropout, torch.clone, "clone",
                     "contiguous", "detach", torch.detach, "to", "type_as", "float", "double"), SAME),
    **dict.fromkeys((functional.relu, torch.relu, "relu", functional.relu6, functional.softplus, torch.exp, "exp", torch.abs,
                     "abs", operator.abs, torch.square, "square", torch.sqrt, "sqrt"), POSITIVE),
    **dict.fromkeys((functional.sigmoid, torch.sigmoid, "sigmoid", functional.hardsigmoid), GATE),
    **dict.fromkeys((functional.leaky_relu, functional.silu, functional.gelu, functional.mish, functional.hardswish,
                     functional.elu, functional.celu, functional.selu, functional.tanh, torch.tanh, "tanh",
                     functional.softsign, functional.tanhshrink, functional.hardshrink, functional.softshrink,
                     functional.logsigmoid, functional.prelu, torch.prelu, functional.rrelu, torch.sin, "sin", torch.cos, "cos",
                     torch.atan, "atan", torch.erf, "erf", torch.log, "log", torch.log1p, "log1p", torch.neg, "neg",
                     operator.neg), EITHER),
    **dict.fromkeys((torch.rsqrt, "rsqrt", torch.reciprocal, "reciprocal"), DIVISOR),
    **dict.fromkeys((torch.clamp, "clamp", torch.clip, "clip"), _clamped),
    functional.hardtanh: lambda call: EITHER if call.argument(1, "min_val", -1.0) < 0 else POSITIVE,
    **dict.fromkeys((torch.clamp_min, "clamp_min"), _clamped),
}  # fmt: skip
