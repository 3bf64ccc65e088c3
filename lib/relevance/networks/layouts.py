"""The order of the numbers in weights: torch's, JAX's, and what a dense layer reads after a flattening."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

TORCH, JAX = "torch", "jax"
# Which dimension of a JAX weight comes where in torch's: dense [in, out], convolutions [(D, H,) W, in, out].
TORCH_ORDER: dict[type[nn.Module], tuple[int, ...]] = {
    nn.Linear: (1, 0),
    nn.Conv1d: (2, 1, 0),
    nn.Conv2d: (3, 2, 0, 1),
    nn.Conv3d: (4, 3, 0, 1, 2),
}


def weight_of(layer: str) -> str:
    """Return what the weight of a layer is called; the whole network is the layer without a name."""
    return f"{layer}.weight" if layer else "weight"


def is_dense(network: nn.Module, name: str) -> bool:
    """Return whether a parameter is the weight of a dense layer."""
    place, _, part = name.rpartition(".")
    return part == "weight" and isinstance(network.get_submodule(place), nn.Linear)


def without_plates(value: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a value [S, 1, ..., 1, ...] in a shape [S, ...] that it has but for these ones, which Pyro's plates leave.

    Any other value is returned as it is: ones at other places may be what tells two layouts apart.
    """
    plates = value.ndim - len(shape)
    is_so = plates > 0 and tuple(value.shape) == (shape[0], *(1,) * plates, *shape[1:])
    return value.reshape(tuple(shape)) if is_so else value


def in_torch_order(module: nn.Module, name: str, value: Tensor, n_dims: int) -> Tensor:
    """Return JAX's stacked weights [S, ...] of a module in torch's order of dimensions.

    Args:
        module: the layer whose they are.
        name: of the parameter, for the sentence.
        value: [S, ...].
        n_dims: how many dimensions the parameter has.

    Raises:
        ValueError: the module is neither dense nor a convolution, and the parameter has several dimensions.
    """
    if n_dims < 2 or isinstance(module, nn.Embedding):
        return value
    order = next((order for kind, order in TORCH_ORDER.items() if isinstance(module, kind)), None)
    if order is None or value.ndim != len(order) + 1:
        raise ValueError(
            f"sites[{name!r}] has shape {list(value.shape)} and is of a {type(module).__name__}; layout 'jax' may be that of "
            "dense weights [S, in, out] and of convolutions' [S, H, W, in, out]."
        )
    return value.permute(0, *(axis + 1 for axis in order))


def columns(weights: Tensor, shape: Sequence[int]) -> Tensor:
    """Return weights [S, out, H W C] with columns in torch's order, C, H, W.

    Args:
        weights: of a dense layer.
        shape: (C, H, W) of what is flattened before it, or with as many sides as there are.
    """
    channels, *sides = shape
    parts = weights.reshape(*weights.shape[:2], *sides, channels)
    return parts.movedim(-1, 2).reshape(weights.shape)


class _Views(TorchDispatchMode):
    """Remembers what was flattened last to how many values, while a network computes on one image."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[int, tuple[int, ...]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = func(*args, **(kwargs or {}))
        source = args[0] if args else None
        if isinstance(source, Tensor) and "view" in func.__name__ and source.ndim > 2:
            size = source.numel()
            self.before |= {size: tuple(source.shape[1:])} if tuple(given.shape) == (1, size) else {}
        return given


def flattened(network: nn.Module, image: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the dense layers that read flattened feature maps -> the shape (C, H, W) of these, or with as many sides.

    Left out are those for which the order makes no difference, with one channel or one place.

    Args:
        network: stays as it is.
        image: [1, C, H, W].
    """
    views, found = _Views(), {}
    met: list[tuple[Tensor, tuple[int, ...]]] = []

    def see(name: str, inputs: Tensor) -> None:
        # Several layers may read the same values; one of the same width that reads others does not follow the flattening.
        shape = next((shape for known, shape in met if known is inputs), None)
        if shape is None and inputs.ndim == 2:
            shape = views.before.pop(inputs.shape[1], None)
        if shape is not None:
            met.append((inputs, shape))
            if shape[0] > 1 and math.prod(shape[1:]) > 1:
                found[name] = shape

    network = copy.deepcopy(network).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs, name=name: see(name, inputs[0]))
    with torch.no_grad(), views:
        network(image)
    return found
