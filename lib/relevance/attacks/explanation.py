"""Attacks on the explanation of a whole posterior: small changes of images that change why, and not what.

Each follows the gradient of the posterior's expected map with respect to the image, which is a second derivative of the
network. (Carbone et al., Sec. VII-C, after Ghorbani et al. 2019, arXiv:1710.10547, and Dombrowski et al. 2019,
arXiv:1906.07983.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from relevance.base import checks, chunks
from relevance.base.ascent import Search, climb
from relevance.explanations.expected import Explain, as_method, maps_of
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Composite, Epsilon, Rule
from relevance.explanations.smoothing import softened
from relevance.explanations.top import top_share
from relevance.networks.posterior import Posterior, given

# A posterior, points, the indices of their images -> values to raise, [n].
Aim = Callable[[Posterior, Tensor, Tensor], Tensor]
# A map remembers about so many numbers for its gradient for each that a layer gives.
REMEMBERED = 4
# What is said of the pixels of maps [n, P]. Where a map is zero, so is every share.
MEASURES: dict[str, Callable[[Tensor], Tensor]] = {
    "relevance": lambda maps: maps,
    "magnitude": torch.abs,
    "share": lambda maps: functional.normalize(maps.abs(), p=1, dim=1),
}


@dataclass(frozen=True)
class _Case:
    """What all attacks on explanations are given, checked."""

    posterior: Posterior
    attacked: Posterior
    images: Tensor
    target: Tensor
    explain: Explain
    search: Search
    keep_label: bool
    progress: bool
    beta: tuple[float, float] | None

    @classmethod
    def of(
        cls,
        posterior: Posterior,
        images: Tensor,
        target: Tensor,
        epsilon: float,
        *,
        rule: Rule | Composite | None = None,
        explain: Explain | None = None,
        keep_label: bool = True,
        n_samples: int | None = None,
        progress: bool = True,
        beta: tuple[float, float] | None = None,
        keep: str = "best",
        **settings: Any,
    ) -> _Case:
        images, target = given(posterior, images, target, "target")
        if rule is not None and explain is not None:
            raise ValueError("rule and explain are both given; a rule is for LRP, so it must be one of the two.")
        if beta is not None:
            check_beta("beta", beta)
        if explain is not None:
            as_method("explain", explain)
        checks.truth("keep_label", keep_label)
        return cls(
            posterior,
            posterior if n_samples is None else posterior.thinned(n_samples),
            images,
            target,
            explain or partial(lrp, rule=Epsilon() if rule is None else rule),
            checks.settings(Search, {"epsilon": epsilon, "keep": keep, **settings}),
            keep_label,
            progress,
            beta,
        )

    def maps(self) -> Tensor:
        """Explain the clean images, by the whole posterior."""
        with torch.no_grad():
            return maps_of(self.explain, self.posterior, self.images, self.target)

    def shape(self) -> torch.Size:
        """Return the shape of the maps of all images."""
        with torch.no_grad():
            first = maps_of(self.explain, self.posterior, self.images[:1], self.target[:1])
            return torch.Size((len(self.images), *first.shape[1:]))

    def attack(self, aim: Aim) -> Tensor:
        """Raise what is aimed at on the attacked samples, and keep the points at which it is highest on all of them.

        With ``beta``, the steps follow the softened network, sharper from step to step.
        """
        beta = self.beta
        predicted = self.posterior.predict(self.images).argmax(1)

        def objective(points: Tensor, rows: Tensor, done: float) -> Tensor:
            attacked = self.attacked if beta is None else softened(self.attacked, beta[0] * (beta[1] / beta[0]) ** done)
            return aim(attacked, points, rows)

        def accepts(points: Tensor, rows: Tensor) -> Tensor:
            return self.posterior.predict(points).argmax(1) == predicted[rows]

        def score(points: Tensor, rows: Tensor) -> Tensor:
            with torch.no_grad():
                return aim(self.posterior, points, rows)

        found = climb(
            objective,
            self.images,
            self.search,
            n_at_once=chunks.images_with_graph(self.posterior.network, self.attacked.samples, self.images, REMEMBERED),
            accepts=accepts if self.keep_label else None,
            score=None if self.attacked is self.posterior and beta is None else score,
            title="attack on explanations",
            show=self.progress,
        )
        if len(found) and self.search.epsilon > 0 and torch.equal(found, self.images):
            warnings.warn(
                "the attack on explanations moved no image: the maps may have no gradient, as those of piecewise linear "
                "networks that are gradients themselves; beta=(10.0, 100.0) lets the steps follow a softened network.",
                RuntimeWarning,
                stacklevel=3,
            )
        return found


def top_k(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    epsilon: float,
    *,
    top_percent: float = 20,
    measure: str = "share",
    **settings: Any,
) -> Tensor:
    """Take relevance away from the pixels that are most relevant in the clean image.

    It lowers the sum over the pixels p of Top_k(R(x)) of what ``measure`` says of R(x~)_p, with R the posterior's
    expected map of ``target`` and Top_k the ``top_percent`` largest in absolute value.

    Args:
        posterior: the posterior whose explanations are attacked; one sample makes it that of a deterministic network.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class that is explained, before and after: usually the prediction on the clean image.
        epsilon: size of the ball, in units of the pixel range; at least 0.
        top_percent: share of the pixels that count as relevant, in (0, 100]; ties share their places.
        measure: what is summed. ``"relevance"`` is R itself, as Carbone et al. write it; it makes the negative relevance
            of the top larger, and keeps it there. ``"magnitude"`` is its size; ``"share"`` the size as a share of
            the whole map's, as Ghorbani et al. have it (their importances are normalised), which also raises the
            pixels that are to overtake. The first is hardly stronger than noise of the same size; a test and the book's
            chapter on attacks compare them.
        settings: ``rule``, of LRP (``Epsilon()`` if not given), or ``explain``, a function of a posterior, images and
            target that gives maps [N, ...], such as :func:`relevance.explanations.gradient_x_input`; ``beta``, a pair:
            let the steps follow the network with softplus for its kinks, of this sharpness at the first and at the last
            step, which maps without a gradient of their own need; ``keep_label`` (True): go only where the predicted
            class is that of the clean image; ``n_samples``: of the posterior, that the
            gradient is taken through, where not of all (which judge the points all the same); ``progress``; and the
            fields of :class:`relevance.base.ascent.Search`: ``norm``, ``n_steps`` and so on.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and in the ball.

    Raises:
        ValueError: a setting is not what it may be, an image has values outside [0, 1], or shapes do not fit.
    """
    case = _Case.of(posterior, images, target, epsilon, **settings)
    checks.number("top_percent", top_percent, above=0, at_most=100)
    measured = MEASURES[checks.one_of("measure", measure, MEASURES)]
    top = top_share(case.maps(), top_percent).to(images.dtype)

    def aim(attacked: Posterior, points: Tensor, rows: Tensor) -> Tensor:
        maps = case.explain(attacked, points, case.target[rows]).flatten(1)
        return -(top[rows] * measured(maps)).sum(1)

    return case.attack(aim)


def target_region(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    epsilon: float,
    *,
    region: Tensor,
    measure: str = "relevance",
    **settings: Any,
) -> Tensor:
    """Bring relevance to a region of the image: raise the sum of R(x~)_p over its pixels p.

    Args:
        posterior, images, target, epsilon, settings: as for :func:`top_k`.
        region: bool [H, W], [C, H, W] or [N, C, H, W], or whatever fits the maps; at least one pixel of each.
            :func:`random_region` gives one of random pixels, as the paper has it.
        measure: as for :func:`top_k`; here the paper's formula does what it is for.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and in the ball.

    Raises:
        ValueError: as for :func:`top_k`, or the region does not fit the maps or is empty.
    """
    case = _Case.of(posterior, images, target, epsilon, **settings)
    shape = case.shape()
    chosen = _region(region, shape).to(images).flatten(1)
    measured = MEASURES[checks.one_of("measure", measure, MEASURES)]

    def aim(attacked: Posterior, points: Tensor, rows: Tensor) -> Tensor:
        return (measured(case.explain(attacked, points, case.target[rows]).flatten(1)) * chosen[rows]).sum(1)

    return case.attack(aim)


def target_map(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    epsilon: float,
    *,
    target_maps: Tensor,
    output_weight: float = 1.0,
    beta: tuple[float, float] = (10.0, 100.0),
    **settings: Any,
) -> Tensor:
    """Bring the map towards another one, and hold the outputs: the "beta" attack of Dombrowski et al.

    It lowers the squared Euclidean distances of R(x~) from the target map and, times ``output_weight``, of p(x~) from
    p(x), with p the posterior predictive (the paper's f, whose kind it leaves open). The gradient is that of a network
    with softplus for ReLU and leaky ReLU, whose beta grows from step to step; the points are judged by the network as it
    is.

    Args:
        posterior, images, target, epsilon, settings: as for :func:`top_k`.
        target_maps: as the maps of ``images``, [N, C, H, W] for LRP: in the paper those of other test images.
        output_weight: at least 0; the paper takes 1.
        beta: sharpness of the first and of the last step, above 0.

    Returns:
        The attacked images [N, C, H, W], in [0, 1] and in the ball.

    Raises:
        ValueError: as for :func:`top_k`, or the target maps have another shape than the maps.
    """
    check_beta("beta", beta)
    case = _Case.of(posterior, images, target, epsilon, beta=beta, **settings)
    checks.number("output_weight", output_weight, at_least=0)
    shape = case.shape()
    checks.maps("target_maps", target_maps, shape)
    outputs, target_maps = posterior.predict(images), target_maps.to(images)

    def aim(attacked: Posterior, points: Tensor, rows: Tensor) -> Tensor:
        maps = case.explain(attacked, points, case.target[rows])
        change = attacked.log_predictive(points).exp() - outputs[rows]
        return -(maps - target_maps[rows]).flatten(1).square().sum(1) - output_weight * change.square().sum(1)

    return case.attack(aim)


def random_region(shape: tuple[int, ...], top_percent: float = 20, seed: int = 0) -> Tensor:
    """Return a region of randomly chosen pixels, for :func:`target_region` (Carbone et al., Sec. VII-C).

    Args:
        shape: of one map, (C, H, W).
        top_percent: share of its pixels, in (0, 100]; max(1, round(P top_percent / 100)) of P are chosen.
        seed: of the choice.

    Returns:
        bool [C, H, W].
    """
    percent = checks.number("top_percent", top_percent, above=0, at_most=100)
    total = math.prod(checks.image_shape("shape", shape))
    order = torch.randperm(total, generator=torch.Generator().manual_seed(checks.seed("seed", seed)))
    return (order < max(1, round(total * percent / 100))).reshape(shape)


def _region(region: Tensor, shape: torch.Size) -> Tensor:
    checks.tensor("region", region, "a tensor of truth values, True for its pixels", "truth")
    try:
        whole = region.expand(shape)
    except RuntimeError:
        raise ValueError(
            f"region has shape {list(region.shape)}; it must fit maps of shape {list(shape)}, such as {list(shape[1:])}."
        ) from None
    if not whole.flatten(1).any(1).all():
        raise ValueError("region has no pixel for some image; it must have at least one for each.")
    return whole


def check_beta(name: str, beta: Any) -> None:
    """Say what the sharpness of softplus must be, if it is not that."""
    if not isinstance(beta, tuple) or len(beta) != 2:
        raise ValueError(f"{name} is {checks.shown(beta)}; it must be two numbers, of the first and of the last step.")
    for value in beta:
        checks.number(name, value, above=0)
