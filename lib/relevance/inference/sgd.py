"""A deterministic network: stochastic gradient descent on the cross-entropy, a posterior of one sample."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from relevance import checks
from relevance.datasets import Dataset
from relevance.inference import common
from relevance.posterior import Posterior
from relevance.progress import bar


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
    """
    chosen = common.chosen(Settings, settings)
    started = time.perf_counter()
    model = common.initialised(network, data, chosen.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=chosen.learning_rate)
    generator = torch.Generator().manual_seed(chosen.seed)
    history: dict[str, list[float]] = {"loss": [], "accuracy": []}
    device = data.train_images.device
    with common.seeded(chosen.seed, device), bar(chosen.epochs, "SGD", "epoch", show=progress) as shown:
        for _ in range(chosen.epochs):
            loss, accuracy = _epoch(model, optimiser, data, chosen.batch_size, generator)
            history["loss"].append(loss)
            history["accuracy"].append(accuracy)
            shown.update()
    return Posterior.of(model, common.record("sgd", data, asdict(chosen), started, history=history))


def _epoch(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    data: Dataset,
    batch_size: int,
    generator: torch.Generator,
) -> tuple[float, float]:
    order = torch.randperm(len(data.train_labels), generator=generator).to(data.train_labels.device)
    total_loss = torch.zeros((), dtype=torch.float64, device=order.device)
    total_right = torch.zeros((), dtype=torch.int64, device=order.device)
    for batch in order.split(batch_size):
        labels = data.train_labels[batch]
        logits = model(data.train_images[batch])
        loss = functional.cross_entropy(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        total_loss += loss.detach().double() * len(batch)
        total_right += (logits.argmax(-1) == labels).sum()
    return total_loss.item() / len(order), total_right.item() / len(order)
