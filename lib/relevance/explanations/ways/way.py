"""What a way back is: of a call of a module or function in a network, and of one forward pass through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.func import functional_call, vjp

from relevance.base.chunks import Sample
from relevance.explanations.affine import AffineMap, Layer
from relevance.explanations.rules import TINY, Choices, stabilised

Function = Any  # Callable[..., Tensor], and for the library's own ways an Applied, below
# A step as a function of its inputs, the inputs, the outputs and their relevance -> relevance of the inputs.
Backward = Callable[[Function, Any, Tensor, Tensor], Any]
# The same for any number of inputs; None where nothing goes to an input.
Shares = Sequence[Tensor | None]
Back = Callable[[Function, tuple[Tensor, ...], Tensor, Tensor], Shares]
# A posterior sample, and a node or a constant -> its value, of what depends on no image, -> weight and bias.
Parameters = Callable[[Sample, Callable[[Any], Any]], tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Facts:
    """What is known of a value in a network before there is any image.

    Attributes:
        nonnegative: whether it is at least 0, whatever the image.
        gate: whether it lies between 0 and 1 and says how much of another value counts.
        divisor: whether it is one over a size, by which another value is normalised.
        pixelwise: whether it is what each pixel is by itself, in some other units.
    """

    nonnegative: bool = False
    gate: bool = False
    divisor: bool = False
    pixelwise: bool = False


@dataclass(frozen=True)
class Call:
    """A call of a module or function in a network.

    Attributes:
        target: the module, the function, or the name of the method.
        name: the place of a module in the network.
        args, keywords: what it is called with; nodes of the graph stand for values.
        sources: the nodes among these whose values depend on the image, in order.
        facts: of the value of each source.
        choices: what the literature does in more than one way.
    """

    target: Any
    name: str
    args: tuple[Any, ...]
    keywords: Mapping[str, Any]
    sources: tuple[fx.Node, ...]
    facts: tuple[Facts, ...]
    choices: Choices

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by its place or by its name; that of a module is an attribute of it."""
        if isinstance(self.target, nn.Module):
            return getattr(self.target, name, default)
        return self.args[place] if len(self.args) > place else self.keywords.get(name, default)


class Applied:
    """What a call computes in one forward pass, as a function of the values that depend on the image.

    Attributes:
        target: the module, the function, or the name of the method.
        bound: values of the sources -> arguments and keywords.
        own: of a module, the parameters of one posterior sample by their names in it.
    """

    def __init__(
        self, target: Any, bound: Callable[..., tuple[tuple[Any, ...], dict[str, Any]]], own: dict[str, Tensor]
    ) -> None:
        self.target, self.bound, self.own = target, bound, own

    def __call__(self, *values: Tensor) -> Any:
        """Return what the call gives for other values of its sources."""
        args, keywords = self.bound(*values)
        if isinstance(self.target, nn.Module):
            return (
                functional_call(self.target, self.own, args, keywords) if self.own else self.target(*args, **keywords)
            )
        if isinstance(self.target, str):
            return getattr(args[0], self.target)(*args[1:], **keywords)
        return self.target(*args, **keywords)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument that is no source, by its place or by its name; that of a module is an attribute of it."""
        if isinstance(self.target, nn.Module):
            return self.own[name] if name in self.own else getattr(self.target, name, default)
        args, keywords = self.bound()
        return args[place] if len(args) > place else keywords.get(name, default)


@dataclass(frozen=True)
class Way:
    """How relevance comes back through a call.

    Attributes:
        back: (function, inputs, outputs, relevance) -> relevance of each input.
        nonnegative: whether the value is at least 0; None if it is where the inputs are.
        gate, divisor: as in :class:`Facts`; None if the value is one where the input is.
        pixelwise: whether a value of pixels stays one.
        activation: whether it bends, so that guided backpropagation has something to guide.
        passes_on: whether relevance passes through unchanged.
        keeps: whether it may keep relevance to itself, which is then reported.
        moves: whether it may put the values of one image elsewhere than in one row.
        reaches: the places of the inputs that may get relevance; None if all may.
        visit: (function, input) -> value, and relevance -> its share, where what the one finds spares the other its work.
    """

    back: Back
    nonnegative: bool | None = None
    gate: bool | None = False
    divisor: bool | None = False
    pixelwise: bool = False
    activation: bool = False
    passes_on: bool = False
    keeps: bool = False
    moves: bool = False
    reaches: tuple[int, ...] | None = None
    visit: Callable[[Any, Tensor], tuple[Tensor, Callable[[Tensor], Shares]]] | None = None


@dataclass(frozen=True)
class Affine:
    """The way through a call that applies weights: a rule decides.

    Attributes:
        map: how the weights act.
        parameters: gives weight and bias.
        kind: the class of layers that a rule may be given by.
    """

    map: AffineMap
    parameters: Parameters
    kind: type[nn.Module]


@dataclass(frozen=True)
class Refused:
    """The lack of a way through a call.

    Attributes:
        why: the sentence that says so, if relevance arrives there.
    """

    why: str


# A call -> its way.
Plan = Callable[[Call], Way | Affine | Refused]


@dataclass(frozen=True)
class Visit:
    """What one step did in a forward pass.

    Attributes:
        value: what it gave.
        pull_back: gradient with respect to the value -> gradient with respect to each source.
        back: relevance of the value -> relevance of each source; None for affine layers, whose rule decides.
        layer: what a rule needs to know, for affine layers.
    """

    value: Tensor
    pull_back: Callable[[Tensor], Shares]
    back: Callable[[Tensor], Shares] | None = None
    layer: Layer | None = None


def pass_on(function: Function, inputs: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
    """Return the relevance as it came: the way back through an activation that acts on each neuron by itself.

    (Achtibat et al. 2024, arXiv:2402.05602, Eq. 9.)

    Args:
        function: what the step computes, from its inputs to its outputs.
        inputs, outputs: of the step.
        relevance: of the outputs, in their shape.
    """
    return relevance


def in_proportion(function: Function, inputs: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
    """Share relevance in proportion to what each input added to a linear map without weights, such as an average.

    Arguments are those of :func:`pass_on`.
    """
    return inputs * to_the_winner(function, inputs, outputs, relevance / stabilised(outputs, TINY))


def to_the_winner(function: Function, inputs: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
    """Give the relevance to the input that alone decided, as the slope of a maximum does.

    Arguments are those of :func:`pass_on`.
    """
    (shared,) = vjp(function, inputs)[1](relevance)
    return shared


def pulled(function: Function, inputs: tuple[Tensor, ...], gradient: Tensor) -> Shares:
    """Return the gradient with respect to each input, None for those that are no real numbers, such as masks."""
    real = [place for place, one in enumerate(inputs) if one.is_floating_point()]

    def of_real(*given: Tensor) -> Tensor:
        every = list(inputs)
        for place, one in zip(real, given, strict=True):
            every[place] = one
        return function(*every)

    if not gradient.is_floating_point():
        return [None] * len(inputs)
    found = iter(vjp(of_real, *(inputs[place] for place in real))[1](gradient))
    return [next(found) if place in real else None for place in range(len(inputs))]


def slopes(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Return relevance along the slopes: the way back through indices, copies, choices and maxima, of any number of inputs."""
    return pulled(function, inputs, relevance)


