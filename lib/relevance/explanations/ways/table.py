"""The tables of all families of ways back, and what readers add to them."""

from __future__ import annotations

from types import MethodDescriptorType
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from relevance.base import checks
from relevance.explanations.ways import activations, affine, attention, indices, norms, pools, products
from relevance.explanations.ways.way import Affine, Backward, Call, Plan, Refused, Way, by, pass_on, refused, unchanged

MODULES: dict[type[nn.Module], Way | Plan] = {
    **affine.MODULES,
    **activations.MODULES,
    **pools.MODULES,
    **norms.MODULES,
    **attention.MODULES,
    **indices.MODULES,
}
FUNCTIONS: dict[Any, Way | Plan] = {
    **affine.FUNCTIONS,
    **activations.FUNCTIONS,
    **pools.FUNCTIONS,
    **norms.FUNCTIONS,
    **products.FUNCTIONS,
    **attention.FUNCTIONS,
    **indices.FUNCTIONS,
}
# What readers registered: class or function -> the way back as they gave it.
REGISTERED: dict[Any, Backward] = {}
# Methods that a class may write anew without computing anything else.
HARMLESS = {"__init__", "__repr__", "extra_repr", "reset_parameters"}


def register(kind: Any, backward: Backward) -> None:
    """Tell LRP how relevance comes back through a kind of module, or a function, that it does not know.

    Args:
        kind: the class of the modules, such as ``torch.nn.Bilinear``; or a function that networks call, such as
            ``torch.cumsum``; or a method of tensors, such as ``torch.Tensor.cumsum``. It must act on each image by itself. A
            function of the reader's own must be marked by ``torch.fx.wrap``, or what it calls is seen in its place.
        backward: (function, inputs, outputs, relevance) -> relevance of the inputs, in differentiable operations; ``function``
            is the module with the parameters of one posterior sample, or the function, with all arguments that do not depend
            on the image. :func:`relevance.explanations.pass_on` suits activations,
            :func:`relevance.explanations.in_proportion` averages and other linear maps,
            :func:`relevance.explanations.to_the_winner` maxima. Of several inputs it gets, and gives, a tuple.

    Raises:
        ValueError: ``kind`` is not a class of modules or a function, or ``backward`` is not a function.
    """
    is_class = isinstance(kind, type) and issubclass(kind, nn.Module)
    if not is_class and (isinstance(kind, (type, nn.Module)) or not callable(kind)):
        raise ValueError(
            f"kind is {checks.shown(kind)}; it must be a class of modules, such as torch.nn.Bilinear, or a function, such as "
            "torch.cumsum."
        )
    if kind in affine.FUNCTIONS or (is_class and issubclass(kind, tuple(affine.MODULES))):
        raise ValueError(
            f"kind is {kind.__name__}, an affine layer, which takes a rule; it must be of others: give lrp a Composite."
        )
    checks.function("backward", backward, "a function, such as relevance.explanations.pass_on")
    # Tensors' methods are called by their names in a graph.
    key: Any = (
        kind.__name__ if isinstance(kind, MethodDescriptorType) and kind.__objclass__ is torch._C.TensorBase else kind
    )
    through = backward is pass_on
    way = Way(unchanged if through else by(backward), False, activation=through, passes_on=through, keeps=not through)
    REGISTERED[key] = backward
    ways: dict[Any, Any] = MODULES if is_class else FUNCTIONS
    ways[key] = way


def is_changed(module: nn.Module) -> bool:
    """Return whether a module does something else than its class says: by hooks, a patched method or a parametrisation."""
    patched = any(callable(getattr(type(module), name, None)) for name in vars(module))
    hooked = bool(module._forward_hooks or module._forward_pre_hooks)
    return patched or hooked or parametrize.is_parametrized(module)


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """Return the known class that a module computes as: its own, or one whose methods and weights it left as they are."""
    own = type(module)
    kind = next((one for one in own.__mro__ if one in MODULES), None)
    if kind is None or is_changed(module):
        return None
    of_its_own = [item for one in own.__mro__[: own.__mro__.index(kind)] for item in vars(one).items()]
    for name, value in of_its_own:
        if isinstance(value, property) or (name not in HARMLESS and callable(getattr(kind, name, None))):
            return None
    return kind


def is_known(module: nn.Module) -> bool:
    """Return whether a module is one step of the graph; others are made of such steps."""
    return kind_of(module) is not None


def way_of(call: Call) -> Way | Affine | Refused:
    """Return the way back through a call of a module or a function."""
    if isinstance(call.target, nn.Module):
        kind = kind_of(call.target)
        found = None if kind is None else MODULES[kind]
    else:
        found = FUNCTIONS.get(call.target)
    if found is None:
        return refused(call)
    return found if isinstance(found, Way) else found(call)
