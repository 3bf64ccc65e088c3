"""Sums, products and quotients: a sum shares in proportion, a product half each, a quotient gives all to what is divided.

What does not depend on the image, such as a bias, a position code or a layer scale, is a constant: as a term it keeps its own
part, as a factor nothing.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from relevance.explanations.rules import TINY, stabilised
from relevance.explanations.ways.way import (
    Affine,
    Back,
    Call,
    Function,
    Plan,
    Refused,
    Shares,
    Way,
    gathered,
    nothing,
    proportions,
    refused,
    slopes,
    unchanged,
    with_constants,
)


def _sum_back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Share the relevance of a sum of branches in proportion to what each added: a / (a + b) of it to a.

    It is the epsilon rule for the affine map (a, b) -> a + b with a vanishing stabiliser, so it conserves.
    """
    share = relevance / stabilised(outputs, TINY)
    return [gathered(one * share, one) for one in inputs]


def _halves(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Give each factor half, summed where one value was spread over several (Achtibat et al. 2024, Prop. 3.2)."""
    return [gathered(relevance / len(inputs), one) for one in inputs]


def to_one(place: int) -> Back:
    """Return the way back that gives everything to the input at one place."""

    def back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
        return [gathered(relevance, one) if at == place else None for at, one in enumerate(inputs)]

    return back


def signal_of(call: Call) -> int | None:
    """Return the place of the one factor that is no gate and no divisor, if the relevance of a product is all for it."""
    for place, other in ((0, 1), (1, 0)):
        beside, own = call.facts[other], call.facts[place]
        if beside.divisor and not own.divisor:
            return place
        if call.choices.products == "signal" and beside.gate and not own.gate:
            return place
    return None


# A value of pixels with a constant added or as a factor is normalised, as torchvision.transforms.Normalize does it.
SCALED = Way(unchanged, nonnegative=False, divisor=None, pixelwise=True, passes_on=True)


def _shifted(call: Call) -> Way:
    """Return the way through a value and a constant that is added: pixels are only normalised, other values share with it."""
    if call.facts[0].pixelwise or _is_zero(call):
        return SCALED
    return Way(proportions, nonnegative=False, keeps=True)


def _is_zero(call: Call) -> bool:
    """Return whether the constant that is added is no more than the 0 that Python's sum starts with."""
    return any(isinstance(one, (int, float)) and one == 0 for one in call.args)


def _added(call: Call) -> Way:
    scaled = bool(call.keywords) or len(call.args) > 2  # such as alpha
    return Way(proportions, nonnegative=False) if scaled else Way(_sum_back)


def _subtracted(call: Call) -> Way:
    return Way(proportions, nonnegative=False)


def _multiplied(call: Call) -> Way:
    if (place := signal_of(call)) is not None:
        return Way(to_one(place), reaches=(place,))
    return Way(_halves)


def _divided(call: Call) -> Way:
    """Return the way through a quotient: all for what is divided, as for normalisation (Achtibat et al. 2024, Prop. 3.4)."""
    return Way(to_one(0), nonnegative=False, reaches=(0,))


def _by_constant(call: Call) -> Way:
    """Return the way through a quotient of which one part is constant: of the divisor, it bends."""
    first = call.argument(0, "input")
    if first is not None and first is call.sources[0]:
        return SCALED
    return Way(unchanged, nonnegative=False, divisor=True, activation=True, passes_on=True)


def of_two(one: Plan, two: Plan) -> Plan:
    """Return the way of a call by whether one of its inputs depends on the image, or two do."""

    def plan(call: Call) -> Way | Affine | Refused:
        return with_constants(call, {1: one, 2: two})

    return plan


def _power(call: Call) -> Way | Refused:
    """Return the way through a power: of a constant exponent an activation, one over a size if that is below 0."""
    exponent = call.argument(1, "exponent")
    if len(call.sources) > 1 or exponent is call.sources[0]:
        return refused(call, "with an exponent that depends on the image")
    negative = isinstance(exponent, (int, float)) and exponent < 0
    return Way(unchanged, nonnegative=False, divisor=negative, activation=True, passes_on=True)


def _chosen(call: Call) -> Way:
    """Return the way through where and masked_fill: along the slopes; what decides gets nothing, and constants keep theirs."""
    return Way(slopes, nonnegative=False, gate=None, keeps=True)


COMPARISONS = Way(nothing, nonnegative=True, reaches=())
FUNCTIONS: dict[Any, Any] = {
    **dict.fromkeys((operator.add, torch.add, "add"), of_two(_shifted, _added)),
    **dict.fromkeys((operator.sub, torch.sub, "sub", torch.subtract, "subtract", torch.rsub), of_two(_shifted, _subtracted)),
    **dict.fromkeys((operator.mul, torch.mul, "mul", torch.multiply, "multiply"), of_two(lambda call: SCALED, _multiplied)),
    **dict.fromkeys((operator.truediv, torch.div, "div", torch.divide, "divide", torch.true_divide),
                    of_two(_by_constant, _divided)),
    **dict.fromkeys((operator.pow, torch.pow, "pow"), _power),
    **dict.fromkeys((torch.where, "where", torch.masked_fill, "masked_fill"), _chosen),
    **dict.fromkeys((operator.gt, operator.lt, operator.ge, operator.le, operator.eq, operator.ne, torch.gt, torch.lt, torch.ge,
                     torch.le, torch.eq, torch.ne, "gt", "lt", "ge", "le", "eq", "ne", torch.isinf, torch.isnan,
                     operator.invert, operator.and_, operator.or_, torch.argmax, "argmax", torch.argsort,
                     "argsort"), COMPARISONS),
    functional.threshold: lambda call: Way(unchanged, nonnegative=False, activation=True, passes_on=True),
}  # fmt: skip
