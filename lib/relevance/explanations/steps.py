"""Steps of a network: how each kind of module is gone forwards, and how relevance comes back through it."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.nn import functional
from torch.nn.utils import parametrize

from relevance.base import checks
from relevance.base.chunks import Sample
from relevance.explanations.affine import AffineMap, Dense, Layer, Scaling, convolution_of, norm_factors
from relevance.explanations.rules import TINY, stabilised
from relevance.networks.architectures import Normalise

Function = Callable[[Tensor], Tensor]
# A step as a function of its inputs, the inputs, the outputs and their relevance -> relevance of the inputs.
Backward = Callable[[Function, Tensor, Tensor, Tensor], Tensor]


def pass_on(function: Function, inputs: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
    """Return the relevance as it came: the way back through an activation that acts on each neuron by itself.

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


def _reshaped_back(function: Function, inputs: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
    return relevance.reshape(inputs.shape)


@dataclass(frozen=True)
class Visit:
    """What one step did in a forward pass.

    Attributes:
        value: what it gave.
        back: relevance of the value -> relevance of each source; None for affine layers, whose rule decides.
        layer: what a rule needs to know, for affine layers.
        pull_back: gradient with respect to the value -> gradient with respect to each source.
    """

    value: Tensor
    pull_back: Callable[[Tensor], list[Tensor]]
    back: Callable[[Tensor], list[Tensor]] | None = None
    layer: Layer | None = None


@dataclass(frozen=True)
class Step:
    """One node of a network's graph.

    Attributes:
        name: of the node.
        layer: name of the module, or of the function.
        sources: nodes whose values it takes.
        visit: values of the sources and a posterior sample -> the visit.
        nonnegative: whether its value is known to be at least 0.
        passes_on: whether relevance passes through unchanged.
        activation: whether it is an activation, and not only what dropout and such leave as it is.
        affine: how the weights act, for affine layers, and
        parameters: a posterior sample -> its weight and bias.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    visit: Callable[[list[Tensor], Sample], Visit]
    nonnegative: bool = False
    passes_on: bool = False
    activation: bool = False
    affine: AffineMap | None = None
    parameters: Callable[[Sample], tuple[Tensor, Tensor | None]] | None = None


@dataclass(frozen=True)
class _Way:
    """How relevance comes back through a kind of module.

    Attributes:
        backward: as for :func:`register`.
        nonnegative: whether its values are; None if they are where its inputs are.
        activation: whether it bends, so that guided backpropagation has something to guide.
    """

    backward: Backward
    nonnegative: bool | None = None
    activation: bool = False


SAME = _Way(pass_on)
POSITIVE, EITHER = _Way(pass_on, nonnegative=True, activation=True), _Way(pass_on, nonnegative=False, activation=True)
MODULES: dict[type[nn.Module], _Way] = {
    nn.ReLU: POSITIVE,
    nn.LeakyReLU: EITHER,
    nn.Softplus: POSITIVE,
    nn.MaxPool2d: _Way(to_the_winner),
    nn.AvgPool2d: _Way(in_proportion),
    nn.AdaptiveAvgPool2d: _Way(in_proportion),
    nn.Flatten: _Way(_reshaped_back),
    nn.Dropout: SAME,
    nn.Dropout2d: SAME,
    nn.Identity: SAME,
    Normalise: _Way(pass_on, nonnegative=False),
}
FUNCTIONS: dict[Any, _Way] = {
    **dict.fromkeys((functional.relu, torch.relu, "relu", functional.softplus), POSITIVE),
    functional.leaky_relu: EITHER,
    functional.dropout: SAME,
    functional.max_pool2d: _Way(to_the_winner),
    functional.avg_pool2d: _Way(in_proportion),
    functional.adaptive_avg_pool2d: _Way(in_proportion),
    **dict.fromkeys((torch.mean, "mean"), _Way(in_proportion)),
    **dict.fromkeys((torch.flatten, torch.reshape, "flatten", "reshape", "view"), _Way(_reshaped_back)),
}
ADDITIONS = (operator.add, operator.iadd, torch.add, "add")
CONCATENATIONS = (torch.cat, torch.concat, torch.concatenate)
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
AFFINE = (nn.Linear, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)
# Functions that apply weights, and what they take, in order.
AFFINE_CALLS = (functional.linear, functional.conv2d)
AFFINE_ARGUMENTS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
# Methods that a class may write anew without computing anything else.
HARMLESS = {"__init__", "__repr__", "extra_repr", "reset_parameters"}


def register(kind: type[nn.Module], backward: Backward) -> None:
    """Tell LRP how relevance comes back through a kind of module that it does not know.

    Args:
        kind: the class of the modules; it must act on each image by itself.
        backward: (function, inputs, outputs, relevance) -> relevance of the inputs, in differentiable operations;
            ``function`` is the module with the parameters of one posterior sample. :func:`pass_on` suits activations,
            :func:`in_proportion` averages and other linear maps, :func:`to_the_winner` maxima.

    Raises:
        ValueError: ``kind`` is not a class of modules, or ``backward`` is not a function.
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ValueError(f"kind is {checks.shown(kind)}; it must be a class of modules, such as torch.nn.GELU.")
    if issubclass(kind, AFFINE):
        raise ValueError(
            f"kind is {kind.__name__}, an affine layer, which takes a rule; it must be of others: give lrp a Composite."
        )
    checks.function("backward", backward, "a function, such as relevance.explanations.pass_on")
    MODULES[kind] = _Way(backward, nonnegative=False, activation=backward is pass_on)


def is_changed(module: nn.Module) -> bool:
    """Return whether a module does something else than its class says: by hooks, a patched method or a parametrisation."""
    patched = any(callable(getattr(type(module), name, None)) for name in vars(module))
    hooked = bool(module._forward_hooks or module._forward_pre_hooks)
    return patched or hooked or parametrize.is_parametrized(module)


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """Return the known class that a module computes as: its own, or one whose methods and weights it left as they are."""
    own = type(module)
    kind = next((one for one in own.__mro__ if one in AFFINE or one in MODULES), None)
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


def known_modules() -> str:
    """Return the names of the modules that LRP has a way through, in a sentence."""
    return ", ".join(kind.__name__ for kind in (*AFFINE, *MODULES))


def module_step(node: str, name: str, module: nn.Module, sources: tuple[str, ...], *, nonnegative: bool) -> Step:
    """Return the step of a module; ``nonnegative`` says whether its inputs are known to be at least 0.

    Raises:
        ValueError: there is no way back through the module.
    """
    prefix = f"{name}." if name else ""
    title = name or type(module).__name__

    def own(sample: Sample, part: str) -> Tensor | None:
        return sample.get(prefix + part)

    kind = kind_of(module)
    if isinstance(module, (nn.Linear, nn.Conv2d)) and kind is not None:
        how = Dense() if isinstance(module, nn.Linear) else convolution_of(name, module)
        return affine_step(
            node, title, sources, how, lambda sample: (own(sample, "weight"), own(sample, "bias")), nonnegative
        )
    if kind in AFFINE:
        return affine_step(
            node,
            title,
            sources,
            Scaling(),
            lambda sample: norm_factors(module, *(own(sample, part) for part in NORM_PARTS)),
            nonnegative,
        )
    if kind is None:
        raise ValueError(
            f"layer {title} is a {type(module).__name__}, for which lrp has no rule; it may be one of: "
            f"{known_modules()}, or a module made of these; relevance.explanations.register gives it a rule."
        )
    way = MODULES[kind]
    own_names = dict(module.named_parameters())
    if getattr(module, "inplace", False) is True:
        # The step before still needs its value. A copy shares what the module holds, and nothing else.
        pure: Any = copy.copy(module)
        pure.inplace = False
        module = pure

    def visit(values: list[Tensor], sample: Sample) -> Visit:
        if isinstance(module, nn.MaxPool2d) and way.backward is to_the_winner:
            return _max_pool_visit(module, values[0])
        parameters = {part: sample[prefix + part] for part in own_names if prefix + part in sample}
        return _visit(
            (lambda x: functional_call(module, parameters, (x,))) if parameters else module, way.backward, values
        )

    return _step(node, name, sources, visit, way, nonnegative)


def function_step(
    node: str, target: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any], sources: tuple[str, ...], *,
    nonnegative: bool
) -> Step:  # fmt: skip
    """Return the step of a call of a function or method; ``arguments`` are those after the first.

    Raises:
        ValueError: there is no way back through the function.
    """
    name = str(getattr(target, "__name__", target))
    if target in ADDITIONS and len(sources) == 2 and not keywords:
        return Step(node, name, sources, _sum_visit, nonnegative)
    if target in CONCATENATIONS and set(keywords) <= {"dim"}:
        dim = keywords.get("dim", arguments[0] if arguments else 0)
        if dim == 0:
            raise ValueError(f"the network calls {name} along dimension 0, that of the images; it may be any other.")
        return Step(node, name, sources, lambda values, sample: _concatenation_visit(values, dim), nonnegative)
    if target not in FUNCTIONS or len(sources) != 1:
        raise no_rule_for(target)
    function = (lambda x: getattr(x, target)(*arguments, **keywords)) if isinstance(target, str) else (
        lambda x: target(x, *arguments, **keywords))  # fmt: skip
    way = FUNCTIONS[target]
    return _step(node, name, sources, lambda values, sample: _visit(function, way.backward, values), way, nonnegative)


