"""Adversarial training: a deterministic network that is trained on attacked images (Madry et al. 2018)."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks
from relevance.base.ascent import Search, climb
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the network is trained, and what it is attacked with on the way.

    Attributes:
        epsilon: size of the attack in ``norm``, in units of the pixel range; at least 0.
        norm: ``"linf"`` or ``"l2"``.
        n_steps: gradient steps of the attack; 1 is FGSM.
        step_size: of an attack's step; 2.5 epsilon / n_steps if None (and epsilon for one step).
        random_start: start the attack anywhere in the ball; FGSM usually does not.
    """

    epsilon: float = 0.1
    norm: str = "linf"
    n_steps: int = 10
    step_size: float | None = None
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.search  # which checks the settings that are its own

    @property
    def search(self) -> Search:
        """The attack on a batch."""
        return Search(self.epsilon, self.norm, self.n_steps, self.step_size, self.random_start, keep="last")


def adversarial(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a network on attacked images; return it as a posterior of one sample.

    Every batch is replaced by its attack on the network as it then is: ``n_steps`` steps of projected gradient ascent
    on the cross-entropy (Madry et al. 2018, arXiv:1706.06083, Sec. 2.1); one step from the image itself is the training
    of Goodfellow et al. 2015.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The history is of
    attacked batches.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()

    generator = torch.Generator().manual_seed(chosen.seed)

    def perturb(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return perturbed(model, images, labels, chosen.search, generator)

    model, history = fit(network, data, chosen, "adversarial training", perturb=perturb, show=progress)
    return Posterior.of(model, training.record("adversarial", data, asdict(chosen), started, history=history))


def perturbed(
    model: nn.Module, images: Tensor, labels: Tensor, search: Search, generator: torch.Generator | None = None
) -> Tensor:
    """Return the attack on a network in training, which goes on training after it."""

    def loss(points: Tensor, rows: Tensor, done: float) -> Tensor:
        return functional.cross_entropy(model(points), labels[rows], reduction="none")

    model.eval()  # so that dropout and batch norm do what they do under attack later
    attacked = climb(loss, images, search, n_at_once=len(images), generator=generator)
    model.train()
    return attacked
