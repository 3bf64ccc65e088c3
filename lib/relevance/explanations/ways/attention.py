"""Attention: softmax, products of two matrices that depend on the image, and attention of torch written out in these."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.explanations.affine import Bilinear
from relevance.explanations.rules import TINY, stabilised
from relevance.explanations.ways.way import (
    Affine,
    Back,
    Call,
    Function,
    Refused,
    Shares,
    Way,
    proportions,
    pulled,
    refused,
)


def _softmax_back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Return R_i = S_i (R_i - A_i sum_k R_k), A = softmax(S), and nothing where S is masked (Achtibat et al. 2024, Prop. 3.1)."""
    (scores,) = inputs
    dim = function.argument(1, "dim")
    share = relevance - outputs * relevance.sum(dim, keepdim=True)
    masked = scores.isinf()
    return [torch.where(masked, 0.0, torch.where(masked, 0.0, scores) * share)]


def _softmax(call: Call) -> Way | Refused:
    if call.argument(1, "dim") is None:
        return refused(call, "without a dim")
    return Way(_softmax_back, nonnegative=True, gate=True, keeps=True)


def _both(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
    """Return R_A,ji = A_ji sum_p V_ip R_jp / (2 O_jp), and likewise that of V, for O = A V (Achtibat et al. 2024, Prop. 3.3)."""
    shared = pulled(function, inputs, relevance / stabilised(2 * outputs, TINY))
    return [None if part is None else one * part for one, part in zip(inputs, shared, strict=True)]


def _values_alone(place: int) -> Back:
    """Return the way back with attention weights as constants: R_V,ip = V_ip sum_j A_ji R_jp / O_jp (Ali et al. 2022)."""

    def back(function: Function, inputs: tuple[Tensor, ...], outputs: Tensor, relevance: Tensor) -> Shares:
        def of_values(values: Tensor) -> Any:
            return function(*(values if at == place else one for at, one in enumerate(inputs)))

        (found,) = proportions(of_values, (inputs[place],), outputs, relevance)
        return [found if at == place else None for at in range(len(inputs))]

    return back


def _product(call: Call) -> Way | Affine | Refused:
    """Return the way through a product of matrices: of one that depends on the image it is an affine layer."""
    places = (1, 2) if call.target is torch.einsum else (0, 1)
    factors = [call.args[place] if len(call.args) > place else None for place in places]
    if call.target is torch.einsum and len(call.args) == 2 and isinstance(call.args[1], (tuple, list)):
        factors = list(call.args[1])
    if len(call.sources) == 2 and len(factors) == 2:
        gates = [place for place, facts in enumerate(call.facts) if facts.gate]
        if call.choices.attention == "constant" and len(gates) == 1:
            return Way(_values_alone(1 - gates[0]), reaches=(1 - gates[0],))
        return Way(_both)
    if len(call.sources) == 1 and call.target is torch.einsum and len(call.args) == 2:
        return Way(proportions, moves=True)
    if len(call.sources) != 1 or None in factors or len(factors) != 2:
        return refused(call, f"of {len(call.sources)} values that depend on the image")
    (source,) = call.sources
    place = next(at for at, one in enumerate(factors) if one is source)
    constant: Any = factors[1 - place]

    def product(inputs: Tensor, weight: Tensor) -> Tensor:
        pair = (inputs, weight) if place == 0 else (weight, inputs)
        found: Tensor = torch.einsum(call.args[0], *pair) if call.target is torch.einsum else torch.matmul(*pair)
        return found

    def parameters(sample: Any, values: Any) -> tuple[Tensor, None]:
        return values(constant), None

    return Affine(Bilinear(product), parameters, nn.Linear)


MODULES: dict[type[nn.Module], Any] = {nn.Softmax: _softmax}
FUNCTIONS: dict[Any, Any] = {
    **dict.fromkeys((functional.softmax, torch.softmax, "softmax"), _softmax),
    **dict.fromkeys(
        (operator.matmul, torch.matmul, "matmul", torch.bmm, "bmm", torch.mm, "mm", torch.einsum), _product
    ),
}


# Attention written out: torch.fx would take each of these for one call.


def scaled_dot_product(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Return softmax(Q K^T / sqrt(d)) V, as ``torch.nn.functional.scaled_dot_product_attention`` does."""
    if enable_gqa:
        raise ValueError("enable_gqa is True; lrp takes as many keys and values as queries.")
    scores = (query * (query.size(-1) ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    if is_causal:
        later = query.new_ones((query.size(-2), key.size(-2))).triu(1)
        scores = scores.masked_fill(later != 0, float("-inf"))
    weights = _masked(scores, attn_mask).softmax(-1)
    return (functional.dropout(weights, dropout_p) if dropout_p else weights) @ value


def _masked(scores: Any, mask: Any, *, where: bool = False) -> Any:
    """Return scores with a mask: truths say where to attend, or if ``where`` is True, where not to; numbers are added."""
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(mask if where else ~mask, float("-inf"))
    return scores + mask


def multihead(
    module: nn.MultiheadAttention, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
    attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    """Return what ``torch.nn.MultiheadAttention`` does for batches of sequences in evaluation mode, in few plain calls."""
    if module.bias_k is not None or module.bias_v is not None or module.add_zero_attn or key_padding_mask is not None:
        raise ValueError(
            "attention has keys and values of its own, or a mask of keys; it may have queries, keys and values alone"
        )
    same = query is key and key is value
    if not module.batch_first:
        query, key, value = (one.transpose(0, 1) for one in (query, key, value))
    weight, bias = module.in_proj_weight, module.in_proj_bias
    if weight is not None and same:
        projected: Any = functional.linear(query, weight, bias).chunk(3, -1)
    else:
        own: Any = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        parts: Any = own if weight is None else weight.chunk(3)
        biases: Any = (None, None, None) if bias is None else bias.chunk(3)
        projected = [functional.linear(one, parts[at], biases[at]) for at, one in enumerate((query, key, value))]
    q, k, v = (projected[at].unflatten(-1, (module.num_heads, module.head_dim)).transpose(1, 2) for at in range(3))
    scores = _masked((q * module.head_dim**-0.5) @ k.transpose(-2, -1), attn_mask, where=True)
    weights = scores.softmax(-1)
    outputs = module.out_proj((weights @ v).transpose(1, 2).flatten(2))
    if not module.batch_first:
        outputs = outputs.transpose(0, 1)
    if not need_weights:
        return outputs, None
    return outputs, weights.mean(1) if average_attn_weights else weights


def gated(values: Any, dim: int = -1) -> Any:
    """Return a gated linear unit, as ``torch.nn.functional.glu`` does: half of the values times the sigmoid of the other."""
    signal, gate = (values.chunk(2, dim)[at] for at in (0, 1))
    return signal * gate.sigmoid()


# Functions that are one call for torch.fx -> the same in calls that have a way back.
WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    functional.scaled_dot_product_attention: scaled_dot_product,
    functional.glu: gated,
}
