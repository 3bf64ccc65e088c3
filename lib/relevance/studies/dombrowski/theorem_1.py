"""Theorem 1 along real manipulations: how far explanations turned, and how far curvature would have let them.

(Dombrowski et al. 2019, arXiv:1906.07983, Theorem 1 and Eq. 9.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from relevance.attacks.explanation import target_map
from relevance.base import checks
from relevance.explanations.gradient import gradient
from relevance.explanations.smoothing import softened
from relevance.networks.posterior import Posterior
from relevance.studies.dombrowski import curvature
from relevance.studies.dombrowski.curvature import Scalar, Shape

# A path is fine enough when twice as many points change neither side of a bound by more than this share.
REFINED = 0.01
# Sides of an inequality that are both zero but for rounding are not compared.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Path:
    """What there is to say of a path on a level set, from its points.

    Everything on the larger side of an inequality is a sum of chords, or a maximum over the points: both can only be
    smaller than for the curve through them. Where an inequality holds here, it holds for the curve.

    Attributes:
        points: [n, d].
        shape: of the level set at the points.
    """

    points: Tensor
    shape: Shape

    @property
    def chords(self) -> Tensor:
        """Distances between neighbours, [n - 1]."""
        return self.points.diff(dim=0).norm(dim=1)

    @property
    def length(self) -> float:
        """Of the polygon: with ever more points that of the curve, which is at least the geodesic distance."""
        return self.chords.sum().item()

    @property
    def turned(self) -> float:
        """|n(p) - n(p0)|, between 0 and 2."""
        return (self.shape.normals[-1] - self.shape.normals[0]).norm().item()

    @property
    def turning(self) -> float:
        """The length of the normal's own way on the unit sphere: what it turned, there and back."""
        return self.shape.normals.diff(dim=0).norm(dim=1).sum().item()

    @property
    def unexplained(self) -> float:
        """How much of the turning is more than curvature at the ends of its chord explains, a share: bends missed."""
        turned = self.shape.normals.diff(dim=0).norm(dim=1)
        allowed = torch.maximum(self.shape.largest[1:], self.shape.largest[:-1]) * self.chords
        return ((turned - allowed).clamp(min=0).sum() / turned.sum().clamp(min=ROUNDING)).item()

    @property
    def changed(self) -> float:
        """|grad g(p) - grad g(p0)|."""
        return (self.shape.gradients[-1] - self.shape.gradients[0]).norm().item()

    @property
    def bound(self) -> float:
        """Theorem 1 for the normal: the largest principal curvature of the points, times the length."""
        return self.shape.largest.max().item() * self.length

    @property
    def integral(self) -> float:
        """The largest principal curvature where the path is, summed along it."""
        return torch.dot((self.shape.largest[1:] + self.shape.largest[:-1]) / 2, self.chords).item()

    @property
    def gradient_bound(self) -> float:
        """The bound for the gradient itself: the largest norm of the Hessian on tangent vectors, times the length."""
        return self.shape.bending.max().item() * self.length

    def with_between(self, others: Path) -> Path:
        """Return the path with ``others``, one between each two of its points, put where they belong."""
        order = torch.cat([torch.arange(len(self.points)), torch.arange(len(others.points)) + 0.5]).argsort()
        names = Shape.__dataclass_fields__
        values = {name: torch.cat([getattr(one.shape, name) for one in (self, others)])[order] for name in names}
        return Path(torch.cat([self.points, others.points])[order], Shape(**values))


def path(g: Scalar, start: Tensor, end: Tensor, n_points: int = 33, at_most: int = 1025) -> tuple[Path, float]:
    """Return a path on the level set through ``start``, fine enough, and how far it is from that.

    New points are put between all neighbours until that changes neither the bounds nor the integrals by more than
    :data:`REFINED`, and no more than that of the turning is left unexplained by the curvature at the points: a sharp
    bend that all points miss still shows in their normals.

    Args:
        g, start, end: as for :func:`curvature.level_path`.
        n_points: to begin with, at least 2.
        at_most: the number of points not to go beyond, at least 2 n_points - 1.

    Returns:
        The path, and the largest relative change by the last doubling, or what is unexplained where that is more.
    """
    checks.count("at_most", at_most, at_least=2 * checks.count("n_points", n_points, at_least=2) - 1)
    points = curvature.level_path(g, start, end, n_points)
    found, change = Path(points, curvature.shape(g, points)), np.inf
    while change > REFINED and 2 * n_points - 1 <= at_most:
        between = (torch.arange(n_points - 1, dtype=start.dtype, device=start.device) + 0.5) / (n_points - 1)
        line = start + between[:, None] * (end - start)
        points = curvature.on_level(g, line, found.shape.values[0].item())
        coarse, found = found, found.with_between(Path(points, curvature.shape(g, points)))
        n_points = len(found.points)
        change = max(
            abs(getattr(found, name) - getattr(coarse, name)) / max(getattr(found, name), ROUNDING)
            for name in ("bound", "gradient_bound", "integral", "turning")
        )
        change = max(change, found.unexplained)
    return found, change


