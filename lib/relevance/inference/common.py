"""What every training algorithm does alike: start from a seed, choose batches, write the record."""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

import relevance
from relevance import checks
from relevance.datasets import Dataset
from relevance.device import device_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")


# Outputs and labels -> the negative log-likelihood of each example, [n].
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the negative log-likelihood of each example under the softmax, [n]."""
    return functional.cross_entropy(outputs, labels, reduction="none")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw torch's random numbers from ``seed`` inside, and leave its random state as it was outside."""
    checks.count("seed", seed, at_least=0)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def initialised(network: nn.Module, data: Dataset, seed: int) -> nn.Module:
    """Return a copy of ``network`` on the data's device with fresh parameters drawn from ``seed``, for training.

    ``network`` itself and torch's global random state stay as they are. The draw is the CPU's on every device.

    Raises:
        ValueError: the network does not fit the images or the classes of ``data``.
    """
    fresh = copy.deepcopy(network).cpu()
    with seeded(seed, torch.device("cpu")):
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    fresh = fresh.to(data.train_images.device).eval()
    try:
        with torch.no_grad():
            outputs = fresh(data.train_images[:2])
    except RuntimeError as error:
        raise ValueError(
            f"network does not take images of shape {list(data.image_shape)} as data has them "
            f"({str(error).splitlines()[0]}); build it with data.image_shape."
        ) from None
    if outputs.ndim != 2 or outputs.shape[1] < len(data.classes):
        raise ValueError(
            f"network gives outputs of shape {list(outputs.shape)} for 2 images; "
            f"it must give [2, {len(data.classes)}], one logit for each class."
        )
    return fresh.train()


def batches(data: Dataset, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the training images and labels once, in a random order, ``batch_size`` at a time."""
    order = torch.randperm(len(data.train_labels), generator=generator).to(data.train_labels.device)
    for batch in order.split(batch_size):
        yield data.train_images[batch], data.train_labels[batch]


def finite(loss: float, epoch: int, settings: DataclassInstance) -> float:
    """Return the mean loss of an epoch if it is finite.

    Raises:
        ValueError: it is not; the sentence says when, and with which settings.
    """
    if math.isfinite(loss):
        return loss
    given = ", ".join(f"{name}={value}" for name, value in asdict(settings).items())
    raise ValueError(
        f"the loss is {loss} in epoch {epoch + 1}, with {given}; it must be finite: a smaller learning_rate usually helps."
    )


def stacked(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Return the parameters of several networks, and the buffers in which they differ, as samples [S, ...]."""
    parts = [dict(model.named_parameters()) | dict(model.named_buffers()) for model in models]
    names = [name for name, value in parts[0].items() if value.is_floating_point()]
    return {name: torch.stack([part[name].detach() for part in parts]) for name in names}


def repeated(model: nn.Module, n_samples: int) -> dict[str, Tensor]:
    """Return the parameters of one network ``n_samples`` times, as samples [S, ...] of their own memory."""
    return {name: value.detach().expand(n_samples, *value.shape).clone() for name, value in model.named_parameters()}


def record(method: str, data: Dataset, settings: dict[str, Any], started: float, **results: Any) -> dict[str, Any]:
    """Return the record of a training run: what was run, on what, with what, for how long, with what result.

    Args:
        started: ``time.perf_counter()`` when the run began.
        results: histories and diagnostics, JSON values.
    """
    device = data.train_images.device
    return {
        "method": method,
        "settings": settings,
        "dataset": data.source,
        "n_train": len(data.train_labels),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": device_name(device),
        "versions": {
            "relevance": relevance.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "seconds": round(time.perf_counter() - started, 3),
        **results,
    }
