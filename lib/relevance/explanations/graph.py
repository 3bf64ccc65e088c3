"""A network as a graph of steps, each of which can be gone forwards and, for relevance, backwards.

The graph is traced with torch.fx, so that branches and their sums are seen. Batch norm in evaluation mode is folded
into the affine layer before it, without touching the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from relevance.base import chunks
from relevance.base.chunks import Sample
from relevance.explanations.affine import Convolution, Dense, Scaling
from relevance.explanations.steps import (
    AFFINE_CALLS,
    Step,
    Visit,
    affine_step,
    call_of,
    function_step,
    module_step,
    no_rule_for,
)
from relevance.explanations.tracing import traced
from relevance.networks.posterior import Posterior

# A step, its visit, the relevance of its value -> the relevance of each source.
Back = Callable[[Step, Visit, Tensor], list[Tensor]]


def graph_of(posterior: Posterior, images: Tensor) -> RelevanceGraph:
    """Return the graph of a posterior's network, which gives for the first image what the network gives.

    Raises:
        ValueError: there is no such graph, or what it gives differs.
    """
    graph = RelevanceGraph(posterior.network)
    if len(images):
        graph.compare(posterior, images[:1].detach())
    return graph


class RelevanceGraph:
    """The steps of one network, and the two passes over them.

    What depends on no image, such as weights that are computed from parameters, is no step: it is computed from the
    sample where a step needs it.

    Raises:
        ValueError: the network cannot be traced, or a module or function in it has no rule.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.modules = dict(network.named_modules())
        self.steps: dict[str, Step] = {}
        graph, self.traced, _ = traced(network)
        moving: set[fx.Node] = set()  # what depends on the image
        for node in graph.nodes:
            if node.op == "placeholder":
                self.image = node.name
                moving.add(node)
            elif node.op == "output":
                self.output = self._end(node)
            elif not moving.isdisjoint(node.all_input_nodes):
                moving.add(node)
                self.steps[node.name] = self._step(node, moving)
        self._fold_norms({node.name: node for node in graph.nodes})

    def compare(self, posterior: Posterior, image: Tensor) -> None:
        """Refuse a graph that gives something else for an image [1, C, H, W] than the network, which sees another beside it.

        Raises:
            ValueError: they differ by more than rounding does.
        """
        sample = {name: value[0] for name, value in posterior.samples.items()}
        generator = torch.cuda if image.is_cuda else torch
        state = generator.get_rng_state()
        with torch.no_grad():
            both = torch.cat([image, 1 - image])
            wanted = chunks.call(self.network, sample, both)[:1]
            given = self.forward(image, sample)[self.output].value
        rounding = torch.finfo(wanted.dtype).eps ** 0.5
        same = given.shape == wanted.shape and (given - wanted).abs().max() <= rounding * wanted.abs().max()
        if not same or not torch.equal(state, generator.get_rng_state()):
            raise ValueError(
                f"the network {type(self.network).__name__} gives something else than its layers, as torch.fx traces them, for "
                "an image by itself; its forward pass must be the same each time, and act on each image by itself."
            )

    def top_of(self, layer: str) -> str:
        """Return the node with the activations of an affine layer: its own, or the activation's that alone follows it.

        Raises:
            ValueError: there is no such layer, or the network goes through it more than once.
        """
        uses = [step.name for step in self.steps.values() if step.affine and step.layer == layer]
        if len(uses) != 1:
            once = [name for name in self.affine_layers if self.affine_layers.count(name) == 1]
            times = f", which is used {len(uses)} times" if uses else ""
            raise ValueError(f"layer is {layer!r}{times}; it may be one of: {', '.join(once)}.")
        (node,) = uses
        while (user := self._passed_on_to(node)) is not None:
            node = user.name
        return node

    def is_activated(self, node: str) -> bool:
        """Return whether an activation, alone, takes the value of a node, perhaps after what leaves it as it is."""
        user = self._passed_on_to(node)
        return user is not None and (user.activation or self.is_activated(user.name))

    def _passed_on_to(self, node: str) -> Step | None:
        """Return the step that alone takes the value of a node, if relevance passes through it unchanged."""
        users = [step for step in self.steps.values() if node in step.sources]
        return users[0] if len(users) == 1 and users[0].passes_on else None

    @property
    def affine_layers(self) -> list[str]:
        """Names of the affine layers that take a rule, in the order of the forward pass; one used twice is there twice."""
        return [step.layer for step in self.steps.values() if step.affine is not None]

    def forward(self, images: Tensor, sample: Sample) -> dict[str, Visit]:
        """Return what every node did, with the value that it gave."""
        sample = chunks.under_every_name(self.network, sample)
        visits = {self.image: Visit(images, lambda gradient: [])}
        for step in self.steps.values():
            visits[step.name] = step.visit([visits[source].value for source in step.sources], sample)
        return visits

    def backward(self, visits: Mapping[str, Visit], start: str, relevance: Tensor, back: Back) -> dict[str, Tensor]:
        """Hand relevance back from the node ``start`` to the image; return that of every node it reaches.

        Args:
            visits: from :meth:`forward`.
            start: where it starts, and
            relevance: what is there.
            back: a step, its visit, the relevance of its value -> the relevance of each of its sources.
        """
        arrived = {start: relevance}
        for step in reversed(self.steps.values()):
            if step.name not in arrived:
                continue
            shares = back(step, visits[step.name], arrived[step.name])
            for source, share in zip(step.sources, shares, strict=True):
                arrived[source] = arrived[source] + share if source in arrived else share
        return arrived

    def _nonnegative(self, sources: tuple[str, ...]) -> bool:
        return all(source == self.image or self.steps[source].nonnegative for source in sources)

    def _end(self, node: fx.Node) -> str:
        """Return the node that gives the logits, from that of the output."""
        (given,) = node.args
        if not isinstance(given, fx.Node):
            raise ValueError(f"the network gives a {type(given).__name__}; it must give logits [N, K] alone.")
        return given.name

    def _step(self, node: fx.Node, moving: set[fx.Node]) -> Step:
        # Not all_input_nodes, which gives a node that is taken twice once.
        taken = self._taken(node)
        sources = tuple(source.name for source in taken if source in moving)
        nonnegative = self._nonnegative(sources)
        if node.target in AFFINE_CALLS:
            return self._affine_call(node, sources, nonnegative=nonnegative)
        if node.op == "call_module":
            name = str(node.target)
            if len(node.args) != 1 or node.kwargs or node.args[0] not in moving:
                raise ValueError(
                    f"layer {name} takes {len(node.args) + len(node.kwargs)} values; it must take one, in order."
                )
            return module_step(node.name, name, self.modules[name], sources, nonnegative=nonnegative)
        if len(sources) != len(taken):
            raise no_rule_for(node.target, "with values of its own")
        return function_step(node.name, node.target, node.args[1:], node.kwargs, sources, nonnegative=nonnegative)

    def _affine_call(self, node: fx.Node, sources: tuple[str, ...], *, nonnegative: bool) -> Step:
        """Return the step of a function that applies weights, whatever they are computed from, save the image."""
        how, given = call_of(node.target, node.args, node.kwargs)
        if sources != (str(given["input"]),):
            raise no_rule_for(node.target, "with weights that depend on the image")
        weight, bias = given["weight"], given.get("bias")
        # The call of an affine module is that module's; others are called by what they are.
        inside: str = [*node.meta.get("nn_module_stack", {"": None})][-1]
        owner = inside.removeprefix("network").removeprefix(".")
        is_module = isinstance(self.modules.get(owner), (nn.Linear, nn.Conv2d))
        return affine_step(
            node.name,
            owner if is_module else f"{node.name}()",
            sources,
            how,
            lambda sample: (self._value(weight, sample), self._value(bias, sample)),
            nonnegative,
        )

    def _value(self, given: Any, sample: Sample) -> Any:
        """Return what a node that depends on no image is for a sample; what is not a node is what it is."""
        if not isinstance(given, fx.Node):
            return given
        target: Any = given.target
        if given.op == "get_attr":
            return sample[target] if target in sample else reduce(getattr, target.split("."), self.traced)
        arguments, keywords = fx.node.map_arg((given.args, given.kwargs), lambda node: self._value(node, sample))
        if given.op == "call_module":
            own = {
                name.removeprefix(f"{target}."): value
                for name, value in sample.items()
                if name.startswith(f"{target}.")
            }
            return functional_call(self.modules[target], own, arguments, keywords)
        if given.op == "call_method":
            of_value, *rest = arguments
            return getattr(of_value, target)(*rest, **keywords)
        return target(*arguments, **keywords)

    @staticmethod
    def _taken(node: fx.Node) -> list[fx.Node]:
        """Return the nodes whose values a node takes, in order; one may be among them more than once."""
        taken: list[fx.Node] = []
        fx.node.map_arg((node.args, node.kwargs), taken.append)
        return taken

    def _fold_norms(self, nodes: Mapping[str, fx.Node]) -> None:
        """Fold each batch norm into the affine layer before it, where nothing else uses that layer's outputs."""
        for name, step in list(self.steps.items()):
            if not isinstance(step.affine, Scaling):
                continue
            before = self.steps.get(step.sources[0])
            if before is None or not isinstance(before.affine, (Dense, Convolution)):
                continue
            if len(nodes[before.name].users) != 1:
                continue
            self.steps[before.name] = self._folded(before, step)
            self.steps[name] = module_step(name, step.layer, nn.Identity(), step.sources, nonnegative=False)

    def _folded(self, before: Step, norm: Step) -> Step:
        own, factors = before.parameters, norm.parameters
        assert before.affine is not None
        assert own is not None
        assert factors is not None

        def parameters(sample: Sample) -> tuple[Tensor, Tensor]:
            weight, bias = own(sample)
            factor, shift = factors(sample)
            assert shift is not None
            weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
            return weight, shift if bias is None else shift + factor * bias

        return affine_step(
            before.name, before.layer, before.sources, before.affine, parameters, self._nonnegative(before.sources)
        )
