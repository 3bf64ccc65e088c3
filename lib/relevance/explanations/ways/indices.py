"""What puts values elsewhere and computes nothing: relevance goes back to where they came from, summed where they were copied."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.explanations.ways.way import Back, Call, Function, Refused, Shares, Way, refused, slopes


def _reshaped_back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    return [relevance.reshape(inputs[0].shape)]


def picked(values: Any, target: Any, index: int, *args: Any, **keywords: Any) -> Any:
    """Return one of the several values that a function or method, such as ``chunk``, gives: the graph has a step for each."""
    several = (
        getattr(values, target)(*args, **keywords) if isinstance(target, str) else target(values, *args, **keywords)
    )
    return several[index]


FLAT = Way(_reshaped_back, gate=None, divisor=None)
INDEX = Way(slopes, gate=None, divisor=None, pixelwise=True, moves=True)
# Padding may be something, which then keeps its share.
PADDING = Way(slopes, nonnegative=False, keeps=True, moves=True)
# What these give is several values, of which the graph picks each.
SEVERAL: tuple[Any, ...] = (
    torch.chunk, "chunk", torch.split, "split", torch.unbind, "unbind", torch.tensor_split, "tensor_split", torch.hsplit,
    torch.vsplit, "hsplit", "vsplit", torch.split_with_sizes, "split_with_sizes", torch.max, "max", torch.min, "min",
    torch.topk, "topk", torch.sort, "sort",
)  # fmt: skip
JOINED: tuple[Any, ...] = (torch.cat, torch.concat, torch.concatenate, torch.stack, torch.hstack, torch.vstack)


def _flattened(call: Call) -> Way:
    """Return the way through flatten, which keeps the values of an image in its row unless it starts with the images."""
    start = call.argument(1, "start_dim", getattr(call.target, "start_dim", 0))
    return FLAT if start != 0 else Way(_reshaped_back, gate=None, divisor=None, moves=True)


def _reshaped(call: Call) -> Way:
    return Way(_reshaped_back, gate=None, divisor=None, pixelwise=True, moves=True)


def _padded(call: Call) -> Way:
    """Return the way through padding: with zeros it leaves what is at least 0 so."""
    mode, value = call.argument(2, "mode", "constant"), call.argument(3, "value")
    plain = mode != "constant" or not value
    return Way(slopes, nonnegative=None if plain else False, keeps=True, moves=True)


def _joined(call: Call) -> Way:
    """Return the way through a concatenation; what does not depend on the image, such as a class token, keeps its own part."""
    values, dim = call.argument(0, "tensors"), call.argument(1, "dim", 0)
    whole = isinstance(values, Sequence) and len(values) == len(call.sources)
    split = whole and getattr(call.target, "__name__", "") in {"cat", "concat", "concatenate"}
    nonnegative = None if whole else False
    return Way(
        _parted(dim) if split else slopes, nonnegative, gate=None, pixelwise=True, keeps=not whole, moves=dim == 0
    )


def _parted(dim: int) -> Back:
    """Return the way back that hands each part of a concatenation its own: neurons stay what they are."""

    def back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
        return list(relevance.split([one.shape[dim] for one in inputs], dim))

    return back


def _attribute(call: Call) -> Way | Refused:
    """Return the way through x.T and its kin."""
    return INDEX if call.argument(1, "name") in {"T", "mT", "H", "mH"} else refused(call, call.argument(1, "name"))


MODULES: dict[type[nn.Module], Any] = {
    nn.Flatten: _flattened,
    **dict.fromkeys((nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold), INDEX),
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
                     nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.CircularPad1d, nn.CircularPad2d,
                     nn.CircularPad3d), Way(slopes, keeps=True, moves=True)),
    **dict.fromkeys((nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d), PADDING),
}  # fmt: skip
FUNCTIONS: dict[Any, Any] = {
    **dict.fromkeys((torch.flatten, "flatten"), _flattened),
    **dict.fromkeys((torch.reshape, "reshape", "view"), _reshaped),
    **dict.fromkeys((torch.permute, "permute", torch.transpose, "transpose", torch.swapaxes, "swapaxes", torch.swapdims,
                     "swapdims", torch.movedim, "movedim", torch.moveaxis, "moveaxis", torch.t, "t", torch.squeeze, "squeeze",
                     torch.unsqueeze, "unsqueeze", torch.unflatten, "unflatten", operator.getitem, picked, torch.narrow,
                     "narrow", torch.select, "select", torch.index_select, "index_select", torch.gather, "gather", torch.roll,
                     "roll", torch.flip, "flip", torch.fliplr, "fliplr", torch.flipud, "flipud", torch.rot90, "rot90",
                     "expand", "expand_as", torch.broadcast_to, "broadcast_to", "repeat", torch.tile, "tile",
                     torch.repeat_interleave, "repeat_interleave", "reshape_as", "view_as", functional.pixel_shuffle,
                     functional.pixel_unshuffle, functional.channel_shuffle, functional.unfold, "unfold", torch.ravel, "ravel",
                     torch.atleast_2d, torch.adjoint, "adjoint", torch.diagonal, "diagonal"), INDEX),
    **dict.fromkeys(JOINED, _joined),
    functional.pad: _padded,
    getattr: _attribute,
}  # fmt: skip
