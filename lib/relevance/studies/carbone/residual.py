"""What the released code does differently for residual networks: rows 9 and 12 of the book's page on it.

Facts read in its repository, as in :mod:`relevance.studies.carbone.released`; none of its code is used. Each is a function, and
what it changes is measured on a network of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from relevance.attacks.prediction import loss_gradient
from relevance.base import balls
from relevance.base.chunks import Sample
from relevance.datasets.dataset import Dataset
from relevance.explanations.affine import AffineMap, Convolution, Layer
from relevance.explanations.expected import checked, one_hot, over_all
from relevance.explanations.graph import graph_of
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Rule
from relevance.explanations.steps import Step
from relevance.explanations.ways.way import Shares, Visit
from relevance.inference.variational import variational
from relevance.metrics.overlap import lrp_robustness
from relevance.metrics.similarity import linear_similarity
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.store import kept


def trained(data: Dataset, *, hidden: int = 4, epochs: int = 4, n_samples: int = 8, seed: int = 0) -> Posterior:
    """Return draws of a small residual network by variational inference, from the store where they are there.

    With the defaults and 300 images of MNIST, they are those of the book's chapter on residual networks.
    """
    network = architectures.resnet20(data.image_shape, hidden, len(data.classes))
    settings = {"prior_scale": 0.1, "epochs": epochs, "start_epochs": epochs, "seed": seed}
    return kept(variational, network, data, n_samples=n_samples, **settings)


@dataclass(frozen=True)
class PlainBack:
    """A rule whose convolutions come back without stride, padding, groups and dilation: row 9.

    The row does not say what becomes of a map of another size than the inputs; here it is cut to them, or filled with zeros, at
    its right and lower edges and after its last channel. A plain convolution comes back as it should.

    Attributes:
        rule: how relevance is shared otherwise.
    """

    rule: Rule

    def share(self, layer: Layer, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`relevance.explanations.Rule`)."""
        if isinstance(layer.map, Convolution):
            layer = replace(layer, map=_Plain(layer.map))
        return self.rule.share(layer, relevance)


@dataclass(frozen=True)
class _Plain:
    own: AffineMap

    def forward(self, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self.own.forward(inputs, weight, bias)

    def transpose(self, outputs: Tensor, weight: Tensor, inputs: Tensor) -> Tensor:
        found = functional.conv_transpose2d(outputs, weight)
        lacking = [inputs.shape[axis] - found.shape[axis] for axis in (3, 2, 1)]
        return functional.pad(found, [edge for size in lacking for edge in (0, size)])

    def spread(self, bias: Tensor, outputs: Tensor) -> Tensor:
        return self.own.spread(bias, outputs)


def at_the_ends(posterior: Posterior, images: Tensor, target: Tensor, rule: Rule) -> Tensor:
    """Return expected maps for which the rule counts in the first and the last affine layer alone: row 12.

    Everything between hands back what arrives as a gradient.

    Args:
        posterior, images, target, rule: as for :func:`relevance.explanations.lrp`.
    """
    target = checked(posterior, images, target)
    graph = graph_of(posterior, images)
    ends = {graph.affine_layers[0], graph.affine_layers[-1]}

    def back(step: Step, visit: Visit, relevance: Tensor) -> Shares:
        if visit.layer is not None and step.layer in ends:
            return [rule.share(visit.layer, relevance)]
        return visit.pull_back(relevance)

    def one_map(sample: Sample, some: Tensor, classes: Tensor) -> Tensor:
        visits = graph.forward(some, sample)
        logits = visits[graph.output].value
        return graph.backward(visits, graph.output, one_hot(logits, classes) * logits, back)[graph.image]

    return over_all(posterior, one_map, images, target)


def by_other_draws(
    posterior: Posterior, images: Tensor, attacked: Tensor, target: Tensor, rule: Rule, top_percent: float
) -> Tensor:
    """Return k-LRP robustness [N], clean images explained by the first half of the draws, attacked ones by the rest: row 12.

    Args:
        posterior: of at least 2 samples.
        images, attacked: [N, C, H, W] in [0, 1].
        target, rule, top_percent: as for :func:`relevance.explanations.lrp` and :func:`relevance.metrics.lrp_robustness`.
    """
    half = len(posterior) // 2
    before = lrp(posterior[:half], images, target, rule=rule)
    return lrp_robustness(before, lrp(posterior[half:], attacked, target, rule=rule), top_percent)


def clamped_after_normalising(
    posterior: Posterior, images: Tensor, labels: Tensor, epsilon: float, mean: Sequence[float], scale: Sequence[float]
) -> Tensor:
    """Return images under FGSM that is made, and clamped to [0, 1], in the units of normalised pixels: row 12.

    Args:
        posterior, images, labels, epsilon: as for :func:`relevance.attacks.fgsm`.
        mean, scale: of each channel, by which pixels are normalised.
    """
    middle, unit = (torch.tensor(list(values)).to(images).reshape(-1, 1, 1) for values in (mean, scale))
    normalised = (images - middle) / unit
    # The gradient in other units has the same sign.
    stepped = normalised + epsilon * balls.steepest(loss_gradient(posterior, images, labels), "linf")
    return (middle + unit * stepped.clamp(0, 1)).clamp(0, 1)


def effects(
    posterior: Posterior, images: Tensor, labels: Tensor, epsilon: float, rule: Rule, top_percent: float
) -> pd.DataFrame:
    """Return what rows 9 and 12 change for a network that normalises its images.

    Returns:
        A row for each change: ``change``, and ``value``: of maps the mean correlation with those of all layers; of draws the mean
        k-LRP robustness under FGSM; of the clamp the mean change of a pixel, and of FGSM beside it.
    """
    target = posterior.predict(images).argmax(1)
    whole = lrp(posterior, images, target, rule=rule)
    plain = lrp(posterior, images, target, rule=PlainBack(rule))
    ends = at_the_ends(posterior, images, target, rule)
    attacked = balls.stepped(images, loss_gradient(posterior, images, labels), epsilon, images, epsilon, "linf")
    same = lrp_robustness(whole, lrp(posterior, attacked, target, rule=rule), top_percent)
    other = by_other_draws(posterior, images, attacked, target, rule, top_percent)
    settings: dict[str, Any] = getattr(posterior.network, "settings", {})
    clamped = clamped_after_normalising(posterior, images, labels, epsilon, settings["mean"], settings["scale"])
    found = {
        "convolutions come back plain: correlation of maps": linear_similarity(whole, plain),
        "rule in the first and last layer alone: correlation of maps": linear_similarity(whole, ends),
        "k-LRP, the same draws": same,
        "k-LRP, other draws for attacked images": other,
        "mean change of a pixel, FGSM": (attacked - images).abs(),
        "mean change of a pixel, clamped after normalising": (clamped - images).abs(),
    }
    return pd.DataFrame([{"change": name, "value": values.nanmean().item()} for name, values in found.items()])
