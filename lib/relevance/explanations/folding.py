"""Batch norm in evaluation mode, merged into affine layers beside it, without touching the modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from relevance.base.chunks import Sample
from relevance.explanations.affine import (
    AffineMap,
    Convolution,
    Dense,
    Layer,
    Padded,
    Scaling,
    TransposedConvolution,
    scaled_inputs,
    scaled_outputs,
)
from relevance.explanations.steps import Step, Values, affine_step
from relevance.explanations.ways.activations import SAME
from relevance.explanations.ways.way import Facts, Visit


def folded(
    steps: Mapping[str, Step], users: Mapping[str, int], n_dims: Mapping[str, int], norms: str
) -> dict[str, Step]:
    """Return the steps of a network with its batch norms merged into their neighbours.

    Args:
        steps: of the network, in order.
        users: how many nodes use the value of each step.
        n_dims: the number of dimensions of each step's value, where it is known.
        norms: as of :class:`relevance.explanations.rules.Composite`.
    """
    found = dict(steps)
    for name, step in steps.items():
        before = found.get(step.sources[0])
        if not isinstance(step.affine, Scaling) or before is None or users[before.name] != 1:
            continue
        if _fits(before, n_dims) or isinstance(before.affine, TransposedConvolution):
            found[before.name] = _after(before, step, _facts(found, before))
            found[name] = _left(step)
    if norms == "neighbour":
        for step in list(found.values()):
            if isinstance(step.affine, Scaling):
                _merge_into_next(found, users, n_dims, step)
    return found


def _fits(step: Step, n_dims: Mapping[str, int]) -> bool:
    """Return whether a step is an affine layer of channels: a dense layer has them last, a batch norm in the second place."""
    if isinstance(step.affine, Dense):
        return n_dims.get(step.name, 2) == 2
    return isinstance(step.affine, (Convolution, Padded))


def _facts(steps: Mapping[str, Step], step: Step) -> Facts:
    source = steps.get(step.sources[0])
    return Facts(nonnegative=True) if source is None else source.facts


def _left(norm: Step) -> Step:
    """Return what is left of a batch norm that was merged into the layer before it: nothing."""
    (source,) = norm.sources

    def visit(values: Values, sample: Sample) -> Visit:
        return Visit(values[source], lambda gradient: [gradient], lambda relevance: [relevance])

    return Step(norm.name, norm.layer, norm.sources, visit, way=SAME)


def _after(before: Step, norm: Step, facts: Facts) -> Step:
    """Return an affine layer with the batch norm after it in its weights."""
    own, factors, how = before.weights, norm.weights, before.affine
    assert own is not None
    assert factors is not None
    assert how is not None

    def weights(values: Values, sample: Sample) -> tuple[Tensor, Tensor]:
        weight, bias = own(values, sample)
        factor, shift = factors(values, sample)
        assert shift is not None
        return scaled_outputs(how, weight, factor), shift if bias is None else shift + factor * bias

    return affine_step(before.name, before.layer, before.sources[0], how, weights, before.kind, facts)


def _merge_into_next(steps: dict[str, Step], users: Mapping[str, int], n_dims: Mapping[str, int], norm: Step) -> None:
    """Merge a batch norm into the one affine layer after it, perhaps through activations, if there is such a one."""
    last = norm
    while True:
        following = [step for step in steps.values() if last.name in step.sources]
        if users[last.name] != 1 or len(following) != 1:
            return
        (step,) = following
        if _fits(step, n_dims):
            break
        if not (step.passes_on and (step.activation or step.way is SAME)):
            return
        last = step
    steps[step.name] = _before(step, norm)
    steps[norm.name] = replace(norm, affine=None, weights=None, way=SAME, visit=_passing_on(norm))


def _passing_on(norm: Step) -> Any:
    """Return the visit of a batch norm whose relevance is the business of the layer after it."""

    def visit(values: Values, sample: Sample) -> Visit:
        return replace(norm.visit(values, sample), back=lambda relevance: [relevance], layer=None)

    return visit


@dataclass(frozen=True)
class _WithShiftedInputs:
    """An affine map whose bias has a value for each output, since the zeros around an image are not shifted."""

    inner: AffineMap

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        outputs = self.inner.forward(inputs, weight, None)
        return outputs if bias is None else outputs + bias

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        return self.inner.transpose(outputs, weight, inputs)

    def spread(self, bias: Tensor, outputs: Tensor) -> Tensor:
        return bias


def _before(after: Step, norm: Step) -> Step:
    """Return an affine layer with the batch norm before it in its weights.

    With y = g x + s and a = f(y), W a + b = (W g) (a - s) / g + (b + W s): the layer's inputs are (a - s) / g, which is x where
    f leaves y as it is.
    """
    own, factors, how = after.weights, norm.weights, after.affine
    assert own is not None
    assert factors is not None
    assert how is not None
    merged = _WithShiftedInputs(how)
    (source,) = after.sources

    def visit(values: Values, sample: Sample) -> Visit:
        weight, bias = own(values, sample)
        factor, shift = factors(values, sample)
        assert shift is not None
        factor = torch.where(factor == 0, 1.0, factor)  # of which nothing depends on x; any other factor will do
        given = values[source]
        spread = [one.reshape(-1, *[1] * (given.ndim - 2)) for one in (factor, shift)]
        inputs = (given - spread[1]) / spread[0]
        everywhere = how.forward(spread[1].expand(1, *given.shape[1:]), weight, bias)
        value = how.forward(given, weight, bias)
        layer = Layer(merged, inputs, scaled_inputs(how, weight, factor), everywhere, value)
        return Visit(value, lambda gradient: [how.transpose(gradient, weight, given)], layer=layer)

    return replace(after, affine=merged, visit=visit)
