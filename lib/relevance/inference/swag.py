"""SWAG: a normal distribution fitted to the path of SGD around a solution (Maddox et al. 2019)."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from relevance.base import checks
from relevance.base.environment import bar
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the solution is found, and how the path around it is followed.

    Attributes:
        n_samples: samples that are drawn.
        swag_epochs: epochs of plain SGD after the ``epochs`` of Adam.
        swag_learning_rate: of plain SGD; constant, so that the path keeps moving.
        rank: last deviations from the mean that make the low-rank part of the covariance, at least 2.
        per_epoch: points of the path that are taken in an epoch.
    """

    n_samples: int = checks.whole(100)
    swag_epochs: int = checks.whole(10)
    swag_learning_rate: float = checks.real(0.05, above=0)
    rank: int = 20
    per_epoch: int = checks.whole(4)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.count("rank", self.rank, at_least=2, at_most=self.swag_epochs * self.per_epoch)
        checks.seed("seed", self.seed, after=1)


def swag(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Fit a normal distribution, diagonal plus low rank, to the path of SGD, and sample from it.

    (Maddox et al. 2019, arXiv:1902.02476, Algorithm 1: the covariance is half the diagonal one of the path plus half that
    of its last ``rank`` deviations from the running mean.) Statistics of batch norm stay those of the path's end.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The history is of
    the epochs before the path.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    model, history = fit(network, data, chosen, "SGD", show=progress)
    path = _followed(model, data, chosen, show=progress)
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(chosen.seed)
    draws: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
    for _ in range(chosen.n_samples):
        vector_to_parameters(drawn(path, chosen.rank, generator), model.parameters())
        for name, value in model.named_parameters():
            draws[name].append(value.detach().clone())
    record = training.record("swag", data, asdict(chosen), started, history=history)
    return Posterior(model, {name: torch.stack(values) for name, values in draws.items()}, record)


def drawn(path: Tensor, rank: int, generator: torch.Generator) -> Tensor:
    """Draw from the normal distribution that is fitted to a path [T, D]: its mean, variances and last deviations."""
    means = path.cumsum(0) / torch.arange(1, len(path) + 1, device=path.device)[:, None]
    variance = path.var(0, unbiased=False)
    deviations = (path - means)[-rank:]
    first = torch.randn(path.shape[1], generator=generator).to(path)
    second = torch.randn(rank, generator=generator).to(path)
    return means[-1] + (variance.sqrt() * first + deviations.T @ second / math.sqrt(rank - 1)) / math.sqrt(2)


def _followed(model: nn.Module, data: Dataset, settings: Settings, *, show: bool) -> Tensor:
    """Go on from a solution with plain SGD, and return the points of the path [T, D]."""
    optimiser = torch.optim.SGD(model.parameters(), lr=settings.swag_learning_rate)
    generator = torch.Generator().manual_seed(settings.seed + 1)
    n_batches = math.ceil(len(data.train_labels) / settings.batch_size)
    marks = {max(1, round((index + 1) * n_batches / settings.per_epoch)) for index in range(settings.per_epoch)}
    checks.count("rank", settings.rank, at_least=2, at_most=settings.swag_epochs * len(marks))  # points of the path
    points: list[Tensor] = []
    model.train()
    with (
        training.seeded(settings.seed + 1, data.train_images.device),
        bar(settings.swag_epochs, "SWAG", "epoch", show=show) as shown,
    ):
        for epoch in range(settings.swag_epochs):
            total = 0.0
            for index, (images, labels) in enumerate(training.batches(data, settings.batch_size, generator)):
                loss = functional.cross_entropy(model(images), labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                if index + 1 in marks:
                    points.append(parameters_to_vector(model.parameters()).detach().clone())
                    total += loss.item()
            training.finite(total, epoch, settings)
            shown.update()
    return torch.stack(points)
