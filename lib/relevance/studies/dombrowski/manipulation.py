"""Manipulated explanations: images that look the same, are classified the same, and are explained by another image's map.

After Dombrowski et al. 2019 (arXiv:1906.07983), for single networks and for posteriors alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.manipulation import Manipulation, manipulated, noised, shares
from relevance.base import balls, checks
from relevance.explanations.expected import Explain
from relevance.explanations.gradient import gradient, gradient_x_input, integrated_gradients
from relevance.explanations.guided import guided_backprop
from relevance.explanations.lrp import lrp
from relevance.explanations.pattern import fit_patterns, pattern_attribution
from relevance.metrics.overlap import lrp_robustness
from relevance.metrics.similarity import linear_similarity, rank_similarity, structural_similarity
from relevance.networks.posterior import Posterior
from relevance.studies.store import kept

METHODS = (
    "gradient",
    "gradient x input",
    "integrated gradients",
    "guided backpropagation",
    "LRP",
    "pattern attribution",
)
SIMILARITIES = ("correlation", "rank", "structure", "top_k")
NOISE, MANIPULATED = "noise", "manipulated"


def explainer(method: str, posterior: Posterior, images: Tensor, how: Manipulation) -> Explain:
    """Return one of the source's six methods, ready for a posterior and for softened copies of it.

    Args:
        method: one of :data:`METHODS`.
        posterior: whose patterns are fitted, where the method needs some.
        images: of the training set, [N, C, H, W], for the patterns.
        how: points of integrated gradients and rule of LRP.
    """
    checks.one_of("method", method, METHODS)
    if method == "pattern attribution":
        patterns = fit_patterns(posterior, images)
        return partial(pattern_attribution, patterns=patterns)
    known: dict[str, Explain] = {
        "gradient": gradient,
        "gradient x input": gradient_x_input,
        "integrated gradients": partial(integrated_gradients, n_steps=how.n_quadrature),
        "guided backpropagation": guided_backprop,
        "LRP": partial(lrp, rule=how.rule),
    }
    return known[method]


@dataclass(frozen=True, eq=False)
class Case:
    """One model and one method: images, manipulated images, and the maps of both.

    Attributes:
        posterior: the model.
        target: [N], its predictions on the images, which all maps explain.
        images, found, control: as they were, manipulated, and with noise of the same size, [N, C, H, W].
        maps: what is shown of ``images``; ``aims``: the target maps; ``reached``: of ``found``; ``shaken``: of ``control``. All
            [N, 1, H, W], as :func:`shares` gives them.
        top_percent: as in :class:`Manipulation`.
    """

    posterior: Posterior
    target: Tensor
    images: Tensor
    found: Tensor
    control: Tensor
    maps: Tensor
    aims: Tensor
    reached: Tensor
    shaken: Tensor
    top_percent: float

    def table(self) -> pd.DataFrame:
        """Return the three properties that the source asks for, a row for each image and for manipulation and noise.

        Returns:
            Columns ``image``, ``change`` (``"manipulated"`` or ``"noise"``), ``output_change`` (largest change of a
            probability), ``logit_change`` (root mean square over the classes), ``label_kept``, ``l2`` and ``linf`` of
            the perturbation, ``relative``, its l2 as a share of the image's; for each of :data:`SIMILARITIES`
            ``..._target`` and ``..._origin``, how alike the map is to the target map and to the original one;
            ``error_target`` and ``error_origin``, the mean squared errors; and ``before``, the correlation of original
            and target map.
        """
        parts = []
        for change, images, maps in ((MANIPULATED, self.found, self.reached), (NOISE, self.control, self.shaken)):
            rows = {
                "output_change": (self.posterior.predict(images) - self.posterior.predict(self.images)).abs().amax(1),
                "logit_change": (self._logits(images) - self._logits(self.images)).square().mean(1).sqrt(),
                "label_kept": self.posterior.predict(images).argmax(1) == self.target,
                "l2": balls.sizes(images - self.images, "l2"),
                "linf": balls.sizes(images - self.images, "linf"),
                "relative": balls.sizes(images - self.images, "l2") / balls.sizes(self.images, "l2"),
                "before": linear_similarity(self.maps, self.aims),
            }
            for name, other in (("target", self.aims), ("origin", self.maps)):
                rows |= {
                    f"correlation_{name}": linear_similarity(other, maps),
                    f"rank_{name}": rank_similarity(other, maps),
                    f"structure_{name}": structural_similarity(other, maps),
                    f"top_k_{name}": lrp_robustness(other, maps, self.top_percent),
                    f"error_{name}": (other - maps).flatten(1).square().mean(1),
                }
            table = pd.DataFrame({name: value.detach().cpu().numpy() for name, value in rows.items()})
            parts.append(table.assign(image=np.arange(len(table)), change=change))
        return pd.concat(parts, ignore_index=True)

    def _logits(self, images: Tensor) -> Tensor:
        logits = self.posterior.logits(images).mean(0)
        # What is added to all logits of an image changes no prediction.
        return logits - logits.mean(1, keepdim=True)


def case(
    posterior: Posterior,
    images: Tensor,
    method: str,
    how: Manipulation,
    train_images: Tensor,
) -> Case:
    """Manipulate images by one method: the target map of each is the map of the image before it.

    Args:
        posterior: the model.
        images: [N, C, H, W] in [0, 1], in an order in which neighbours are of different classes, at least 2.
        method: one of :data:`METHODS`.
        how: settings.
        train_images: [M, C, H, W], for pattern attribution.
    """
    if len(images) < 2:
        raise ValueError(
            f"there are {len(images)} images; the target map is that of another image, so there must be 2 or more."
        )
    target = posterior.predict(images).argmax(1)
    found = kept(search, posterior, images, target, method, how, train_images)
    shown = shares(explainer(method, posterior, train_images, how))
    control = noised(images, found, how.seed)
    with torch.no_grad():
        maps, reached, shaken = (shown(posterior, some, target) for some in (images, found, control))
    return Case(posterior, target, images, found, control, maps, maps.roll(1, 0), reached, shaken, how.top_percent)


def search(
    posterior: Posterior, images: Tensor, target: Tensor, method: str, how: Manipulation, train_images: Tensor
) -> Tensor:
    """Return the manipulated images of :func:`case`."""
    explain = shares(explainer(method, posterior, train_images, how))
    with torch.no_grad():
        aims = explain(posterior, images, target).roll(1, 0)
    return manipulated(posterior, images, target, explain, aims, how)


def cases(
    models: Mapping[str, Posterior],
    images: Tensor,
    methods: Sequence[str],
    how: Manipulation,
    train_images: Tensor,
) -> dict[tuple[str, str], Case]:
    """Return :func:`case` for every model and method: (model, method) -> case."""
    return {
        (name, method): case(posterior, images, method, how, train_images)
        for name, posterior in models.items()
        for method in methods
    }


def table(found: Mapping[tuple[str, str], Case]) -> pd.DataFrame:
    """Return :meth:`Case.table` of every case, with ``model`` and ``method`` in front."""
    parts = []
    for (model, method), one in found.items():
        rows = one.table()
        rows.insert(0, "method", method)
        rows.insert(0, "model", model)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)