def sweep(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    betas: Sequence[float],
    *,
    epsilon: float,
    n_steps: int = 60,
    at_most: int = 1025,
) -> pd.DataFrame:
    """Manipulate the gradient maps of softened networks, and compare what they changed with what curvature allows.

    g is the mean logit of the explained class. Each image's map is driven to that of the image before it by
    :func:`relevance.attacks.target_map` in a Euclidean ball, by softplus networks that sharpen up to beta. Paths are
    followed in the directions that the network sees
    (:class:`curvature.Logit`): across them nothing changes, so that distances there would only
    widen the bound.

    Args:
        posterior: with ReLUs, or leaky ones; softened here for each beta.
        images: [N, C, H, W] in [0, 1], at least 2.
        target: [N], the class to explain.
        betas: above 0.
        epsilon: radius of the ball, in units of the pixel range.
        n_steps: of the attack.
        at_most: points of a path.

    Returns:
        A row for each beta and image: the cosine of the map with its target before and at the path's end; how far the
        manipulated image was off its level set as a share of its distance; the path's length; both sides of the bounds
        of normal and gradient, their ``slack`` (bound over change), and the factors it is made of; ``constant``, a C
        with |curvature| <= beta C on the path by the weights alone; the last refinement's change.
    """
    checks.count("the number of images", len(images), at_least=2)
    rows = []
    for beta in betas:
        soft = softened(posterior, beta)
        with torch.no_grad():
            targets = gradient(soft, images, target).roll(1, dims=0)
        # The search is that of the source: a soft network at first, and sharper from step to step.
        found = target_map(
            posterior,
            images,
            target,
            epsilon,
            norm="l2",
            target_maps=targets,
            explain=gradient,
            n_steps=n_steps,
            step_size=epsilon / 10,
            beta=(min(1.0, beta), beta),
            progress=False,
        )
        for index in range(len(images)):
            g = curvature.logit(soft, int(target[index]))
            start, end = g.coordinates(torch.stack([images[index], found[index]]))
            walked, refinement = path(g.function, start, end, at_most=at_most)
            wanted = g.coordinates(targets[index][None])[0]
            rows.append(
                {"beta": float(beta), "image": index}
                | _similarities(walked, wanted)
                | {"off the level": ((walked.points[-1] - end).norm() / (end - start).norm()).item()}
                | _sides(walked)
                | _constant(soft, int(target[index]), walked)
                | {"points": len(walked.points), "refinement": refinement}
            )
    return pd.DataFrame(rows)


def _similarities(walked: Path, wanted: Tensor) -> dict[str, float]:
    cosines = nn.functional.cosine_similarity(walked.shape.gradients[[0, -1]], wanted[None])
    return {"to target, before": cosines[0].item(), "to target, after": cosines[1].item()}


def _sides(walked: Path) -> dict[str, float]:
    """Return both sides of the inequalities."""
    return {
        "length": walked.length,
        "curvature": walked.shape.largest.max().item(),
        "normal turned": walked.turned,
        "bound": walked.bound,
        "slack": _ratio(walked.bound, walked.turned),
        "worst point": _ratio(walked.bound, walked.integral),
        "worst direction": _ratio(walked.integral, walked.turning),
        "there and back": _ratio(walked.turning, walked.turned),
        "gradient changed": walked.changed,
        "gradient bound": walked.gradient_bound,
        "gradient slack": _ratio(walked.gradient_bound, walked.changed),
        "as printed": _ratio(walked.bound, walked.changed),
    }


def _ratio(larger: float, smaller: float) -> float:
    return larger / smaller if smaller > ROUNDING else np.nan


def _constant(posterior: Posterior, target: int, walked: Path) -> dict[str, float]:
    try:
        factor = curvature.weights_constant(posterior, target)
    except ValueError:
        # Of other than dense networks it is not known.
        factor = np.nan
    return {"constant": factor / walked.shape.gradients.norm(dim=1).min().item()}


def by_beta(rows: pd.DataFrame) -> pd.DataFrame:
    """Return medians over the images of :func:`sweep`, a row for each beta, and the smallest slacks."""
    groups = rows.groupby("beta")
    found: dict[str, Any] = {name: groups[name].median() for name in ("length", "curvature", "normal turned", "bound")}
    found["curvature / beta"] = (rows["curvature"] / rows["beta"]).groupby(rows["beta"]).median()
    found["C by the weights"] = groups["constant"].median()
    for name in ("slack", "gradient slack"):
        found |= {name: groups[name].median(), f"{name}, smallest": groups[name].min()}
    return pd.DataFrame(found)


def slack_by_factor(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the medians of the factors whose product is the slack, a row for each beta."""
    return rows.groupby("beta")[["slack", "worst point", "worst direction", "there and back"]].median()


def planted(beta: float, strength: float = 1.0) -> Posterior:
    """Return a softplus network with a flat level set on which the gradient changes all the same.

    g(x, y) = softplus(x + y) - softplus(y - x), times ``strength``, is zero where x is, for all y: a straight line,
    with curvature 0. Its gradient there, 2 strength sigmoid(beta y) along x, keeps its direction and not its length.
    """
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    samples = {
        "1.weight": torch.tensor([[1.0, 1.0], [-1.0, 1.0]]),
        "1.bias": torch.zeros(2),
        "3.weight": strength * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]),
        "3.bias": torch.zeros(2),
    }
    return softened(Posterior(network, {name: value[None].double() for name, value in samples.items()}), beta)
