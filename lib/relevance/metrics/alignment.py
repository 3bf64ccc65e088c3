"""How alike an image and its saliency map are, and how far the decision boundary is: both sides of a bound.

Etmann et al. 2019 (arXiv:1905.04172): with Psi the score by which the predicted class leads, rho(x) the distance to the
decision boundary and <x, grad Psi> / |grad Psi| the *alignment*, rho(x) <= |<x, grad Psi>| / |grad Psi| + xi. All of them are
Euclidean lengths, in units of the pixel range.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.prediction import pgd
from relevance.base import balls, checks, chunks
from relevance.networks.posterior import Posterior, given

SCORES = ("logit", "margin")


class Score(NamedTuple):
    """A score and its first-order expansion at some images.

    Attributes:
        values: Psi(x), [N].
        gradients: grad Psi(x), [N, C, H, W].
        rivals: the class whose score was subtracted, [N]; -1 where none was.
    """

    values: Tensor
    gradients: Tensor
    rivals: Tensor

    @property
    def distances(self) -> Tensor:
        """Psi / |grad Psi|, [N]: how far the boundary would be if Psi were linear; infinite without a gradient."""
        sizes = balls.sizes(self.gradients, "l2")
        return torch.where(sizes > 0, self.values / sizes, torch.inf)


def score(posterior: Posterior, images: Tensor, target: Tensor, of: str = "margin") -> Score:
    """Return the score that a bound or a map is about, with its gradient.

    Args:
        posterior: one sample or many.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class that leads.
        of: ``"margin"``, by how much the target leads over the class to which the boundary is nearest to first order
            (Etmann et al., the binarised classifier), in logs of the posterior predictive, which for one sample is a difference
            of logits; or ``"logit"``, the mean logit of the target, of which gradient maps are made.

    Raises:
        ValueError: an image or a target is not what it may be, or ``of`` is unknown.
    """
    target = given(posterior, images, target, "target")[1]
    single = checks.one_of("of", of, SCORES) == "logit"
    n_at_once = chunks.images_with_graph(posterior.network, posterior.samples, images)
    parts = []
    for rows in torch.arange(len(images), device=images.device).split(n_at_once):
        with torch.enable_grad():
            leaf = images[rows].detach().requires_grad_()
            own = target[rows]
            if single:
                parts.append(_led(posterior.logits(leaf).mean(0), leaf, own, None))
            else:
                parts.append(_nearest(posterior.log_predictive(leaf), leaf, own))
    if not parts:
        return Score(images.new_zeros(0), torch.zeros_like(images), target)
    return Score(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _led(outputs: Tensor, leaf: Tensor, target: Tensor, rival: int | None) -> Score:
    """Return the lead of the target over one class, or over nothing."""
    values = outputs.gather(1, target[:, None]).squeeze(1)
    if rival is not None:
        values = values - outputs[:, rival]
    (slope,) = torch.autograd.grad(values.sum(), leaf, retain_graph=True)
    return Score(values.detach(), slope, torch.full_like(target, -1 if rival is None else rival))


def _nearest(outputs: Tensor, leaf: Tensor, target: Tensor) -> Score:
    """Return the lead over the class that would be reached first if the outputs were linear."""
    best: Score | None = None
    nearest = leaf.new_full((len(leaf),), torch.inf)
    for rival in range(outputs.shape[1]):
        found = _led(outputs, leaf, target, rival)
        best = found if best is None else best
        # No class is its own rival, and one that is already ahead is nearer than any.
        closer = (found.distances < nearest) & (target != rival)
        nearest = torch.where(closer, found.distances, nearest)
        best = Score(
            torch.where(closer, found.values, best.values),
            torch.where(balls.of_images(closer, leaf), found.gradients, best.gradients),
            torch.where(closer, found.rivals, best.rivals),
        )
    assert best is not None
    return best


def alignment(posterior: Posterior, images: Tensor, target: Tensor, of: str = "margin") -> Tensor:
    """Return |<x, grad Psi(x)>| / |grad Psi(x)|, [N], in units of the pixel range (Etmann et al. 2019).

    It is the length of the image's part in the direction of its saliency map, and not a cosine: brighter images have more
    of it, and it does not change when all logits are multiplied. For a linear score without a bias it is the distance to
    the boundary.

    Args:
        posterior, images, target, of: as for :func:`score`.

    Returns:
        [N]; NaN where the gradient is exactly zero, since then there is no direction.
    """
    return _aligned(score(posterior, images, target, of), images)


def _aligned(found: Score, images: Tensor) -> Tensor:
    sizes = balls.sizes(found.gradients, "l2")
    along = (images * found.gradients).flatten(1).sum(1).abs()
    return torch.where(sizes > 0, along / sizes, torch.nan)


def distance(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    n_radii: int = 20,
    n_steps: int = 20,
    n_bisections: int = 20,
) -> Tensor:
    """Return an upper bound of the distance to the decision boundary, [N], Euclidean, in units of the pixel range.

    Balls of growing radii are searched by projected gradient steps on the margin; the first point with another prediction
    is drawn back along the straight line to the image until the prediction is about to change. Points stay in [0, 1], so
    that it bounds the distance with and without this limit.

    Args:
        posterior: one sample or many.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class whose region is left; the distance is 0 where it is not the prediction.
        n_radii: geometric, from 1 % to all of the pixel range's diagonal, sqrt(d).
        n_steps: of each attack.
        n_bisections: along the line; each halves what is left of it.

    Returns:
        [N]; infinite where no ball had a point with another prediction.
    """
    checks.count("n_radii", n_radii, at_least=2)
    checks.count("n_steps", n_steps)
    checks.count("n_bisections", n_bisections)
    target = given(posterior, images, target, "target")[1]
    outside = posterior.predict(images).argmax(1) != target
    found = images.clone()
    largest = float(images[0].numel() ** 0.5) if len(images) else 1.0
    for radius in torch.logspace(-2, 0, n_radii, dtype=torch.float64).mul(largest).tolist():
        left = (~outside).nonzero().squeeze(1)
        if not len(left):
            break
        settings: dict[str, Any] = {
            "norm": "l2",
            "objective": "margin",
            "random_start": False,
            "keep": "best",
            "progress": False,
        }
        points = pgd(posterior, images[left], target[left], radius, n_steps=n_steps, **settings)
        through = posterior.predict(points).argmax(1) != target[left]
        found[left[through]], outside[left[through]] = points[through], True
    low, high = images.new_zeros(len(images)), images.new_ones(len(images))
    for _ in range(n_bisections):
        middle = (low + high) / 2
        points = (images + balls.of_images(middle, images) * (found - images)).clamp(0, 1)
        crossed = posterior.predict(points).argmax(1) != target
        low, high = torch.where(crossed, low, middle), torch.where(crossed, middle, high)
    lengths = high * balls.sizes(found - images, "l2")
    return torch.where(outside, lengths, torch.inf)


def bound(posterior: Posterior, images: Tensor, target: Tensor, **settings: int) -> pd.DataFrame:
    """Return both sides of Etmann et al.'s bound for each image.

    Args:
        posterior, images, target: as for :func:`score`.
        settings: of :func:`distance`.

    Returns:
        ``alignment``; ``rho``, the upper bound of :func:`distance`; ``first order``, Psi / |grad Psi|, what rho would be
        if the score were linear; ``bias``, |Psi - <x, grad Psi>| / |grad Psi|, the xi with which the bound holds for that
        (it is zero for networks without biases, whose scores are homogeneous); and ``xi``, rho - alignment or 0, the error
        term that the bound needs if rho is as large as its upper bound. All in units of the pixel range.
    """
    found = score(posterior, images, target)
    if unknown := sorted(settings.keys() - {"n_radii", "n_steps", "n_bisections"}):
        raise ValueError(f"{unknown[0]!r} is not a setting here; it may be one of: n_bisections, n_radii, n_steps.")
    sizes = balls.sizes(found.gradients, "l2")
    rest = found.values - (images * found.gradients).flatten(1).sum(1)
    rho, aligned = distance(posterior, images, target, **settings), _aligned(found, images)
    columns = {
        "alignment": aligned,
        "rho": rho,
        "first order": found.distances,
        "bias": torch.where(sizes > 0, rest.abs() / sizes, torch.nan),
        "xi": (rho - aligned).clamp(min=0),
    }
    return pd.DataFrame({name: values.detach().double().cpu().numpy() for name, values in columns.items()})
