"""Pools, sums and means: maxima give all to the winner, linear maps without weights share in proportion to what was added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.explanations.ways.way import (
    Call,
    Function,
    Refused,
    Shares,
    Way,
    proportions,
    refused,
    slopes,
    unchanged,
)

WINNER, MEAN = Way(slopes), Way(proportions)
# Over dimensions that may be that of the images, or after which the rows are others.
REDUCED = Way(proportions, moves=True)


def _with_winners(
    settings: Sequence[Any], function: Function, inputs: Tensor
) -> tuple[Tensor, Callable[[Tensor], Shares]]:
    """Remember the winners of the forward pass: pooling is slow, and along the slopes it would be done again."""
    value, winners = functional.max_pool2d(
        # On a CPU, pooling is several times faster where the channels of a pixel lie side by side.
        inputs.movedim(1, -1).contiguous().movedim(-1, 1),
        *settings,
        return_indices=True,
    )
    value, winners = value.contiguous(), winners.contiguous()

    def back(relevance: Tensor) -> Shares:
        nothing = torch.zeros_like(inputs).flatten(2)
        return [nothing.scatter_add(2, winners.flatten(2), relevance.flatten(2)).reshape(inputs.shape)]

    return value, back


def _max_pool(call: Call) -> Way | Refused:
    """Return the way through maximum pooling of images, of which a module and a call have the same settings."""
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    defaults = dict(zip(names, (None, None, 0, 1, False), strict=True))
    if isinstance(call.target, nn.Module):
        given = [getattr(call.target, name) for name in names]
        indices = call.target.return_indices
    else:
        given = [call.argument(place, name, defaults[name]) for place, name in enumerate(names, start=1)]
        indices = call.argument(6, "return_indices", False)
    if indices:
        return refused(call, "with indices")
    return Way(slopes, visit=partial(_with_winners, given))


def _extreme(call: Call) -> Way:
    """Return the way through a maximum or a minimum: of two values that of the winner, of one and a constant an activation's."""
    if len(call.sources) == 1 and len(call.args) + len(call.keywords) > 1:
        return Way(unchanged, nonnegative=False, activation=True, passes_on=True)
    return Way(slopes, moves=len(call.sources) == 1)


def _resized(call: Call) -> Way:
    """Return the way through a change of size; cubic interpolation goes below zero."""
    mode = str(call.argument(3, "mode", getattr(call.target, "mode", "nearest")))
    return Way(proportions, nonnegative=False if mode == "bicubic" else None)


MODULES: dict[type[nn.Module], Any] = {
    nn.MaxPool2d: _max_pool,
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d), WINNER),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
                     nn.Fold), MEAN),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d), _resized),
}  # fmt: skip
FUNCTIONS: dict[Any, Any] = {
    functional.max_pool2d: _max_pool,
    torch.max_pool2d: _max_pool,
    **dict.fromkeys((functional.max_pool1d, functional.max_pool3d, torch.max_pool1d, torch.max_pool3d,
                     functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, functional.adaptive_max_pool3d), WINNER),
    **dict.fromkeys((torch.amax, "amax", torch.amin, "amin"), Way(slopes, moves=True)),
    **dict.fromkeys((torch.max, "max", torch.min, "min", torch.maximum, "maximum", torch.minimum, "minimum"), _extreme),
    **dict.fromkeys((functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d, functional.adaptive_avg_pool1d,
                     functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d, torch.adaptive_avg_pool1d,
                     functional.fold), MEAN),
    **dict.fromkeys((functional.interpolate, functional.upsample), _resized),
    **dict.fromkeys((torch.mean, "mean", torch.sum, "sum"), REDUCED),
}  # fmt: skip
