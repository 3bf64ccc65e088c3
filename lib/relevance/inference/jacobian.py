"""Jacobian regularisation: a penalty on how fast the loss changes with the image (Ross and Doshi-Velez 2018)."""

from __future__ import annotations

import time
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
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the network is trained, and how strongly its input gradient is held down.

    Attributes:
        strength: factor of the penalty beside the mean cross-entropy, for pixels in [0, 1]; at least 0.
    """

    strength: float = checks.real(0.5, at_least=0)


def jacobian(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a network on the cross-entropy plus ``strength`` times :func:`penalty`; return it as a posterior of one sample.

    That is double backpropagation (Drucker and LeCun 1992), as Ross and Doshi-Velez 2018 (arXiv:1711.09404, Eq. 5) use
    it against attacks. Zeng et al. (supplement, Sec. A2) write the norm without its square and describe it as the square;
    the square is taken. They call it the Jacobian of the output, while the formula, and this function, have the gradient
    of the loss.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The history has
    ``loss`` (cross-entropy alone), ``accuracy`` and ``penalty`` (before its factor).
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    model, history = fit(network, data, chosen, "Jacobian", terms=_terms, strength=chosen.strength, show=progress)
    return Posterior.of(model, training.record("jacobian", data, asdict(chosen), started, history=history))


def penalty(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the squared Euclidean norm of each image's loss gradient, [n], differentiable in the parameters.

    Args:
        model: images -> logits; one image's logits must not depend on another image.
        images: [n, C, H, W].
        labels: [n].
    """
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        loss = functional.cross_entropy(model(leaf), labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
    return slope.flatten(1).square().sum(1)


def _terms(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    logits = model(images)
    model.eval()  # so that batch norm does not make one image's gradient depend on another
    squares = penalty(model, images, labels).mean()
    model.train()
    return logits, functional.cross_entropy(logits, labels), squares