def no_rule_for(target: Any, how: str = "") -> ValueError:
    """Return the error of a network that calls a function, in some way, that there is no way back through."""
    return ValueError(
        f"the network calls {getattr(target, '__name__', target)}{' ' * bool(how)}{how}, for which lrp has no rule; it may call: "
        "add (of two values), cat, linear, conv2d, relu, leaky_relu, softplus, dropout, max_pool2d, avg_pool2d, "
        "adaptive_avg_pool2d, mean, flatten, reshape, view, and modules that lrp knows."
    )


def call_of(target: Any, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> tuple[AffineMap, dict[str, Any]]:
    """Return how the weights of a call of ``linear`` or ``conv2d`` act, and its arguments by name."""
    given = dict(zip(AFFINE_ARGUMENTS, arguments, strict=False)) | dict(keywords)
    if target is functional.linear:
        return Dense(), given
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"} | given
    if settings["padding"] == "same":
        raise no_rule_for(target, "with padding 'same'")
    return convolution_of("conv2d", SimpleNamespace(**settings)), given


def affine_step(
    node: str,
    name: str,
    sources: tuple[str, ...],
    how: AffineMap,
    parameters: Callable[[Sample], Any],
    nonnegative: bool,
) -> Step:
    """Return the step of an affine layer."""

    def visit(values: list[Tensor], sample: Sample) -> Visit:
        weight, bias = parameters(sample)
        value = how.forward(values[0], weight, bias)
        layer = Layer(how, values[0], weight, bias, value, nonnegative)
        return Visit(value, lambda gradient: [layer.transpose(gradient, weight)], layer=layer)

    return Step(node, name, sources, visit, affine=how, parameters=parameters)


def _step(
    node: str, name: str, sources: tuple[str, ...], visit: Callable[[list[Tensor], Sample], Visit], way: _Way,
    nonnegative: bool
) -> Step:  # fmt: skip
    positive = nonnegative if way.nonnegative is None else way.nonnegative
    passes_on = way.backward is pass_on
    return Step(node, name, sources, visit, positive, passes_on, way.activation)


def _visit(function: Function, backward: Backward, values: list[Tensor]) -> Visit:
    inputs = values[0]
    value = function(inputs)

    def pull_back(gradient: Tensor) -> list[Tensor]:
        return list(vjp(function, inputs)[1](gradient))

    return Visit(value, pull_back, lambda relevance: [backward(function, inputs, value, relevance)])


def _sum_visit(values: list[Tensor], sample: Sample) -> Visit:
    """Share the relevance of a sum of branches in proportion to what each added: a / (a + b) of it to a.

    It is the epsilon rule for the affine map (a, b) -> a + b with a vanishing stabiliser, so it conserves.
    """
    value = values[0] + values[1]

    def back(relevance: Tensor) -> list[Tensor]:
        share = relevance / stabilised(value, TINY)
        return [source * share for source in values]

    return Visit(value, lambda gradient: [gradient, gradient], back)


def _concatenation_visit(values: list[Tensor], dim: int) -> Visit:
    """Hand each part of a concatenation its own back: neurons stay what they are, so nothing is shared."""
    sizes = [value.shape[dim] for value in values]

    def back(relevance: Tensor) -> list[Tensor]:
        return list(relevance.split(sizes, dim))

    return Visit(torch.cat(values, dim), back, back)


def _max_pool_visit(module: nn.MaxPool2d, inputs: Tensor) -> Visit:
    """Remember the winners of the forward pass: pooling is slow, and :func:`to_the_winner` would do it again."""
    value, winners = functional.max_pool2d(
        # On a CPU, pooling is several times faster where the channels of a pixel lie side by side.
        inputs.movedim(1, -1).contiguous().movedim(-1, 1),
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        module.ceil_mode,
        return_indices=True,
    )
    value, winners = value.contiguous(), winners.contiguous()

    def back(relevance: Tensor) -> list[Tensor]:
        nothing = torch.zeros_like(inputs).flatten(2)
        return [nothing.scatter_add(2, winners.flatten(2), relevance.flatten(2)).reshape(inputs.shape)]

    return Visit(value, back, back)
