"""Rules of layer-wise relevance propagation: how an affine layer shares the relevance of its outputs among its inputs.

Sums over j include the bias, as an input of value 1 that keeps its share, unless a rule says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks
from relevance.explanations.affine import Layer

# Where the outputs' sum of positive contributions is zero there is nothing to share; this keeps 0 / 0 from it.
TINY = 1e-14


@runtime_checkable
class Rule(Protocol):
    """How an affine layer shares the relevance of its outputs among its inputs."""

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return R_j of the layer's inputs, given R_k of its outputs."""
        ...


def stabilised(outputs: Tensor, epsilon: float) -> Tensor:
    """Return z + epsilon s(z), pushed away from zero; s is the sign, with s(0) = +1."""
    # The smallest normal number makes the sign of zero +1. torch.where and torch.copysign are slower, and a map is made of
    # little but such passes.
    outputs = outputs + torch.finfo(outputs.dtype).tiny
    return outputs.add(outputs.sign(), alpha=epsilon)


@dataclass(frozen=True)
class Epsilon(checks.Checked):
    """R_j = sum_k a_j w_jk / (z_k + epsilon s(z_k)) R_k, with z_k including the bias.

    The bias and the stabiliser keep their share: with zero biases, the relevance is conserved as epsilon goes to 0.
    (Bach et al. 2015, Eq. 58; Carbone et al., Sec. VII-D.)

    Attributes:
        epsilon: at least 0; the paper takes 0.1. With 0, a neuron of z = 0 passes no relevance on.
    """

    epsilon: float = checks.real(0.1, at_least=0)

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        divisor = stabilised(layer.outputs, self.epsilon)
        if self.epsilon == 0:
            # z = 0 leaves 0 / 0; an infinite divisor makes it 0, also in derivatives.
            divisor = layer.outputs.where(layer.outputs != 0, torch.inf)
        return layer.inputs * layer.transpose(relevance / divisor, layer.weight)


@dataclass(frozen=True)
class Gamma(checks.Checked):
    """The epsilon rule, unstabilised, with w + gamma max(0, w) in place of every weight and bias.

    It is the published rule (Montavon et al. 2019, Sec. 10.2.3; Carbone et al., Sec. VII-D), which is made for inputs of at
    least 0, as ReLU gives them. Where inputs have both signs, as after GELU or layer norm, its denominators may vanish, and
    the shares of one output have no bound: :class:`GeneralisedGamma` is for those.

    Attributes:
        gamma: at least 0; the paper takes 0.1.
    """

    gamma: float = checks.real(0.1, at_least=0)

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        # A common factor cancels, so w + gamma max(0, w) is a leaky ReLU of w: one pass over the weights.
        factor = 1 / (1 + self.gamma)
        weight = functional.leaky_relu(layer.weight, factor)
        bias = None if layer.bias is None else functional.leaky_relu(layer.bias, factor)
        outputs = layer.forward(layer.inputs, weight, bias)
        return layer.inputs * layer.transpose(relevance / stabilised(outputs, TINY * factor), weight)


@dataclass(frozen=True)
class GeneralisedGamma(checks.Checked):
    """Contributions of the sign of their sum z_k count 1 + gamma times, whatever the signs of activations and weights.

    With c_jk = a_j w_jk: R_j = sum_k (c_jk + gamma c_jk+) / sum_j (c_jk + gamma c_jk+) R_k where z_k is at least 0, and the same
    with c_jk- where it is below; the bias is an input of value 1. The sizes of the shares of one output add up to at most
    1 + 2 / gamma. On inputs of at least 0 and positive z it is :class:`Gamma`, the rule of the paper. (Andeol et al. 2021,
    arXiv:2106.04923, and zennit, whose gamma rule this is.)

    Attributes:
        gamma: at least 0.
    """

    gamma: float = checks.real(0.25, at_least=0)

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        if self.gamma == 0:
            return layer.inputs * layer.transpose(relevance / stabilised(layer.outputs, TINY), layer.weight)
        outputs = stabilised(layer.outputs, TINY)
        up = outputs > 0
        # Contributions of the sum's own sign add up to half of its size and of the sum of all sizes, one pass over the layer.
        sizes = layer.forward(layer.inputs.abs(), layer.weight.abs(), None if layer.bias is None else layer.bias.abs())
        per_output = relevance / (outputs + self.gamma * outputs.sign() * (outputs.abs() + sizes) / 2)
        shared = layer.inputs * layer.transpose(per_output, layer.weight)
        for positive in (True, False):
            of_sign = self.gamma * per_output * (up if positive else ~up)
            shared = shared + _contributions_of_sign(layer, of_sign, positive=positive)
        return shared


