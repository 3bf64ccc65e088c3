"""Maps of layers and their scores, in the form in which the store keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Rule
from relevance.metrics.overlap import lrp_robustness, unrelated_robustness
from relevance.networks.posterior import Posterior


def layer_maps(
    posterior: Posterior, images: Tensor, target: Tensor, rule: Rule, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return R(x, w, l), in expectation over the posterior, for several layers l: name -> [N, C, H, W]."""
    return {layer: lrp(posterior, images, target, rule=rule, layer=layer) for layer in layers}


def layer_pairs(
    posterior: Posterior, image: Tensor, attacked: Tensor, target: Tensor, rule: Rule, layers: Sequence[str]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return :func:`layer_maps` of one image before and after an attack: layer -> maps [C, H, W].

    Args:
        posterior: the model.
        image, attacked: [C, H, W] in [0, 1].
        target: the class that is explained, a number.
        rule: of layer-wise relevance propagation.
        layers: names of affine layers.
    """
    before, after = (layer_maps(posterior, one[None], target[None], rule, layers) for one in (image, attacked))
    return {layer: (before[layer][0], after[layer][0]) for layer in layers}


def scored(
    clean: Mapping[str, Tensor],
    posterior: Posterior,
    images: Tensor,
    attacked: Tensor,
    target: Tensor,
    rule: Rule,
    top_percent: float,
) -> pd.DataFrame:
    """Return the scores of each layer and image, clean maps against attacked ones: a row for each."""
    parts = []
    for layer, before in clean.items():
        after = layer_maps(posterior, attacked, target, rule, [layer])[layer]
        columns = {
            "lrp_robustness": lrp_robustness(before, after, top_percent),
            "unrelated_lrp_robustness": unrelated_robustness(before, after, top_percent),
            "ceiling_lrp_robustness": lrp_robustness(before, before, top_percent),
        }
        rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        parts.append(rows.assign(layer=layer, image=np.arange(len(images))))
    return pd.concat(parts, ignore_index=True)
