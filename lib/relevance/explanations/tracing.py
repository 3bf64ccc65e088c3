"""The graph of a network's calls, as torch.fx traces it, put into the few forms that relevance knows a way through.

Networks that were not written for this book change tensors in place, and name the batch's size where they flatten. Here
what is changed in place becomes a value of its own, so that what came before can still be read, and flattening is flattening.
"""

from __future__ import annotations

import copy
import operator
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.nn import functional

from relevance.base.chunks import left_behind
from relevance.explanations.steps import is_changed, is_known

# What acts in place -> what gives the same as a new value.
PURE: dict[Any, Any] = {
    operator.iadd: operator.add,
    "add_": torch.add,
    "relu_": functional.relu,
    torch.relu_: functional.relu,
    functional.relu_: functional.relu,
    functional.leaky_relu_: functional.leaky_relu,
}
# Where a function takes inplace, counted after its first argument.
INPLACE_AT: dict[Any, int] = {functional.relu: 0, functional.leaky_relu: 1, functional.dropout: 2}
RESHAPES = ("view", "reshape", torch.reshape)


class Traced(NamedTuple):
    """What a network calls.

    Attributes:
        graph: of the calls; its targets are names of the network's modules and values.
        network: a copy that was traced, with the constants that the graph names; it shares the values of the given one.
        changed: whether something in the graph is read after it was changed in place.
    """

    graph: fx.Graph
    network: nn.Module
    changed: bool


class _Whole(nn.Module):
    """A network as the one module of another, so that its own hooks count, and an input that it can do without does not."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Any) -> Any:
        return self.network(images)


class _Tracer(fx.Tracer):
    """Looks into every module that is not a step by itself, or that does something else than its class says."""

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        return is_known(module) or (super().is_leaf_module(module, module_qualified_name) and not is_changed(module))


def sharing(network: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its parameters and buffers: there may be many millions."""
    own = [*network.parameters(), *network.buffers(), *left_behind(network)]
    return copy.deepcopy(network, {id(value): value for value in own})


def traced(network: nn.Module) -> Traced:
    """Return the graph of a network's calls.

    Modules that act in place are left as they are; whoever goes through the graph must take care that they do not.

    Raises:
        ValueError: torch.fx cannot trace the network.
    """
    # Hooks leave values behind in the modules that they belong to; what they leave here is no value, and nobody's.
    whole = _Whole(sharing(network))
    try:
        graph = _Tracer().trace(whole)
    except Exception as error:  # torch.fx raises many kinds
        raise ValueError(
            f"the network {type(network).__name__} cannot be traced by torch.fx ({str(error).splitlines()[0]}); "
            "its forward pass must not depend on values."
        ) from None
    for node in graph.nodes:
        if node.op in {"call_module", "get_attr"}:
            inside = str(node.target).removeprefix("network").removeprefix(".")
            if node.op == "get_attr" and inside == node.target:  # a constant of the forward pass
                setattr(whole.network, inside, getattr(whole, inside))
            node.target = inside
    modules = dict(network.named_modules())
    # All of them, whether or not one was changed.
    rewired = [_without_inplace(graph, node, modules) for node in list(graph.nodes)]
    for node in list(graph.nodes):
        _flatten(node)
    # What is left of the batch's size, and whatever else leads to nothing.
    graph.eliminate_dead_code(lambda node: node.op in {"placeholder", "output"})
    return Traced(graph, whole.network, any(rewired))


def _without_inplace(graph: fx.Graph, node: fx.Node, modules: dict[str, nn.Module]) -> bool:
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
    order = {one: place for place, one in enumerate(graph.nodes)}
    later = [user for user in changed.users if order[user] > order[node]]
    for user in later:
        user.replace_input_with(changed, node)
    return bool(later)


def _made_pure(node: fx.Node) -> bool:
    """Replace what acts in place by what gives a new value; return whether it acted in place."""
    inplace = node.target in PURE
    if inplace:
        node.op, node.target = "call_function", PURE[node.target]
    if "inplace" in node.kwargs:
        inplace = inplace or bool(node.kwargs["inplace"])
        node.kwargs = {name: value for name, value in node.kwargs.items() if name != "inplace"}
    place = 1 + INPLACE_AT.get(node.target, len(node.args))
    inplace = inplace or any(map(bool, node.args[place:]))
    node.args = node.args[:place]
    return inplace


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