@dataclass(frozen=True)
class AlphaBeta(checks.Checked):
    """Positive and negative contributions a_j w_jk apart, weighed by alpha and beta, with alpha - beta = 1.

    R_j = sum_k (alpha (a_j w_jk)+ / sum_j (a_j w_jk)+ - beta (a_j w_jk)- / sum_j (a_j w_jk)-) R_k. The signs are those
    of the contributions: negative activations, which leaky ReLU gives, count with negative weights as positive.
    (Bach et al. 2015, Eq. 60; Carbone et al., Sec. VII-D.)

    Attributes:
        alpha: at least 1; the paper takes 1.
        beta: alpha - 1; the paper takes 0.
    """

    alpha: float = checks.real(1.0, at_least=1)
    beta: float = checks.real(0.0, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if abs(self.alpha - self.beta - 1) > 1e-9:
            raise ValueError(f"alpha is {self.alpha} and beta is {self.beta}; alpha - beta must be 1.")

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        shared = self.alpha * _share_of_sign(layer, relevance, positive=True)
        return shared - self.beta * _share_of_sign(layer, relevance, positive=False) if self.beta else shared


@dataclass(frozen=True)
class ZPlus:
    """Positive contributions alone, and no bias: R_j = sum_k (a_j w_jk)+ / sum_j (a_j w_jk)+ R_k.

    It is :class:`AlphaBeta` with 1 and 0, but the bias keeps nothing. (Montavon et al. 2017, Sec. 4.2.)
    """

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        return _share_of_sign(layer, relevance, positive=True, with_bias=False)


def _share_of_sign(layer: Layer, relevance: Tensor, *, positive: bool, with_bias: bool = True) -> Tensor:
    """Share relevance in proportion to the contributions of one sign."""
    bias = layer.bias if with_bias else None
    if layer.nonnegative:
        of_sign = {"min": 0} if positive else {"max": 0}
        weight = layer.weight.clamp(**of_sign)
        outputs = layer.forward(layer.inputs, weight, None if bias is None else bias.clamp(**of_sign))
        return layer.inputs * layer.transpose(relevance / (outputs + (TINY if positive else -TINY)), weight)
    return _contributions_of_sign(layer, relevance / _sum_of_sign(layer, bias, positive=positive), positive=positive)


def _contributions_of_sign(layer: Layer, per_output: Tensor, *, positive: bool) -> Tensor:
    """Return sum_k (a_j w_jk)+ s_k, or that of the negative contributions, of s_k = ``per_output``."""
    of_sign, of_other = ({"min": 0}, {"max": 0}) if positive else ({"max": 0}, {"min": 0})
    weight = layer.weight.clamp(**of_sign)
    if layer.nonnegative:
        return layer.inputs * layer.transpose(per_output, weight)
    # A contribution has the sign asked for where a positive input meets such a weight, or a negative one the other.
    shared = layer.inputs.clamp(min=0) * layer.transpose(per_output, weight)
    return torch.addcmul(shared, layer.inputs.clamp(max=0), layer.transpose(per_output, layer.weight.clamp(**of_other)))


def _sum_of_sign(layer: Layer, bias: Tensor | None, *, positive: bool) -> Tensor:
    """Return the sum of each output's contributions of one sign, off zero, where inputs have both signs.

    With z the sum of all contributions and m that of their sizes, it is (z + m) / 2 or (z - m) / 2: one pass over the
    layer, not two. Where hardly anything has the sign, the difference is lost in rounding; as much is left as keeps the
    shares below 1.
    """
    outputs = layer.outputs
    if bias is None and layer.bias is not None:
        outputs = outputs - layer.map.spread(layer.bias, outputs)
    sizes = layer.forward(layer.inputs.abs(), layer.weight.abs(), None if bias is None else bias.abs())
    least = 32 * torch.finfo(sizes.dtype).eps * sizes
    if positive:
        return torch.maximum(outputs + sizes, least) / 2 + TINY
    return torch.minimum(outputs - sizes, -least) / 2 - TINY


@dataclass(frozen=True)
class ZBox:
    """For a layer of pixels, whose values are bounded: contributions relative to the corners of the box.

    R_j = sum_k (a_j w_jk - l w_jk+ - h w_jk-) / sum_j (...) R_k, without the bias. (Montavon et al. 2017, Sec. 4.3.)

    Attributes:
        low, high: bounds of the pixels as the layer gets them: images here lie in [0, 1], but a network that normalises
            them first has other bounds.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if checks.number("low", self.low) >= checks.number("high", self.high):
            raise ValueError(f"low is {self.low} and high is {self.high}; low must be below high.")

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        # (a - l) w+ + (a - h) w-, no part of which is negative: summed apart, a pixel at its bound would leave rounding.
        parts = [
            (layer.inputs - self.low, layer.weight.clamp(min=0)),
            (layer.inputs - self.high, layer.weight.clamp(max=0)),
        ]
        outputs = layer.forward(*parts[0]) + layer.forward(*parts[1])
        per_output = relevance / (outputs + TINY)
        shares = [inputs * layer.transpose(per_output, weight) for inputs, weight in parts]
        return shares[0] + shares[1]


@dataclass(frozen=True)
class WSquare:
    """Shares by squared weights, whatever the activations: R_j = sum_k w_jk^2 / sum_j w_jk^2 R_k.

    (Montavon et al. 2017, Sec. 4.1.)
    """

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        return _share_blindly(layer, relevance, layer.weight**2)


@dataclass(frozen=True)
class Flat:
    """Equal shares to all inputs of a neuron: the squared-weight rule with all weights equal."""

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        return _share_blindly(layer, relevance, torch.ones_like(layer.weight))


def _share_blindly(layer: Layer, relevance: Tensor, weight: Tensor) -> Tensor:
    """Share relevance by weights alone; where an image is padded, the padding has no share."""
    outputs = layer.forward(torch.ones_like(layer.inputs), weight)
    return layer.transpose(relevance / stabilised(outputs, TINY), weight)


def as_rule(name: str, value: Any) -> Rule:
    """Return ``value`` if it is a rule, or say what a rule may be."""
    if not isinstance(value, Rule) or isinstance(value, type):
        raise ValueError(
            f"{name} is {checks.shown(value)}; it may be a rule of relevance.explanations, such as Epsilon(0.1)."
        )
    return value


# How relevance comes back through a product of two values that both depend on the image, and
PRODUCTS = ("half", "signal")
# through attention, and
ATTENTIONS = ("shared", "constant")
# where batch norm goes, which in evaluation mode is a factor and a shift for each channel.
NORMS = ("before", "neighbour")


@dataclass(frozen=True)
class Choices(checks.Checked):
    """What the literature does in more than one way; the arguments of :class:`Composite` of these names say what each means."""

    products: str = checks.choice("signal", PRODUCTS)
    attention: str = checks.choice("shared", ATTENTIONS)
    norms: str = checks.choice("before", NORMS)


@dataclass(frozen=True)
class Composite:
    """A rule for each layer: the one named for it, else that of the first or the last, else that of its type, else the default.

    Attributes:
        default: for every learnable layer that nothing else is said of.
        first, last: for the layers next to the image and next to the logits.
        layers: layer name, such as ``"3"`` or ``"layer1.0.conv1"``, -> rule.
        types: class of layers, such as ``torch.nn.Conv2d``, -> rule, also of its subclasses; the first that fits. Calls of
            functions count as the layers that do the same.
        products: of two values that depend on the image: all to the ``"signal"`` and nothing to its gate, what a sigmoid, hard
            sigmoid or softmax gave, as in squeeze and excitation (Pahde et al. 2023, arXiv:2211.17174), and half each without a
            gate; or ``"half"`` of the relevance to each, always (Achtibat et al. 2024, arXiv:2402.05602, Prop. 3.2). What a gate
            gets is out of proportion to what its sigmoid was given, and grows from layer to layer: to 10^22 times the logit in
            EfficientNet-B5 with random weights.
        attention: softmax attention ``"shared"`` between values and attention weights, and on to queries and keys (Achtibat et
            al., Prop. 3.1 and 3.3), or with weights that are taken as ``"constant"``, so that values get all (Ali et al. 2022,
            arXiv:2202.07304).
        norms: batch norm is merged into the affine layer ``"before"`` it, where that has no other use, and is a layer by itself
            elsewhere; or what is left is merged into its other ``"neighbour"``, the one affine layer after it, also through
            activations, as other libraries do (Motzkus et al. 2022, arXiv:2202.06621).
    """

    default: Rule = field(default_factory=Epsilon)
    first: Rule | None = None
    last: Rule | None = None
    layers: Mapping[str, Rule] = field(default_factory=dict)
    types: Mapping[type[nn.Module], Rule] = field(default_factory=dict)
    products: str = "signal"
    attention: str = "shared"
    norms: str = "before"

    def __post_init__(self) -> None:
        as_rule("default", self.default)
        for name in ("first", "last"):
            if getattr(self, name) is not None:
                as_rule(name, getattr(self, name))
        for layer, rule in checks.kind_of("layers", self.layers, Mapping, "a mapping of layers to rules").items():
            as_rule(f"layers[{layer!r}]", rule)
        for kind, rule in checks.kind_of(
            "types", self.types, Mapping, "a mapping of classes of layers to rules"
        ).items():
            if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
                raise ValueError(
                    f"types has the key {checks.shown(kind)}; it must be a class, such as torch.nn.Conv2d."
                )
            as_rule(f"types[{kind.__name__}]", rule)
        assert self.choices  # which are checked as they are made

    @property
    def choices(self) -> Choices:
        """The choices alone, without the rules."""
        return Choices(self.products, self.attention, self.norms)

    def rules(self, layers: Sequence[tuple[str, type[nn.Module]]]) -> dict[str, Rule]:
        """Return the rule of each of the affine layers, (name, class) in the order of the forward pass.

        Raises:
            ValueError: a layer that is named does not exist.
        """
        named = {str(name): rule for name, rule in self.layers.items()}
        for name in named:
            checks.one_of("layer", name, [known for known, _ in layers])
        chosen = {name: self._of_type(kind) for name, kind in layers}
        if self.last is not None:
            chosen[layers[-1][0]] = self.last
        if self.first is not None:
            chosen[layers[0][0]] = self.first
        return chosen | named

    def _of_type(self, kind: type[nn.Module]) -> Rule:
        return next((rule for known, rule in self.types.items() if issubclass(kind, known)), self.default)
