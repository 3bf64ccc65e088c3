"""Manipulated explanations: images that look the same, are classified the same, and are explained by another image's map.

After Dombrowski et al. 2019 (arXiv:1906.07983), for single networks and for posteriors alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, robustness
from relevance.attacks import ball
from relevance.explanations import Epsilon, Rule
from relevance.posterior import Posterior

# A posterior, images and the class to explain in each -> a map of each image.
Explain = Callable[[Posterior, Tensor, Tensor], Tensor]
Keeper = Callable[..., Any]
METHODS = (
    "gradient",
    "gradient x input",
    "integrated gradients",
    "guided backpropagation",
    "LRP",
    "pattern attribution",
)
SIMILARITIES = ("correlation", "rank", "structure", "top_k")
EPSILON = Epsilon(0.1)
NOISE, MANIPULATED = "noise", "manipulated"
# Of the search for the length of noise that has a given norm after it was cut to [0, 1].
N_DOUBLINGS, N_HALVINGS = 10, 30


@dataclass(frozen=True)
class Manipulation:
    """How images are manipulated.

    Attributes:
        epsilon: largest Euclidean norm of the perturbation, in units of the pixel range; at least 0.
        n_steps: gradient steps.
        output_weight: gamma of the loss: what a squared change of the probabilities weighs beside the mean squared error of the
            maps, whose entries have a mean of 1.
        betas: of softplus in place of the activations, at the first and at the last step; of several such pairs, each is
            tried, and what came nearest is taken.
        n_quadrature: points of integrated gradients.
        rule: of layer-wise relevance propagation.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        seed: of the noise that manipulations are compared with.
    """

    epsilon: float = 4.0
    n_steps: int = 100
    output_weight: float = 1.0
    betas: tuple[tuple[float, float], ...] = ((3.0, 100.0),)
    n_quadrature: int = 4
    rule: Rule = EPSILON
    top_percent: float = 20
    seed: int = 0

    def __str__(self) -> str:
        return (
            f"manipulations in {self.n_steps} steps, of a Euclidean norm of at most {self.epsilon:g} (pixels lie in [0, 1]), "
            f"with gamma {self.output_weight:g}, that follow softplus of beta "
            + " or ".join(f"{first:g} to {last:g}" if first != last else f"{first:g}" for first, last in self.betas)
        )

    def __post_init__(self) -> None:
        checks.number("epsilon", self.epsilon, at_least=0)
        checks.count("n_steps", self.n_steps)
        checks.number("output_weight", self.output_weight, at_least=0)
        checks.number("top_percent", self.top_percent, above=0, at_most=100)


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
        patterns = explanations.fit_patterns(posterior, images)
        return partial(explanations.pattern_attribution, patterns=patterns)
    known: dict[str, Explain] = {
        "gradient": explanations.gradient,
        "gradient x input": explanations.gradient_x_input,
        "integrated gradients": partial(explanations.integrated_gradients, n_steps=how.n_quadrature),
        "guided backpropagation": explanations.guided_backprop,
        "LRP": partial(explanations.lrp, rule=how.rule),
    }
    return known[method]


def shares(explain: Explain) -> Explain:
    """Return the method with maps as the source shows them: magnitudes, summed over the channels, with a mean of 1.

    Maps of different images then have one scale, so that one can be made to look like the other. A map of zeros stays.
    """

    def shared(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        strength = explain(posterior, images, target).abs().sum(1, keepdim=True)
        mean = strength.flatten(1).mean(1)
        return strength / ball.of_images(mean.where(mean > 0, 1.0), strength)

    return shared


def manipulated(
    posterior: Posterior, images: Tensor, target: Tensor, explain: Explain, aims: Tensor, how: Manipulation
) -> Tensor:
    """Return images whose maps were brought towards ``aims`` while the probabilities were held.

    The loss is the mean squared difference of the maps plus ``how.output_weight`` times the squared change of the
    predicted probabilities, as that of Dombrowski et al.; it is lowered inside a Euclidean ball, by the gradient of the
    network with softplus in place of its kinks. Points at which the predicted class changes are not gone to, and the
    one that is best for the network as it is, is kept.

    Args:
        posterior: the model.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class that is explained.
        explain: of :func:`shares`.
        aims: the target maps, [N, 1, H, W].
        how: settings.
    """
    size = aims[0].numel() if len(aims) else 1
    best, least = images, torch.full((len(images),), torch.inf, dtype=torch.float64, device=images.device)
    for beta in how.betas:
        found = attacks.target_map(
            posterior,
            images,
            target,
            how.epsilon,
            explain=explain,
            target_maps=aims,
            # The attack sums squared differences where the loss here has their mean.
            output_weight=how.output_weight * size,
            beta=beta,
            norm="l2",
            n_steps=how.n_steps,
            progress=False,
        )
        with torch.no_grad():
            change = (posterior.predict(found) - posterior.predict(images)).square().sum(1)
            error = (explain(posterior, found, target) - aims).flatten(1).square().mean(1)
        loss = (error + how.output_weight * change).double()
        best = torch.where(ball.of_images(loss < least, images), found, best)
        least = torch.minimum(loss, least)
    return best


def noised(images: Tensor, found: Tensor, seed: int) -> Tensor:
    """Return the images with noise as large, in the Euclidean norm, as what was done to each: the control of a manipulation.

    Noise that leads out of [0, 1] is cut there, which makes it smaller: half of it on a black background. So it is drawn
    out until what is left has the norm of the manipulation.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(images.shape, generator=generator, dtype=images.dtype).to(images.device)
    direction, wanted = ball.steepest(drawn, "l2"), ball.sizes(found - images, "l2")

    def moved(length: Tensor) -> Tensor:
        return (images + ball.of_images(length, images) * direction).clamp(0, 1)

    def too_short(length: Tensor) -> Tensor:
        return ball.sizes(moved(length) - images, "l2") < wanted

    low, high = torch.zeros_like(wanted), wanted
    for _ in range(N_DOUBLINGS):
        high = torch.where(too_short(high), 2 * high, high)
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2
        short = too_short(middle)
        low, high = torch.where(short, middle, low), torch.where(short, high, middle)
    return moved(high)


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
                "l2": ball.sizes(images - self.images, "l2"),
                "linf": ball.sizes(images - self.images, "linf"),
                "relative": ball.sizes(images - self.images, "l2") / ball.sizes(self.images, "l2"),
                "before": robustness.linear_similarity(self.maps, self.aims),
            }
            for name, other in (("target", self.aims), ("origin", self.maps)):
                rows |= {
                    f"correlation_{name}": robustness.linear_similarity(other, maps),
                    f"rank_{name}": robustness.rank_similarity(other, maps),
                    f"structure_{name}": robustness.structural_similarity(other, maps),
                    f"top_k_{name}": robustness.lrp_robustness(other, maps, self.top_percent),
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
    keep: Keeper = lambda function, *arguments: function(*arguments),
) -> Case:
    """Manipulate images by one method: the target map of each is the map of the image before it.

    Args:
        posterior: the model.
        images: [N, C, H, W] in [0, 1], in an order in which neighbours are of different classes, at least 2.
        method: one of :data:`METHODS`.
        how: settings.
        train_images: [M, C, H, W], for pattern attribution.
        keep: calls a function with arguments and may find its result on disk, as :func:`relevance.store.kept`.
    """
    if len(images) < 2:
        raise ValueError(
            f"there are {len(images)} images; the target map is that of another image, so there must be 2 or more."
        )
    target = posterior.predict(images).argmax(1)
    found = keep(search, posterior, images, target, method, how, train_images)
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
    keep: Keeper = lambda function, *arguments: function(*arguments),
) -> dict[tuple[str, str], Case]:
    """Return :func:`case` for every model and method: (model, method) -> case."""
    return {
        (name, method): case(posterior, images, method, how, train_images, keep)
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
