"""A network as a graph of steps, each of which can be gone forwards and, for relevance, backwards.

The graph is traced with torch.fx, so that branches and their sums are seen. Batch norm in evaluation mode is folded
into the affine layer before it, without touching the module.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import vjp
from torch.nn import functional

from relevance.explanations.affine import AffineMap, Convolution, Dense, Layer, Scaling
from relevance.explanations.rules import TINY, Rule, stabilised

Sample = Mapping[str, Tensor]
# What holds of the activations: relevance passes through unchanged.
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Softplus)
IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d)
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
KNOWN_MODULES = (nn.Linear, nn.Conv2d, nn.Flatten, *NORMS, *POOLS, *ACTIVATIONS, *IDENTITIES)
ADDITIONS = (operator.add, operator.iadd, torch.add)
RESHAPES = {torch.flatten, "flatten", "reshape", "view"}


@dataclass(frozen=True)
class Step:
    """One node of the graph.

    Attributes:
        name: of the node.
        layer: name of the module, or of the function.
        sources: nodes whose values it takes.
        run: values of the sources and a posterior sample -> value.
        affine: how the weights act, for affine layers; else None.
        parameters: a posterior sample -> weight and bias, for affine layers.
        backward: for other layers: values of the sources, value, relevance -> relevance of each source.
        nonnegative: whether its value is known to be at least 0.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    run: Callable[[list[Tensor], Sample], Tensor]
    affine: AffineMap | None = None
    parameters: Callable[[Sample], tuple[Tensor, Tensor | None]] | None = None
    backward: Callable[[list[Tensor], Tensor, Tensor], list[Tensor]] | None = None
    nonnegative: bool = False


def _pass_on(sources: list[Tensor], value: Tensor, relevance: Tensor) -> list[Tensor]:
    return [relevance]


def _reshape_back(sources: list[Tensor], value: Tensor, relevance: Tensor) -> list[Tensor]:
    return [relevance.reshape(sources[0].shape)]


def _share_sum(sources: list[Tensor], value: Tensor, relevance: Tensor) -> list[Tensor]:
    """Share the relevance of a sum of branches in proportion to what each added: a / (a + b) of it to a.

    It is the epsilon rule for the affine map (a, b) -> a + b with a vanishing stabiliser, so it conserves.
    """
    share = relevance / stabilised(value, TINY)
    return [source * share for source in sources]


class RelevanceGraph:
    """The steps of one network, and the two passes over them.

    Raises:
        ValueError: the network cannot be traced, or a module or function in it has no rule.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.modules = dict(network.named_modules())
        self.steps: dict[str, Step] = {}
        try:
            # A single layer is a network too; the tracer would look inside it.
            traced = fx.Tracer().trace(network if not isinstance(network, KNOWN_MODULES) else nn.Sequential(network))
        except Exception as error:  # torch.fx raises many kinds
            raise ValueError(
                f"the network {type(network).__name__} cannot be traced by torch.fx ({str(error).splitlines()[0]}); "
                "its forward pass must not depend on values."
            ) from None
        nodes = [node for node in traced.nodes if node.op != "get_attr"]
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
        while True:
            users = [step for step in self.steps.values() if node in step.sources]
            if len(users) != 1 or users[0].backward is not _pass_on:
                return node
            node = users[0].name

    @property
    def affine_layers(self) -> list[str]:
        """Names of the affine layers that take a rule, in the order of the forward pass."""
        return [step.layer for step in self.steps.values() if step.affine is not None]

    def forward(self, images: Tensor, sample: Sample) -> dict[str, Tensor]:
        """Return the value of every node."""
        values = {self.image: images}
        for step in self.steps.values():
            values[step.name] = step.run([values[source] for source in step.sources], sample)
        return values

    def backward(
        self, values: Mapping[str, Tensor], sample: Sample, start: str, relevance: Tensor, rules: Mapping[str, Rule]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Hand relevance back from the node ``start`` to the image.

        Returns:
            The relevance of every node that it reaches, and, for every affine layer on the way, how much of each image's
            relevance it did not hand on: [N], what its bias and its stabiliser kept.
        """
        arrived, kept = {start: relevance}, {}
        for step in reversed(self.steps.values()):
            if step.name not in arrived:
                continue
            sources = [values[source] for source in step.sources]
            if step.affine is not None and step.parameters is not None:
                nonnegative = step.sources[0] == self.image or self.steps[step.sources[0]].nonnegative
                weight, bias = step.parameters(sample)
                layer = Layer(step.affine, sources[0], weight, bias, values[step.name], nonnegative)
                shares = [rules[step.layer].share(layer, arrived[step.name])]
                kept[step.layer] = arrived[step.name].flatten(1).sum(1) - shares[0].flatten(1).sum(1)
            else:
                assert step.backward is not None
                shares = step.backward(sources, values[step.name], arrived[step.name])
            for source, share in zip(step.sources, shares, strict=True):
                arrived[source] = arrived[source] + share if source in arrived else share
        return arrived, kept

    def _nonnegative(self, sources: tuple[str, ...]) -> bool:
        return all(source == self.image or self.steps[source].nonnegative for source in sources)

    def _step(self, node: fx.Node) -> Step:
        sources = tuple(source.name for source in node.all_input_nodes)
        if node.op == "call_module":
            # A network that is a single layer was wrapped, and its parameters have no prefix.
            name = str(node.target) if str(node.target) in self.modules else ""
            return self._module_step(node.name, name, self.modules[name], sources)
        target = node.target
        same = self._nonnegative(sources)
        name = str(getattr(target, "__name__", target))
        if target in ADDITIONS and len(sources) == 2 and not node.kwargs:
            return Step(node.name, name, sources, lambda x, _: x[0] + x[1], backward=_share_sum, nonnegative=same)
        if target in (functional.relu, torch.relu, "relu"):
            return Step(node.name, name, sources, lambda x, _: x[0].relu(), backward=_pass_on, nonnegative=True)
        if target in RESHAPES and len(sources) == 1:
            arguments, keywords = node.args[1:], node.kwargs
            method = "flatten" if target in (torch.flatten, "flatten") else str(target)
            return Step(
                node.name,
                name,
                sources,
                lambda x, _: getattr(x[0], method)(*arguments, **keywords),
                backward=_reshape_back,
                nonnegative=same,
            )
        raise ValueError(
            f"the network calls {name}, for which lrp has no rule; it may call: add, relu, flatten, reshape and view, "
            f"and have the modules: {_names(KNOWN_MODULES)}."
        )

    def _module_step(self, node: str, name: str, module: nn.Module, sources: tuple[str, ...]) -> Step:
        same = self._nonnegative(sources)
        prefix = f"{name}." if name else ""

        def own(sample: Sample, part: str) -> Tensor | None:
            return sample.get(prefix + part)

        def affine(how: AffineMap, parameters: Callable[[Sample], Any]) -> Step:
            return Step(
                node,
                name or type(module).__name__,
                sources,
                lambda x, sample: how.forward(x[0], *parameters(sample)),
                how,
                parameters,
            )

        def plain(backward: Callable[[list[Tensor], Tensor, Tensor], list[Tensor]], nonnegative: bool) -> Step:
            return Step(node, name, sources, lambda x, _: module(x[0]), backward=backward, nonnegative=nonnegative)

        if isinstance(module, (nn.Linear, nn.Conv2d)):
            how = Dense() if isinstance(module, nn.Linear) else _convolution(name, module)
            return affine(how, lambda sample: (own(sample, "weight"), own(sample, "bias")))
        if isinstance(module, NORMS):
            return affine(Scaling(), lambda sample: _norm_factors(module, own(sample, "weight"), own(sample, "bias")))
        if isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            return plain(_share_linear(module), same)
        if isinstance(module, nn.MaxPool2d):
            return plain(_to_the_winner(module), same)
        if isinstance(module, (nn.Flatten, *IDENTITIES)):
            return plain(_reshape_back, same)
        if isinstance(module, ACTIVATIONS):
            return plain(_pass_on, not isinstance(module, nn.LeakyReLU))
        raise ValueError(
            f"layer {name} is a {type(module).__name__}, for which lrp has no rule; it may be one of: "
            f"{_names(KNOWN_MODULES)}, or a module made of these."
        )

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
            self.steps[before.name] = _folded(before, step)
            self.steps[name] = Step(name, step.layer, step.sources, lambda x, _: x[0], backward=_pass_on)


