"""What every training algorithm does alike: start from a seed, choose batches, write the record."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

import relevance
from relevance import checks
from relevance.datasets import Dataset
from relevance.device import device_name

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SettingsType = TypeVar("SettingsType", bound="DataclassInstance")


def chosen(kind: type[SettingsType], given: Mapping[str, Any]) -> SettingsType:
    """Return the settings of an algorithm, or say which of the given names it does not know."""
    known = [field.name for field in fields(kind)]
    for name in given:
        if name not in known:
            raise ValueError(f"{name!r} is not a setting here; it may be one of: {', '.join(known)}.")
    return kind(**given)


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
