"""A network as a graph of steps, each of which can be gone forwards and, for relevance, backwards.

The graph is traced with torch.fx, so that branches and their sums are seen. Batch norm in evaluation mode is folded
into the affine layer before it, without touching the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, fx, nn

from relevance.base.chunks import Sample
from relevance.explanations.affine import Convolution, Dense, Scaling
from relevance.explanations.steps import Step, Visit, affine_step, function_step, is_known, module_step
from relevance.explanations.tracing import traced

# A step, its visit, the relevance of its value -> the relevance of each source.
Back = Callable[[Step, Visit, Tensor], list[Tensor]]


class RelevanceGraph:
    """The steps of one network, and the two passes over them.

    Raises:
        ValueError: the network cannot be traced, or a module or function in it has no rule.
    """

    def __init__(self, network: nn.Module) -> None:
        self.modules = dict(network.named_modules())
        self.steps: dict[str, Step] = {}
        # A single layer is a network too; the tracer would look inside it.
        graph, _ = traced(nn.Sequential(network) if is_known(network) else network)
        nodes = [node for node in graph.nodes if node.op != "get_attr"]
        for node in nodes:
            if node.op == "placeholder":
                self.image = node.name
            elif node.op == "output":
                (self.output,) = (source.name for source in node.all_input_nodes)
            else:
                self.steps[node.name] = self._step(node)
        self._fold_norms({node.name: node for node in nodes})

    def top_of(self, layer: str) -> str:
        """Return the node with the activations of an affine layer: its own, or the activation's that alone follows it.

        Raises:
            ValueError: there is no such layer.
        """
        node = next((step.name for step in self.steps.values() if step.affine and step.layer == layer), None)
        if node is None:
            raise ValueError(f"layer is {layer!r}; it may be one of: {', '.join(self.affine_layers)}.")
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
        """Names of the affine layers that take a rule, in the order of the forward pass."""
        return [step.layer for step in self.steps.values() if step.affine is not None]

    def forward(self, images: Tensor, sample: Sample) -> dict[str, Visit]:
        """Return what every node did, with the value that it gave."""
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

    def _step(self, node: fx.Node) -> Step:
        # Not all_input_nodes, which gives a node that is taken twice once.
        sources = tuple(source.name for source in self._taken(node))
        nonnegative = self._nonnegative(sources)
        if node.op == "call_module":
            # A network that is a single layer was wrapped, and its parameters have no prefix.
            name = str(node.target) if str(node.target) in self.modules else ""
            return module_step(node.name, name, self.modules[name], sources, nonnegative=nonnegative)
        return function_step(node.name, node.target, node.args[1:], node.kwargs, sources, nonnegative=nonnegative)

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
