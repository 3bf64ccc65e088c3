"""The training loop of networks whose objective is not the cross-entropy of the labels alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from relevance.datasets import Dataset
from relevance.inference import common
from relevance.inference.sgd import Settings
from relevance.progress import bar

# A network in training, images and labels -> the logits [n, K], the mean loss, and a mean penalty (0 where there is none).
Terms = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def fit(
    network: nn.Module,
    data: Dataset,
    settings: Settings,
    title: str,
    terms: Terms,
    *,
    strength: float = 1.0,
    show: bool = True,
) -> tuple[nn.Module, dict[str, list[float]]]:
    """Train a fresh copy of ``network`` on loss + strength * penalty with Adam; return it and its history.

    Initial parameters and the order of the images are those of :func:`relevance.inference.sgd` with the same seed.

    Args:
        network: the architecture.
        data: its training images and labels are used.
        settings: of the training.
        title: of the progress bar.
        terms: what is minimised.
        strength: factor of the penalty.
        show: whether there is a bar.

    Returns:
        The network, and ``loss``, ``accuracy`` and ``penalty`` (before its factor) of every epoch, of the training
        batches as they were seen.

    Raises:
        ValueError: the network does not fit the data, or the loss is not finite.
    """
    model = common.initialised(network, data, settings.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    history: dict[str, list[float]] = {"loss": [], "accuracy": [], "penalty": []}
    device, total = data.train_images.device, len(data.train_labels)
    with common.seeded(settings.seed, device), bar(settings.epochs, title, "epoch", show=show) as shown:
        for epoch in range(settings.epochs):
            sums = torch.zeros(3, dtype=torch.float64, device=device)
            for images, labels in common.batches(data, settings.batch_size, generator):
                logits, loss, penalty = terms(model, images, labels)
                optimiser.zero_grad(set_to_none=True)
                (loss + strength * penalty).backward()
                optimiser.step()
                right = (logits.argmax(-1) == labels).double().mean()
                sums += torch.stack([loss.detach().double(), right, penalty.detach().double()]) * len(labels)
            means = (sums / total).tolist()
            common.finite(means[0] + strength * means[2], epoch, settings)
            for name, value in zip(history, means, strict=True):
                history[name].append(value)
            shown.update()
    return model, history