def proportions(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Share relevance in proportion to what each input added to a map that is linear in all of them together.

    It is the epsilon rule for that map with a vanishing stabiliser, so it conserves; constants of the map keep their part.
    """
    shared = pulled(function, inputs, relevance / stabilised(outputs, TINY))
    return [None if part is None else one * part for one, part in zip(inputs, shared, strict=True)]


def unchanged(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Return the relevance as it came, summed where one value was spread over several."""
    return [gathered(relevance, inputs[0])]


def gathered(relevance: Tensor, like: Tensor) -> Tensor:
    """Return relevance summed to the shape of a value that was spread to its shape."""
    return relevance if relevance.shape == like.shape else relevance.sum_to_size(like.shape)


def nothing(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Return that nothing goes to any input: the way back through what decides and is none of what is decided on."""
    return [None] * len(inputs)


def by(backward: Backward) -> Back:
    """Return a way back as the graph takes it, from one as readers write it: of one input, or of a tuple of several."""

    def back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
        if len(inputs) == 1:
            return [backward(function, inputs[0], outputs, relevance)]
        return list(backward(function, inputs, outputs, relevance))

    return back


def with_constants(call: Call, ways: Mapping[int, Plan]) -> Way | Affine | Refused:
    """Return the way of a call by how many of its inputs depend on the image."""
    plan = ways.get(len(call.sources))
    return plan(call) if plan else refused(call, f"of {len(call.sources)} values")


def refused(call: Call, how: str = "") -> Refused:
    """Return the refusal of a call, with the sentence that says so."""
    return Refused(no_rule_for(call.target, how) if not isinstance(call.target, nn.Module) else no_rule_through(call))


def no_rule_for(target: Any, how: str = "") -> str:
    """Return the sentence for a network that calls a function, in some way, that there is no way back through."""
    return (
        f"the network calls {getattr(target, '__name__', target)}{' ' * bool(how)}{how}, for which lrp has no rule; "
        "relevance.explanations.register gives a function one."
    )


def no_rule_through(call: Call) -> str:
    """Return the sentence for a network that has a module that there is no way back through."""
    kind = type(call.target).__name__
    return f"layer {call.name or kind} is a {kind}, for which lrp has no rule; relevance.explanations.register gives it one."
