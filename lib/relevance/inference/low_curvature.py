"""Training with a penalty on curvature: a network whose gradient hardly turns from one place to the next.

Explanations that are made of gradients can be manipulated where the gradient turns quickly (Dombrowski et al. 2019,
Theorem 1); so the penalty is on that (after Moosavi-Dezfooli et al. 2019, arXiv:1811.09716, and Srinivas et al. 2022,
arXiv:2206.07144).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior, given

# Images [n, C, H, W] -> logits [n, K].
Logits = Callable[[Tensor], Tensor]
ALONG = ("random", "sign")


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the network is trained, and how its curvature is measured on the way.

    Attributes:
        strength: factor of the penalty beside the mean cross-entropy; at least 0.
        step: distance over which the gradient's turn is measured, in units of the pixel range, Euclidean; above 0.
        along: where to: ``"sign"``, down the signs of the logit's gradient, where attacks go and curvature is large
            (Moosavi-Dezfooli et al., Sec. 4); or ``"random"``, in which most directions of many pixels cross few kinks.
        normalised: measure the turn in units of the gradient (Srinivas et al.), or as it is (Moosavi-Dezfooli et al.).
    """

    strength: float = checks.real(1.0, at_least=0)
    step: float = checks.real(0.5, above=0)
    along: str = checks.choice("sign", ALONG)
    normalised: bool = checks.flag(False)


def low_curvature(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a network on the cross-entropy and a penalty on the curvature of its logits; a posterior of one sample.

    The penalty is :func:`turning` of the label's logit. It is

    - of the *logit*, since that is what maps explain. The loss curves even where the logits are linear, through the
      softmax, and a penalty on it flattens the prediction rather than the map;
    - a *finite difference*, since the Hessian of a network of ReLUs is zero wherever it exists, so that a Hessian-vector
      product by a second backward pass would find nothing to punish; the kinks lie between the two points. The step is
      therefore no approximation of a limit, but the distance at which the map is to be steady.

    By default it is not divided by the gradient's own size. Smaller logits then pay less too, which the cross-entropy holds
    against them; :func:`curvature` measures in units of the gradient, in which smaller logits gain nothing.

    For piecewise linear networks the penalty's own gradient sees the weights on both sides of a kink, and not that kinks can
    move.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The history has
    ``loss`` (cross-entropy alone), ``accuracy`` and ``curvature`` (the penalty before its factor).
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    # The order of the images is that of inference.sgd; directions have a generator of their own.
    of_directions = torch.Generator().manual_seed(chosen.seed)

    def terms(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = model(images)
        model.eval()  # so that batch norm does not make one image's gradient depend on another
        along = directions(images, of_directions) if chosen.along == "random" else None
        turned = turning(model, images, labels, along, chosen.step, chosen.normalised).mean()
        model.train()
        return logits, functional.cross_entropy(logits, labels), turned

    model, history = fit(network, data, chosen, "low curvature", terms=terms, strength=chosen.strength, show=progress)
    history["curvature"] = history.pop("penalty")
    return Posterior.of(model, training.record("low_curvature", data, asdict(chosen), started, history=history))


def directions(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random direction for each image, uniform on the unit sphere: as ``images``."""
    normal = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    return functional.normalize(normal.flatten(1), dim=1).reshape(images.shape).to(images)


def turning(
    logits: Logits, images: Tensor, target: Tensor, along: Tensor | None, step: float, normalised: bool = True
) -> Tensor:
    """Return by how much the gradient of the target's logit turns along a direction, for each image.

    |g(x + h v) - g(x)|^2 / h^2, with g the gradient and v of length 1; ``normalised``, divided by |g(x)|^2. For a
    quadratic logit with Hessian A it is |A v|^2 for every h, whose mean over all directions is |A|_F^2 / d. It can be
    differentiated with respect to the parameters.

    Args:
        logits: the network, images -> [n, K].
        images: [n, C, H, W].
        target: [n], the class whose logit it is.
        along: [n, C, H, W], directions of length 1; down the signs of the gradient if None, which are taken as given
            where the result is differentiated.
        step: h, in units of the pixel range.
        normalised: divide by the gradient's squared length.

    Returns:
        [n], at least 0, in units of the logit over the pixel range squared, squared; normalised, of one over the pixel range
        squared.
    """
    here = _gradient(logits, images, target)
    if along is None:
        along = -functional.normalize(here.detach().sign().flatten(1), dim=1).reshape(images.shape)
    turned = (_gradient(logits, images + step * along, target) - here).flatten(1).square().sum(1) / step**2
    if not normalised:
        return turned
    # A logit that does not depend on the image does not turn.
    return turned / here.flatten(1).square().sum(1).clamp(min=torch.finfo(turned.dtype).tiny)


def curvature(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    step: float = 0.5,
    along: str = "sign",
    n_directions: int = 20,
    normalised: bool = True,
    seed: int = 0,
) -> Tensor:
    """Return :func:`turning` of the posterior's mean logit, [N], in the mean over directions where they are random.

    Args:
        posterior: one sample or many.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class whose logit it is.
        step, normalised: as for :func:`turning`.
        along: ``"sign"`` or ``"random"``, as for :class:`Settings`.
        n_directions: random ones that are averaged over.
        seed: of the directions.
    """
    target = given(posterior, images, target, "target")[1]
    checks.number("step", step, above=0)
    checks.truth("normalised", normalised)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))

    def logits(points: Tensor) -> Tensor:
        return posterior.logits(points).mean(0)

    checks.count("n_directions", n_directions)
    ways: list[Tensor | None] = [None]
    if checks.one_of("along", along, ALONG) == "random":
        ways = [directions(images, generator) for _ in range(n_directions)]
    return torch.stack([turning(logits, images, target, way, step, normalised).detach() for way in ways]).mean(0)


def _gradient(logits: Logits, points: Tensor, target: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = points.detach().requires_grad_()
        chosen = logits(leaf).gather(1, target[:, None]).sum()
        return torch.autograd.grad(chosen, leaf, create_graph=True)[0]
