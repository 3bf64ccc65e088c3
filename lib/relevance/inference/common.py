"""What every training algorithm does alike: start from a seed, choose batches, write the record."""

from __future__ import annotations

import copy
import platform
import time
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn

import relevance
from relevance import checks
from relevance.datasets import Dataset
from relevance.device import device_name


def initialised(network: nn.Module, data: Dataset, seed: int) -> nn.Module:
    """Return a copy of ``network`` on the data's device with fresh parameters drawn from ``seed``.

    ``network`` itself and torch's global random state stay as they are.

    Raises:
        ValueError: the network does not fit the images or the classes of ``data``.
    """
    checks.count("seed", seed, at_least=0)
    fresh = copy.deepcopy(network)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in fresh.modules():
            if isinstance(reset := getattr(module, "reset_parameters", None), type(fresh.forward)):
                reset()
    fresh = fresh.to(data.train_images.device)
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
    return fresh


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
