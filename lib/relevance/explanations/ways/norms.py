"""Normalisation by what an image itself has: its size is taken as a constant, so that relevance passes it unchanged."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.explanations.rules import TINY, stabilised
from relevance.explanations.ways.way import Applied, Call, Refused, Shares, Way, refused, unchanged
from relevance.networks.architectures import Normalise

# x / g(x) with g a size: relevance passes unchanged (Achtibat et al. 2024, arXiv:2402.05602, Prop. 3.4).
BY_SIZE = Way(unchanged, passes_on=True)
BY_SIZE_AND_FACTOR = Way(unchanged, nonnegative=False, passes_on=True)
OF_PIXELS = Way(unchanged, nonnegative=False, pixelwise=True, passes_on=True)


def _centred_back(values: Tensor, factor: Tensor | float, outputs: Tensor, relevance: Tensor, eps: float) -> Tensor:
    """Return relevance through y = g (x - mean x) / s + b over the last dimension, with s, the deviation, as a constant.

    y is then linear in x, and R_i = x_i sum_j g_j (d_ij - 1 / N) / s R_j / y_j (Ali et al. 2022, arXiv:2202.07304, there without
    g and b): b keeps its part.
    """
    shared = factor * relevance / stabilised(outputs, TINY)
    shared = shared - shared.mean(-1, keepdim=True)
    return values * shared * (values.var(-1, correction=0, keepdim=True) + eps).rsqrt()


def _layer_norm_back(function: Applied, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    (values,) = inputs
    shape = function.argument(1, "normalized_shape")
    n_dims = 1 if isinstance(shape, int) else len(shape)
    factor = function.argument(2, "weight")
    flat = [one.flatten(-n_dims) for one in (values, outputs, relevance)]
    found = _centred_back(
        flat[0], 1.0 if factor is None else factor.flatten(), flat[1], flat[2], function.argument(4, "eps", 1e-5)
    )
    return [found.reshape(values.shape)]


def _group_norm_back(function: Applied, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    (values,) = inputs
    groups, factor = function.argument(1, "num_groups"), function.argument(2, "weight")
    return [_by_group(values, groups, factor, outputs, relevance, function.argument(4, "eps", 1e-5))]


def _instance_norm_back(function: Applied, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    (values,) = inputs
    groups, factor = values.shape[1], function.argument(3, "weight")
    return [_by_group(values, groups, factor, outputs, relevance, function.argument(7, "eps", 1e-5))]


def _by_group(
    values: Tensor, groups: int, factor: Tensor | None, outputs: Tensor, relevance: Tensor, eps: float
) -> Tensor:
    """Return relevance through the normalisation of groups of channels."""
    spread: Any = 1.0
    if factor is not None:
        spread = factor.reshape(-1, *[1] * (values.ndim - 2)).expand(values.shape[1:]).reshape(groups, -1)
    flat = [one.reshape(len(one), groups, -1) for one in (values, outputs, relevance)]
    return _centred_back(flat[0], spread, flat[1], flat[2], eps).reshape(values.shape)


LAYER_NORM = Way(_layer_norm_back, nonnegative=False, keeps=True)
GROUP_NORM = Way(_group_norm_back, nonnegative=False, keeps=True)


def _instance_norm(call: Call) -> Way | Refused:
    """Return the way through instance norm; with running statistics it would be a batch norm."""
    if isinstance(call.target, nn.Module):
        running = call.target.running_mean is not None
    else:
        running = not call.argument(5, "use_input_stats", True)
    return (
        refused(call, "with running statistics") if running else Way(_instance_norm_back, nonnegative=False, keeps=True)
    )


MODULES: dict[type[nn.Module], Any] = {
    Normalise: OF_PIXELS,
    nn.LayerNorm: LAYER_NORM,
    nn.GroupNorm: GROUP_NORM,
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    nn.RMSNorm: BY_SIZE_AND_FACTOR,
    nn.LocalResponseNorm: BY_SIZE,
}
FUNCTIONS: dict[Any, Any] = {
    **dict.fromkeys((functional.layer_norm, torch.layer_norm), LAYER_NORM),
    **dict.fromkeys((functional.group_norm, torch.group_norm), GROUP_NORM),
    functional.instance_norm: _instance_norm,
    **dict.fromkeys((functional.rms_norm, torch.rms_norm), BY_SIZE_AND_FACTOR),
    **dict.fromkeys((functional.normalize, functional.local_response_norm), BY_SIZE),
}
