"""What a map adds up to, where relevance stays on its way, and how far maps of different methods agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from relevance.base import checks
from relevance.explanations.expected import checked
from relevance.explanations.gradient import gradient_x_input
from relevance.explanations.lrp import kept_by_layer, lrp
from relevance.explanations.rules import Composite, Rule, as_rule
from relevance.metrics.overlap import lrp_robustness, unrelated_robustness
from relevance.networks.posterior import Posterior


def fidelity(posterior: Posterior, images: Tensor, target: Tensor, rules: Mapping[str, Rule]) -> pd.DataFrame:
    """Compare the maps of several rules with the logit that they distribute and with gradient times input.

    Args:
        posterior: the model.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class that is explained.
        rules: name -> rule.

    Returns:
        A row for each rule: the median over the images of the sum of the map divided by the logit, the share of images
        where this ratio is within 10 % of 1, and the mean Pearson correlation with gradient times input.
    """
    target, named = _checked(posterior, images, target, rules)
    reference = gradient_x_input(posterior, images, target).flatten(1).double()
    logits = posterior.logits(images).mean(0).gather(1, target[:, None]).squeeze(1)
    rows = {}
    for name, rule in named.items():
        maps = lrp(posterior, images, target, rule=rule).flatten(1).double()
        ratio = maps.sum(1) / logits
        pairs = torch.stack([maps, reference])
        centred = pairs - pairs.mean(-1, keepdim=True)
        correlation = (centred[0] * centred[1]).sum(-1) / centred.norm(dim=-1).prod(0)
        rows[name] = {
            "sum of map / logit": ratio.median().item(),
            "images within 10 %": ((ratio - 1).abs() < 0.1).double().mean().item(),
            "correlation with gradient x input": correlation.mean().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("stabiliser")


def _checked(
    posterior: Posterior, images: Tensor, target: Tensor, rules: Any
) -> tuple[Tensor, dict[str, Rule | Composite]]:
    """Return classes and rules by name, or say what they must be."""
    checks.some_images("images", images)
    for name, rule in checks.named("rules", rules, "rules").items():
        if not isinstance(rule, Composite):
            as_rule(f"rules[{name!r}]", rule)
    return checked(posterior, images, target), dict(rules)


def conservation(
    posterior: Posterior, images: Tensor, target: Tensor, rules: Mapping[str, Rule | Composite]
) -> pd.DataFrame:
    """Follow the relevance of all images through the network: what arrives at the pixels, and what each layer kept.

    Arguments are those of :func:`fidelity`.

    Returns:
        A row for each rule, in shares of all the relevance that was handed in: they add up to 1, except where rules that
        do not look at activations send relevance to nothing. NaN where nothing was handed in.
    """
    target, named = _checked(posterior, images, target, rules)
    # Of what is handed in, if that is nothing, there are no shares.
    handed_in = posterior.logits(images).mean(0).gather(1, target[:, None]).sum().item() or math.nan
    rows = {}
    for name, rule in named.items():
        maps = lrp(posterior, images, target, rule=rule)
        kept = kept_by_layer(posterior, images, target, rule=rule)
        rows[name] = {"arrives at the pixels": maps.sum().item() / handed_in} | {
            f"kept by layer {layer}": part.sum().item() / handed_in for layer, part in kept.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def agreement(maps: Mapping[str, Tensor], reference: str, top_percent: float) -> pd.DataFrame:
    """Compare maps of the same images with one of them, by the pixels on top.

    Args:
        maps: method -> maps [N, C, H, W].
        reference: the method that the others are compared with.
        top_percent: how many pixels are on top, in percent.

    Returns:
        A row for each other method: mean overlap of the top pixels with the reference's, the overlap of maps of
        different images, which is what unrelated maps would get, and the share of relevance that is negative.
    """
    checks.one_of("reference", reference, checks.named("maps", maps, "maps of the same images"))
    for name, found in maps.items():
        checks.maps(f"maps[{name!r}]", found, getattr(maps[reference], "shape", None))
    rows = {
        name: {
            "overlap": lrp_robustness(maps[reference], found, top_percent).mean().item(),
            "overlap of unrelated maps": unrelated_robustness(maps[reference], found, top_percent).mean().item(),
            "negative share": (found.clamp(max=0).abs().sum() / found.abs().sum()).item(),
        }
        for name, found in maps.items()
        if name != reference
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")
