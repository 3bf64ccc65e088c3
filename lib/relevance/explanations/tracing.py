"""The graph of a network's calls, as torch.fx traces it, put into the few forms that relevance knows a way through.

Networks that were not written for this book change tensors in place, name the batch's size where they flatten, decide by the
size of an image, and hide calls from the tracer. Here what is changed in place becomes a value of its own, so that what came
before can still be read; sizes are looked up, and what is hidden is looked into.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional

from relevance.base.chunks import left_behind
from relevance.explanations.ways import attention, table
from relevance.explanations.ways.indices import SEVERAL, picked
from relevance.explanations.ways.table import is_changed, is_known

# What acts in place -> what gives the same as a new value. A method with an underscore is the one without, where there is one.
PURE: dict[Any, Any] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    torch.relu_: functional.relu,
    functional.relu_: functional.relu,
    functional.leaky_relu_: functional.leaky_relu,
    functional.elu_: functional.elu,
    functional.hardtanh_: functional.hardtanh,
}
RESHAPES = ("view", "reshape", torch.reshape)
# Modules of torch that are made of others, and are looked into.
COMPOSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.GLU)
# What is asked of a value that says nothing of its numbers.
ASKED = {
    "shape",
    "ndim",
    "dtype",
    "device",
    "layout",
    "is_cuda",
    "requires_grad",
    "is_nested",
    "names",
    "itemsize",
    "nbytes",
}
SIZES: set[Any] = {
    "size", "dim", "ndimension", "numel", "nelement", "stride", "is_floating_point", "is_contiguous", "get_device", "new_zeros",
    "new_ones", "new_full", "new_empty", "new_tensor", torch.zeros_like, torch.ones_like, torch.full_like, torch.empty_like,
    torch.numel, torch.is_floating_point, len,
}  # fmt: skip
# Methods that ask nothing of their argument but how it is.
LIKE = {"expand_as", "view_as", "reshape_as", "type_as", "to"}
# Of a batch that is looked at for its sizes alone: no other size is likely to be this.
EXAMPLES = 2


class Traced(NamedTuple):
    """What a network calls.

    Attributes:
        graph: of the calls; its targets are names of the network's modules and values.
        network: a copy that was traced, with the constants that the graph names; it shares the values of the given one.
        changed: whether something in the graph is read after it was changed in place.
        moving: the nodes whose values depend on the image, and not on its size alone.
    """

    graph: fx.Graph
    network: nn.Module
    changed: bool
    moving: set[fx.Node]


class _Whole(nn.Module):
    """A network as the one module of another, so that its own hooks count, and an input that it can do without does not."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Any) -> Any:
        return self.network(images)


class _Value(fx.Proxy):
    """A value of a network that is being traced, whose size is known where it is asked for."""

    tracer: _Tracer

    def __index__(self) -> int:
        return operator.index(self.tracer.known(self.node))

    def __int__(self) -> int:
        return int(self.tracer.known(self.node))

    def __float__(self) -> float:
        return float(self.tracer.known(self.node))

    def __len__(self) -> int:
        several = self.tracer.known(self.node)
        return super().__len__() if isinstance(several, Tensor) else len(several)

    def __setitem__(self, place: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, place, value), {})

    def __getattr__(self, name: str) -> fx.proxy.Attribute:
        return _Attribute(self, name)


class _Attribute(_Value, fx.proxy.Attribute):
    """An attribute of such a value."""


