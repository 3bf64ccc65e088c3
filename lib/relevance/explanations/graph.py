"""A network as a graph of steps, each of which can be gone forwards and, for relevance, backwards.

The graph is traced with torch.fx, so that branches and their sums are seen. What each step does on the way back is looked up in
the tables of :mod:`relevance.explanations.ways`, once for each node; the graph knows no operation by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from relevance.base import chunks
from relevance.base.chunks import Sample
from relevance.explanations.affine import Scaling
from relevance.explanations.folding import folded
from relevance.explanations.rules import Choices
from relevance.explanations.steps import Step, Values, step_of
from relevance.explanations.tracing import changes_in_place, taken, traced
from relevance.explanations.ways import affine, table
from relevance.explanations.ways.way import Affine, Call, Facts, Refused, Shares, Visit, Way, no_rule_for
from relevance.networks.posterior import Posterior

# A step, its visit, the relevance of its value -> the relevance of each source.
Back = Callable[[Step, Visit, Tensor], Shares]
DEFAULT = Choices()
# Pixels lie in [0, 1].
IMAGE = Facts(nonnegative=True, pixelwise=True)


def graph_of(posterior: Posterior, images: Tensor, choices: Choices = DEFAULT) -> RelevanceGraph:
    """Return the graph of a posterior's network, which gives for the first image what the network gives.

    It is traced and compared once for a network and the size of its images, and kept with the posterior.

    Raises:
        ValueError: there is no such graph, or what it gives differs.
    """
    shape = tuple(images.shape[1:])
    key = (shape, choices, _state(posterior.network), tuple(table.REGISTERED.items()))
    graph: RelevanceGraph | None = posterior.known.get(key)
    if graph is None:
        graph = RelevanceGraph(posterior.network, shape, choices)
        if len(images):
            graph.fold(posterior, images[:1].detach())
            graph.compare(posterior, images[:1].detach())
            posterior.known[key] = graph
    return graph


def _state(network: nn.Module) -> tuple[Any, ...]:
    """Return what tells a network from what it is after its modules or hooks were changed."""
    return tuple(
        (id(one), len(one._forward_hooks), len(one._forward_pre_hooks), len(vars(one))) for one in network.modules()
    )


class RelevanceGraph:
    """The steps of one network, and the two passes over them.

    What depends on no image, such as weights that are computed from parameters, is no step: it is computed from the
    sample, in its place.

    Args:
        network: whose graph it is.
        shape: (C, H, W) of its images; None if it is not known.
        choices: what the literature does in more than one way.

    Raises:
        ValueError: the network cannot be traced, or a module or function in it has no rule.
    """

    def __init__(self, network: nn.Module, shape: Sequence[int] | None = None, choices: Choices = DEFAULT) -> None:
        self.network, self.choices = network, choices
        self.modules = dict(network.named_modules())
        self.steps: dict[str, Step] = {}
        self.order: list[str] = []
        self.constants: dict[str, Callable[[Values, Sample], Any]] = {}
        self.names: Counter[str] = Counter()
        graph, self.traced, _, self.moving = traced(network, shape)
        self.users = {node.name: len(node.users) for node in graph.nodes}
        changed = _changed(graph, self.moving)
        for node in graph.nodes:
            if node.op == "placeholder":
                self.image = node.name
            elif node.op == "output":
                self.output = self._end(node)
            elif node in self.moving:
                self.order.append(node.name)
                self.steps[node.name] = self._step(node)
            else:
                self.order.append(node.name)
                self.constants[node.name] = self._constant(node, copied=node in changed)
        self._refuse()
        self.unfolded = self.steps
        self.steps = folded(self.unfolded, self.users, {}, choices.norms)

    def fold(self, posterior: Posterior, image: Tensor) -> None:
        """Merge batch norms where an image [1, C, H, W] shows that they fit, as they need not after dense layers."""
        if any(isinstance(step.affine, Scaling) for step in self.unfolded.values()):
            self.steps = self.unfolded
            with torch.no_grad():
                visits = self.forward(image, {name: value[0] for name, value in posterior.samples.items()})
            n_dims = {name: visit.value.ndim for name, visit in visits.items()}
            self.steps = folded(self.unfolded, self.users, n_dims, self.choices.norms)

    def compare(self, posterior: Posterior, image: Tensor) -> None:
        """Refuse a graph that gives something else for an image [1, C, H, W] than the network, which sees another beside it.

        Raises:
            ValueError: they differ by more than rounding does.
        """
        sample = {name: value[0] for name, value in posterior.samples.items()}
        generator = torch.cuda if image.is_cuda else torch
        state = generator.get_rng_state()
        rounding = torch.finfo(image.dtype).eps ** 0.5
        same = self._same(image, sample, rounding)
        if not same and image.dtype != torch.float64:
            # Very deep networks make much of roundings; those of double precision stay small.
            held = dict(self.network.named_buffers()) | sample
            twice = {name: value.double() if value.is_floating_point() else value for name, value in held.items()}
            same = self._same(image.double(), twice, rounding)
        if not same or not torch.equal(state, generator.get_rng_state()):
            raise ValueError(
                f"the network {type(self.network).__name__} gives something else than its layers, as torch.fx traces them, for "
                "an image by itself; its forward pass must be the same each time, and act on each image by itself."
            )

    @torch.no_grad()
    def _same(self, image: Tensor, sample: Sample, rounding: float) -> bool:
        """Return whether the graph gives for an image by itself what the network does for it beside another, but for rounding."""
        try:
            wanted = chunks.call(self.network, sample, torch.cat([image, 1 - image]))[:1]
            given = self.forward(image, sample)[self.output].value
        except (RuntimeError, IndexError):  # such as a size of the other batch that was taken for a constant
            return False
        return given.shape == wanted.shape and bool((given - wanted).abs().max() <= rounding * wanted.abs().max())

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

    @property
    def affine_kinds(self) -> list[tuple[str, type[nn.Module]]]:
        """The same with the class of each."""
        return [(step.layer, step.kind) for step in self.steps.values() if step.affine is not None]

    @property
    def in_rows(self) -> bool:
        """Whether every step certainly leaves what belongs to an image in its row, the first dimension."""
        return not any(isinstance(step.way, Way) and step.way.moves for step in self.steps.values())

    def forward(self, images: Tensor, sample: Sample) -> dict[str, Visit]:
        """Return what every step did, with the value that it gave."""
        sample = chunks.under_every_name(self.network, sample)
        values: dict[str, Any] = {self.image: images}
        visits = {self.image: Visit(images, lambda gradient: [])}
        for name in self.order:
            if (step := self.steps.get(name)) is None:
                values[name] = self.constants[name](values, sample)
            else:
                visits[name] = step.visit(values, sample)
                values[name] = visits[name].value
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
                if share is not None:
                    arrived[source] = arrived[source] + share if source in arrived else share
        if self.image not in arrived:
            arrived[self.image] = torch.zeros_like(visits[self.image].value)
        return arrived

    def _end(self, node: fx.Node) -> str:
        """Return the node that gives the logits, from that of the output."""
        (given,) = node.args
        if not isinstance(given, fx.Node):
            raise ValueError(f"the network gives a {type(given).__name__}; it must give logits [N, K] alone.")
        if given not in self.moving:
            raise ValueError("the network gives what does not depend on the image; it must give logits [N, K] that do.")
        return given.name

    def _refuse(self) -> None:
        """Refuse the network if relevance may arrive at a step that there is no way back through."""
        reached = {self.output}
        for step in reversed(self.steps.values()):
            if step.name in reached:
                if isinstance(step.way, Refused):
                    raise ValueError(step.way.why)
                reached.update(step.reached)

    def _step(self, node: fx.Node) -> Step:
        if changes_in_place(node):
            raise ValueError(no_rule_for(node.target, "on a part of a value"))
        sources = tuple(one for one in taken(node) if one in self.moving)
        facts = tuple(IMAGE if one.name == self.image else self.steps[one.name].facts for one in sources)
        name = str(node.target) if node.op == "call_module" else ""
        target = self.modules[name] if node.op == "call_module" else node.target
        call = Call(target, name, node.args, node.kwargs, sources, facts, self.choices)
        way = table.way_of(call)
        layer, kind = self._layer_of(node, call, way)
        if isinstance(way, Affine):
            way = Affine(way.map, way.parameters, kind or way.kind)
        return step_of(node.name, layer, call, way)

    def _layer_of(self, node: fx.Node, call: Call, way: Any) -> tuple[str, type[nn.Module] | None]:
        """Return what a step is called, and of an affine one the class of its module, if it is one's."""
        if node.op == "call_module":
            return call.name or type(call.target).__name__, None
        # The call of an affine module is that module's; others are called by what they are.
        inside: str = [*node.meta.get("nn_module_stack", {"": None})][-1]
        owner = inside.partition("@")[0].removeprefix("network").removeprefix(".")
        if isinstance(way, Affine):
            weight = call.argument(1, "weight")
            place = str(weight.target) if isinstance(weight, fx.Node) and weight.op == "get_attr" else ""
            for end in (".weight", "_weight"):
                if place.endswith(end) and place.removesuffix(end) not in {"", owner}:
                    place = place.removesuffix(end)
                    return place, type(self.modules[place]) if place in self.modules else None
            if isinstance(self.modules.get(owner), tuple(affine.MODULES)):
                return owner, type(self.modules[owner])
        function = getattr(call.target, "__name__", str(call.target)).strip("_")
        name = f"{owner}.{function}" if owner else function
        self.names[name] += 1
        return f"{name}()" if self.names[name] == 1 else f"{name}_{self.names[name] - 1}()", None

    def _constant(self, node: fx.Node, *, copied: bool) -> Callable[[Values, Sample], Any]:
        """Return how a node that depends on no image is computed, from the values of others and a sample."""
        target: Any = node.target

        def of_network(values: Values, sample: Sample) -> Any:
            found: Any = sample[target] if target in sample else reduce(getattr, target.split("."), self.traced)
            return found.clone() if copied else found

        def called(values: Values, sample: Sample) -> Any:
            args, keywords = fx.node.map_arg((node.args, dict(node.kwargs)), lambda one: values[one.name])
            if node.op == "call_module":
                own = {
                    name.removeprefix(f"{target}."): value
                    for name, value in sample.items()
                    if name.startswith(f"{target}.")
                }
                return functional_call(self.modules[target], own, args, keywords)
            if node.op == "call_method":
                return getattr(args[0], target)(*args[1:], **keywords)
            return target(*args, **keywords)

        return of_network if node.op == "get_attr" else called


def _changed(graph: fx.Graph, moving: set[fx.Node]) -> set[fx.Node]:
    """Return the values of the network that a call may change in place, of which each forward pass needs a copy."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        waiting = list(node.all_input_nodes) if node not in moving and changes_in_place(node) else []
        while waiting:
            one = waiting.pop()
            if one not in found and one not in moving:
                found.add(one)
                waiting += one.all_input_nodes
    return found
