"""A deterministic network: stochastic gradient descent on the cross-entropy, a posterior of one sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance import checks
from relevance.datasets import Dataset
from relevance.inference import common
from relevance.posterior import Posterior
from relevance.progress import bar

# A network, images and labels -> the images to train on in their place.
Perturbation = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """How the network is trained. The defaults are those behind the paper's dense networks.

    Attributes:
        epochs: passes over the training images.
        learning_rate: of Adam.
        batch_size: images in a step.
        seed: of the initial parameters and of the order of the images.
    """

    epochs: int = 15
    learning_rate: float = 1e-3
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        checks.count("epochs", self.epochs)
        checks.number("learning_rate", self.learning_rate, above=0)
        checks.count("batch_size", self.batch_size)
        checks.count("seed", self.seed, at_least=0)


def sgd(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a network on the cross-entropy with Adam; return it as a posterior of one sample.

    The same arguments give the same network on the same machine; ``network`` is left as it is.

    Args:
        network: the architecture.
        data: its training images and labels are used.
        progress: show a progress bar.
        settings: fields of :class:`Settings`.

    Returns:
        A posterior of one sample; ``record["history"]`` has loss and accuracy of every epoch, both of the training
        batches as they were seen.

    Raises:
        ValueError: a setting is not what it may be, the network does not fit the data, or the loss is not finite.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    model, history = fit(network, data, chosen, "SGD", show=progress)
    return Posterior.of(model, common.record("sgd", data, asdict(chosen), started, history=history))


def fit(
    network: nn.Module,
    data: Dataset,
    settings: Settings,
    title: str,
    *,
    perturb: Perturbation | None = None,
    show: bool = True,
) -> tuple[nn.Module, dict[str, list[float]]]:
    """Train a fresh copy of ``network``, on perturbed images where ``perturb`` is given; return it and its history."""
    model = common.initialised(network, data, settings.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    history: dict[str, list[float]] = {"loss": [], "accuracy": []}
    device = data.train_images.device
    with common.seeded(settings.seed, device), bar(settings.epochs, title, "epoch", show=show) as shown:
        for epoch in range(settings.epochs):
            total_loss = torch.zeros((), dtype=torch.float64, device=device)
            total_right = torch.zeros((), dtype=torch.int64, device=device)
            for images, labels in common.batches(data, settings.batch_size, generator):
                seen = images if perturb is None else perturb(model, images, labels)
                logits = model(seen)
                loss = functional.cross_entropy(logits, labels)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                total_loss += loss.detach().double() * len(labels)
                total_right += (logits.argmax(-1) == labels).sum()
            history["loss"].append(common.finite(total_loss.item() / len(data.train_labels), epoch, settings))
            history["accuracy"].append(total_right.item() / len(data.train_labels))
            shown.update()
    return model, history