class _Tracer(fx.Tracer):
    """Looks into every module that is not a step by itself, or that does something else than its class says.

    Args:
        shape: (C, H, W) of the images, by which the network may decide; None if it is not known.
    """

    def __init__(self, shape: Sequence[int] | None) -> None:
        super().__init__()
        self.shape = shape
        self.values: dict[fx.Node, Any] = {}
        self.inside: list[Any] = []
        self.looking = False

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        if is_known(module):
            return True
        ours = isinstance(module, (*COMPOSED, nn.MultiheadAttention)) or is_changed(module)
        return super().is_leaf_module(module, module_qualified_name) and not ours

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self.looking:
            return forward(*args, **kwargs)
        if type(m).forward is nn.MultiheadAttention.forward and not is_changed(m):
            forward = partial(attention.multihead, m)  # type: ignore[arg-type]
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if self.looking:
            return attr_val
        # Whole numbers in a buffer are no values of a sample.
        self.proxy_buffer_attributes = isinstance(attr_val, Tensor) and attr_val.is_floating_point()
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **more: Any) -> Any:
        written = _written_out(target) if kind == "call_function" else None
        if written is not None and target not in self.inside:
            self.inside.append(target)
            try:
                return written(*args, **kwargs)
            except Exception:
                if target in attention.WRITTEN_OUT:
                    raise
                # What cannot be looked into is a call, which the refusal then names.
            finally:
                self.inside.pop()
        return super().create_proxy(kind, target, args, kwargs, *others, **more)

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.known(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        several = self.known(obj.node)
        if isinstance(several, Tensor):
            return super().iter(obj)
        return iter([obj[index] for index in range(len(several))])  # type: ignore[index]

    def known(self, node: fx.Node) -> Any:
        """Return what a node is for images of the size that is known; of tensors there are sizes alone.

        Raises:
            TraceError: the size is not known, or more than that must be.
        """
        if self.shape is None:
            raise fx.proxy.TraceError("it decides by the size of the images, or by their values")
        self.looking = True
        try:
            return self._value(node)
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise fx.proxy.TraceError(f"it decides by values: {error}") from None
        finally:
            self.looking = False

    def _value(self, node: fx.Node) -> Any:
        assert self.shape is not None
        # Not recursively: networks are deeper than Python's stack.
        waiting = [node]
        while waiting:
            one = waiting[-1]
            missing = [given for given in one.all_input_nodes if given not in self.values]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            if one not in self.values:
                self.values[one] = self._one(one)
        return self.values[node]

    def _one(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            # The type is that of the network's own values, as far as it has any.
            own = next((value.dtype for value in self.root.parameters() if value.is_floating_point()), None)
            return torch.empty((EXAMPLES, *self.shape), dtype=own, device="meta")  # type: ignore[misc]
        args, keywords = fx.node.map_arg((node.args, node.kwargs), self.values.__getitem__)
        target: Any = node.target
        if node.op == "get_attr":
            found = reduce(getattr, target.split("."), self.root)
            # Values of parameters are those of a sample.
            return found.to("meta") if isinstance(found, nn.Parameter) else found
        args, keywords = _on_meta((args, keywords), always=node.op == "call_module")
        if node.op == "call_module":
            module = self.root.get_submodule(target)
            own_values = {name: one.to("meta") for name, one in (*module.named_parameters(), *module.named_buffers())}
            return functional_call(module, own_values, args, keywords)
        if node.op == "call_method":
            return getattr(args[0], target)(*args[1:], **keywords)
        return target(*args, **keywords)


def _on_meta(values: Any, *, always: bool) -> Any:
    """Return arguments with all tensors without numbers, if one of them is, or always."""
    given: list[Any] = []
    fx.node.map_aggregate(values, given.append)
    if not always and not any(isinstance(one, Tensor) and one.is_meta for one in given):
        return values
    return fx.node.map_aggregate(values, lambda one: one.to("meta") if isinstance(one, Tensor) else one)


def _written_out(target: Any) -> Callable[..., Any] | None:
    """Return what is called in place of a function that is hidden from the tracer, by which there is no way back as it is."""
    if target in table.FUNCTIONS:
        return None
    hidden = inspect.isfunction(target) and target.__module__.partition(".")[0] != "torch"
    return attention.WRITTEN_OUT.get(target, target if hidden else None)


def sharing(network: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its parameters and buffers: there may be many millions."""
    own = [*network.parameters(), *network.buffers(), *left_behind(network)]
    return copy.deepcopy(network, {id(value): value for value in own})


def traced(network: nn.Module, shape: Sequence[int] | None = None) -> Traced:
    """Return the graph of a network's calls.

    Modules that act in place are left as they are; whoever goes through the graph must take care that they do not.

    Args:
        network: what is traced.
        shape: (C, H, W) of its images; the graph of a network that decides by it is of this size alone.

    Raises:
        ValueError: torch.fx cannot trace the network.
    """
    # Hooks leave values behind in the modules that they belong to; what they leave here is no value, and nobody's.
    whole = _Whole(sharing(network))
    try:
        graph = _Tracer(shape).trace(whole)
    except Exception as error:  # torch.fx raises many kinds
        raise ValueError(
            f"the network {type(network).__name__} cannot be traced by torch.fx ({_line(error)}); "
            "its forward pass must not depend on values."
        ) from None
    for node in graph.nodes:
        if node.op in {"call_module", "get_attr"}:
            inside = str(node.target).removeprefix("network").removeprefix(".")
            if node.op == "get_attr" and inside == node.target:  # a constant of the forward pass
                setattr(whole.network, inside, getattr(whole, inside))
            node.target = inside
    modules = dict(network.named_modules())
    for node in list(graph.nodes):
        _pick(node)
    moving = _moving(graph)
    # All of them, whether or not one was changed.
    order = {node: place for place, node in enumerate(graph.nodes)}
    rewired = [_without_inplace(node, order, modules) for node in list(graph.nodes) if node in moving]
    for node in list(graph.nodes):
        _flatten(node)
    # What is left of the batch's size, and whatever else leads to nothing; but constants may still be made in place.
    graph.eliminate_dead_code(lambda node: node.op in {"placeholder", "output"} or changes_in_place(node))
    return Traced(graph, whole.network, any(rewired), _moving(graph))


def _line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0][:120]


def changes_in_place(node: fx.Node) -> bool:
    """Return whether a call changes a value that it is given."""
    if node.op == "call_method":
        name = str(node.target)
        return name.endswith("_") and not name.endswith("__") and name not in {"requires_grad_", "detach_"}
    return node.op == "call_function" and (node.target is operator.setitem or node.target in PURE)


def _moving(graph: fx.Graph) -> set[fx.Node]:
    """Return the nodes whose values depend on the image, and not on its size alone."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or not found.isdisjoint(taken(node)):
            found.add(node)
    return found


def taken(node: fx.Node) -> list[fx.Node]:
    """Return the nodes whose values a call computes with, in order; one may be among them more than once."""
    if node.target in SIZES or (node.target is getattr and node.args[1] in ASKED):
        return []
    found: list[fx.Node] = []
    fx.node.map_arg(node.args[:1] if node.target in LIKE else (node.args, node.kwargs), found.append)
    return found


def _pick(node: fx.Node) -> None:
    """Write chunk(x)[i], and its kin, as one call, since a step has one value."""
    if node.target is not operator.getitem or not isinstance(node.args[1], int):
        return
    several = node.args[0]
    if isinstance(several, fx.Node) and several.op in {"call_function", "call_method"} and several.target in SEVERAL:
        target: Any = several.target
        values, *args = several.args
        if isinstance(values, fx.Node):
            node.op, node.target = "call_function", picked
            node.args, node.kwargs = (values, target, node.args[1], *args), several.kwargs


def _without_inplace(node: fx.Node, order: dict[fx.Node, int], modules: dict[str, nn.Module]) -> bool:
    """Give the value of a call that acts in place to all who use its input afterwards; return whether there are any."""
    if node.op == "call_module":
        inplace = getattr(modules[str(node.target)], "inplace", False) is True
    elif node.op in {"call_function", "call_method"} and node.all_input_nodes:
        inplace = _made_pure(node)
    else:
        return False
    if not inplace:
        return False
    (changed, *_) = node.all_input_nodes
    later = [user for user in changed.users if order[user] > order[node]]
    for user in later:
        user.replace_input_with(changed, node)
    return bool(later)


def _made_pure(node: fx.Node) -> bool:
    """Replace what acts in place by what gives a new value; return whether it acted in place."""
    inplace = node.target in PURE
    if inplace:
        node.op, node.target = "call_function", PURE[node.target]
    elif node.op == "call_method" and changes_in_place(node) and hasattr(Tensor, str(node.target)[:-1]):
        inplace, node.target = True, str(node.target)[:-1]
    if "inplace" in node.kwargs:
        inplace = inplace or bool(node.kwargs["inplace"])
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "inplace"}
    place = _place_of_inplace(node.target)
    if place is not None and len(node.args) > place:
        # What comes after it, if anything does, has a name.
        inplace = inplace or bool(node.args[place])
        node.args = node.args[:place]
    return inplace


def _place_of_inplace(target: Any) -> int | None:
    """Return where a function takes ``inplace`` among its arguments."""
    if not inspect.isfunction(target):
        return None
    names = list(inspect.signature(target).parameters)
    return names.index("inplace") if "inplace" in names else None


def _flatten(node: fx.Node) -> None:
    """Write x.view(x.size(0), -1), and its kin, as flatten, which does not name the size of the batch."""
    if node.target not in RESHAPES or len(node.all_input_nodes) != 2:
        return
    values, *shape = node.args
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = list(shape[0])
    if len(shape) == 2 and shape[1] == -1 and isinstance(shape[0], fx.Node) and _is_batch_size(shape[0]):
        node.op, node.target, node.args = "call_function", torch.flatten, (values, 1)


def _is_batch_size(node: fx.Node) -> bool:
    """Return whether a node is x.size(0), x.size()[0] or x.shape[0]."""
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,) or node.kwargs == {"dim": 0}
    if node.target is not operator.getitem or node.args[1] != 0 or not isinstance(node.args[0], fx.Node):
        return False
    sizes = node.args[0]
    whole = sizes.op == "call_method" and sizes.target == "size" and len(sizes.args) == 1
    return whole or (sizes.target is getattr and sizes.args[1] == "shape")
