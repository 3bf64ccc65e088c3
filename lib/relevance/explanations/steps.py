"""Steps of a network: how each node of its graph is gone forwards, with the way back that the tables have for it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from relevance.base.chunks import Sample
from relevance.explanations.affine import AffineMap, Layer
from relevance.explanations.ways.way import Affine, Applied, Call, Facts, Refused, Shares, Visit, Way, pulled

# The values of nodes by their names, as far as a forward pass has come.
Values = Mapping[str, Any]
# Values and a posterior sample -> weight and bias of an affine layer.
Weights = Callable[[Values, Sample], tuple[Tensor, Tensor | None]]
NOTHING_KNOWN = Facts()


@dataclass(frozen=True)
class Step:
    """One node of a network's graph whose value depends on the image.

    Attributes:
        name: of the node.
        layer: name of the module, or of the call.
        sources: nodes whose values it takes.
        visit: values and a posterior sample -> the visit.
        facts: what is known of its value before there is any image.
        way: how relevance comes back, or why it does not; None for affine layers, of which
        affine: is how the weights act,
        weights: what these are, and
        kind: the class of layers that it counts as.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    visit: Callable[[Values, Sample], Visit]
    facts: Facts = NOTHING_KNOWN
    way: Way | Refused | None = None
    affine: AffineMap | None = None
    weights: Weights | None = None
    kind: type[nn.Module] = nn.Module

    @property
    def passes_on(self) -> bool:
        """Whether relevance passes through unchanged."""
        return isinstance(self.way, Way) and self.way.passes_on

    @property
    def activation(self) -> bool:
        """Whether it is an activation, and not only what dropout and such leave as it is."""
        return isinstance(self.way, Way) and self.way.activation

    @property
    def keeps(self) -> bool:
        """Whether it may keep relevance to itself."""
        return self.affine is not None or (isinstance(self.way, Way) and self.way.keeps)

    @property
    def reached(self) -> list[str]:
        """The sources to which relevance may go."""
        if isinstance(self.way, Refused):
            return []
        places = self.way.reaches if self.way is not None else None
        return [source for place, source in enumerate(self.sources) if places is None or place in places]


def step_of(node: str, layer: str, call: Call, way: Way | Affine | Refused) -> Step:
    """Return the step of a call, which has this way back."""
    if isinstance(way, Affine):
        parameters = way.parameters

        def weights(values: Values, sample: Sample) -> tuple[Tensor, Tensor | None]:
            return parameters(sample, lambda one: values[one.name] if isinstance(one, fx.Node) else one)

        (source,) = (one.name for one in call.sources)
        return affine_step(node, layer, source, way.map, weights, way.kind, call.facts[0])
    sources = tuple(one.name for one in call.sources)
    return Step(node, layer, sources, _visit_of(call, way), _facts_of(call, way), way)


def affine_step(
    node: str, layer: str, source: str, how: AffineMap, weights: Weights, kind: type[nn.Module], facts: Facts
) -> Step:
    """Return the step of an affine layer; ``facts`` are of its inputs."""

    def visit(values: Values, sample: Sample) -> Visit:
        weight, bias = weights(values, sample)
        inputs = values[source]
        value = how.forward(inputs, weight, bias)
        layer = Layer(how, inputs, weight, bias, value, facts.nonnegative)
        return Visit(value, lambda gradient: [layer.transpose(gradient, weight)], layer=layer)

    return Step(node, layer, (source,), visit, affine=how, weights=weights, kind=kind)


def _facts_of(call: Call, way: Way | Refused) -> Facts:
    """Return what is known of the value of a call."""
    if isinstance(way, Refused):
        return Facts()

    def inherited(given: bool | None, name: str) -> bool:
        return all(getattr(facts, name) for facts in call.facts) if given is None else given

    return Facts(
        inherited(way.nonnegative, "nonnegative"),
        inherited(way.gate, "gate"),
        inherited(way.divisor, "divisor"),
        way.pixelwise and inherited(None, "pixelwise"),
    )


def _visit_of(call: Call, way: Way | Refused) -> Callable[[Values, Sample], Visit]:
    """Return the visit of what is no affine layer."""
    bind, own_of, target = _binding(call), _own_values(call), _without_inplace(call.target)
    names = [one.name for one in call.sources]

    def visit(values: Values, sample: Sample) -> Visit:
        inputs = tuple(values[name] for name in names)
        function = Applied(target, bind(values), own_of(sample))
        if isinstance(way, Way) and way.visit is not None:
            value, shares = way.visit(function, *inputs)
            return Visit(value, shares, shares)
        value = function(*inputs)

        def back(relevance: Tensor) -> Shares:
            if isinstance(way, Refused):
                raise ValueError(way.why)
            return way.back(function, inputs, value, relevance)

        return Visit(value, lambda gradient: pulled(function, inputs, gradient), back)

    return visit


def _binding(call: Call) -> Callable[[Values], Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]]:
    """Return values of nodes -> values of the sources -> arguments and keywords."""
    moving = set(call.sources)
    first, *rest = call.args or (None,)
    others: list[fx.Node] = []
    fx.node.map_arg((rest, call.keywords), others.append)
    if first in moving and not others:  # as nearly always
        fixed, keywords = tuple(rest), dict(call.keywords)
        return lambda values: lambda value=None: ((value, *fixed), keywords)

    def bind(values: Values) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
        def bound(*sources: Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
            given = iter(sources)

            def value(node: fx.Node) -> Any:
                return next(given, None) if node in moving else values[node.name]

            args, keywords = fx.node.map_arg((call.args, dict(call.keywords)), value)
            return args, keywords

        return bound

    return bind


def _own_values(call: Call) -> Callable[[Sample], dict[str, Tensor]]:
    """Return a posterior sample -> what of it belongs to the module that is called, by its names in it."""
    if not isinstance(call.target, nn.Module):
        return lambda sample: {}
    prefix = f"{call.name}." if call.name else ""
    parts = [name for name, _ in (*call.target.named_parameters(), *call.target.named_buffers())]
    return lambda sample: {part: sample[prefix + part] for part in parts if prefix + part in sample}


def _without_inplace(target: Any) -> Any:
    """Return a module that leaves its inputs as they are: the step before still needs its value."""
    if not isinstance(target, nn.Module) or getattr(target, "inplace", False) is not True:
        return target
    # A copy shares what the module holds, and nothing else.
    pure: Any = copy.copy(target)
    pure.inplace = False
    return pure