def _names(kinds: tuple[type, ...]) -> str:
    return ", ".join(kind.__name__ for kind in kinds)


def _folded(before: Step, norm: Step) -> Step:
    how, own, factors = before.affine, before.parameters, norm.parameters
    assert how is not None
    assert own is not None
    assert factors is not None

    def parameters(sample: Sample) -> tuple[Tensor, Tensor]:
        weight, bias = own(sample)
        factor, shift = factors(sample)
        assert shift is not None
        weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        return weight, shift if bias is None else shift + factor * bias

    return Step(
        before.name,
        before.layer,
        before.sources,
        lambda x, sample: how.forward(x[0], *parameters(sample)),
        how,
        parameters,
    )


def _norm_factors(module: Any, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return factor and shift of batch norm with its running statistics."""
    if module.running_mean is None:
        raise ValueError("a batch norm without running statistics depends on the batch; lrp needs track_running_stats.")
    factor = (module.running_var + module.eps).rsqrt()
    factor = factor if weight is None else factor * weight
    shift = -module.running_mean * factor
    return factor, shift if bias is None else shift + bias


def _convolution(name: str, module: nn.Conv2d) -> Convolution:
    padding = module.padding
    if padding == "valid":
        padding = (0, 0)
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = (total[0] // 2, total[1] // 2) if not any(side % 2 for side in total) else padding
    if isinstance(padding, str) or module.padding_mode != "zeros":
        raise ValueError(
            f"layer {name} is a convolution with padding {module.padding!r} of mode {module.padding_mode!r}; lrp takes "
            "zeros, the same number on both sides."
        )
    return Convolution(_pair(module.stride), _pair(padding), _pair(module.dilation), module.groups)


def _pair(value: Any) -> tuple[int, int]:
    first, second = (value, value) if isinstance(value, int) else value
    return first, second


def _share_linear(module: nn.Module) -> Callable[[list[Tensor], Tensor, Tensor], list[Tensor]]:
    """Share the relevance of averages in proportion to what each input added, as :func:`_share_sum` does for sums."""

    def backward(sources: list[Tensor], value: Tensor, relevance: Tensor) -> list[Tensor]:
        transpose = vjp(module, sources[0])[1]
        return [sources[0] * transpose(relevance / stabilised(value, TINY))[0]]

    return backward


def _to_the_winner(module: nn.Module) -> Callable[[list[Tensor], Tensor, Tensor], list[Tensor]]:
    """Give the relevance of a maximum to the input that won it."""

    def backward(sources: list[Tensor], value: Tensor, relevance: Tensor) -> list[Tensor]:
        return [vjp(module, sources[0])[1](relevance)[0]]

    return backward
