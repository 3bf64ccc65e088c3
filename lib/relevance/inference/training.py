"""What every training does alike: start from a seed, choose batches, follow an objective, write the record."""

from __future__ import annotations

import copy
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

import relevance
from relevance.base import checks
from relevance.base.environment import bar, device_name
from relevance.datasets.dataset import Dataset

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
    checks.seed("seed", seed)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def initialised(network: nn.Module, data: Dataset, seed: int) -> nn.Module:
    """Return a copy of ``network`` on the data's device with fresh parameters drawn from ``seed``, for training.

    ``network`` itself and torch's global random state stay as they are. The draw is the CPU's on every device.

    Raises:
        ValueError: the network does not fit the images or the classes of ``data``, or their dtype.
    """
    check(network, data)
    fresh = copy.deepcopy(network).cpu()
    with seeded(seed, torch.device("cpu")):
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    fresh = fresh.to(data.train_images.device).eval()
    images = data.train_images[:2]
    try:
        with torch.no_grad():
            outputs = fresh(images)
    except Exception as error:  # whatever the network's code raises
        own = next(fresh.parameters()).dtype
        if own != images.dtype:
            raise ValueError(
                f"network has parameters of {own}, data images of {images.dtype}; both must be of one dtype, as "
                f"network.to({images.dtype}) makes them."
            ) from None
        raise ValueError(
            f"network does not take images of shape {list(data.image_shape)} as data has them "
            f"({_raised(error)}); it must be built with data.image_shape."
        ) from None
    wanted = f"[{len(images)}, {len(data.classes)}], one logit for each class"
    checks.results("network", outputs, len(images), wanted)
    if outputs.ndim != 2 or outputs.shape[1] < len(data.classes):
        raise ValueError(
            f"network gives outputs of shape {list(outputs.shape)} for {len(images)} images; it must give {wanted}."
        )
    return fresh.train()


def _raised(error: Exception) -> str:
    """Return what was raised, as a sentence has room for it."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:120]


def check_batches(model: nn.Module, data: Dataset, batch_size: int) -> None:
    """Say so if a network that fits the data cannot be trained on it in batches of this size.

    A copy of it is asked, in training, so that the statistics of its batch norm stay as they are.

    Raises:
        ValueError: in training it gives no logits, or the last batch is of one image, of which batch norm has no variance.
    """
    n_images = len(data.train_labels)
    n_last = (n_images - 1) % batch_size + 1
    images = data.train_images[: min(2, n_last)]
    try:
        with seeded(0, images.device), torch.no_grad():
            outputs = copy.deepcopy(model).train()(images)
    except Exception as error:  # whatever the network's code raises
        fault = f"network cannot be trained ({_raised(error)}); in training it must give logits, as otherwise."
        if n_last == 1:
            fault = (
                f"batch_size is {batch_size}, which leaves 1 of {n_images} images for the last batch, on which network cannot "
                f"be trained ({_raised(error)}); it must leave none or more."
            )
        raise ValueError(fault) from None
    checks.results("network in training", outputs, len(images), f"logits [{len(images)}, K], as otherwise")


def check(network: Any, data: Any) -> None:
    """Say so if there is nothing to train, or to train it on.

    Raises:
        ValueError: ``network`` is no module with parameters, or ``data`` has no images in [0, 1] with a class of each.
    """
    checks.kind_of("network", network, nn.Module, "a torch.nn.Module")
    if not any(True for _ in network.parameters()):
        raise ValueError("network has no parameters; it must have some, which are to be trained.")
    checks.kind_of("data", data, Dataset, "a Dataset, such as datasets.load gives")
    images, labels = data.train_images, data.train_labels
    checks.pixels("data.train_images", checks.some_images("data.train_images", images))
    if checks.class_indices("data.train_labels", labels, len(images), len(data.classes)).dtype != labels.dtype:
        raise ValueError(f"data.train_labels are {labels.dtype}; they must be torch.int64.")


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


# A network, images and labels -> the images to train on in their place.
Perturbation = Callable[[nn.Module, Tensor, Tensor], Tensor]

# A network in training, images and labels -> the logits [n, K], the mean loss, and a mean penalty (0 where there is none).
Terms = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def plain_terms(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the terms of a training on the cross-entropy alone."""
    logits = model(images)
    loss = functional.cross_entropy(logits, labels)
    return logits, loss, torch.zeros_like(loss)


def prior_terms(prior_scale: float, data: Dataset) -> Terms:
    """Return the terms of a training on the posterior's energy, for each training image: the prior's is the penalty."""

    def terms(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = model(images)
        squares = torch.stack([value.square().sum() for value in model.parameters()]).sum()
        return logits, functional.cross_entropy(logits, labels), squares / (2 * prior_scale**2 * len(data.train_labels))

    return terms


@dataclass(frozen=True)
class Settings(checks.Checked):
    """How the network is trained. The defaults are those behind the paper's dense networks.

    Attributes:
        epochs: passes over the training images.
        learning_rate: of Adam.
        batch_size: images in a step.
        seed: of the initial parameters and of the order of the images.
    """

    epochs: int = checks.whole(15)
    learning_rate: float = checks.real(1e-3, above=0)
    batch_size: int = checks.whole(128)
    seed: int = checks.seeded()


def fit(
    network: nn.Module,
    data: Dataset,
    settings: Settings,
    title: str,
    *,
    terms: Terms | None = None,
    strength: float = 1.0,
    perturb: Perturbation | None = None,
    show: bool = True,
) -> tuple[nn.Module, dict[str, list[float]]]:
    """Train a fresh copy of ``network`` on loss + strength * penalty with Adam; return it and its history.

    Initial parameters and the order of the images depend on the seed alone.

    Args:
        network: the architecture.
        data: its training images and labels are used.
        settings: of the training.
        title: of the progress bar.
        terms: what is minimised; the cross-entropy if None.
        strength: factor of the penalty.
        perturb: gives the images that are trained on in place of a batch's own.
        show: whether there is a bar.

    Returns:
        The network, and ``loss``, ``accuracy`` and with ``terms`` ``penalty`` (before its factor) of every epoch, of the
        training batches as they were seen.

    Raises:
        ValueError: the network does not fit the data, or not in batches of this size, or the loss is not finite.
    """
    model = initialised(network, data, settings.seed)
    check_batches(model, data, settings.batch_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    names = ["loss", "accuracy"] if terms is None else ["loss", "accuracy", "penalty"]
    history: dict[str, list[float]] = {name: [] for name in names}
    device = data.train_images.device
    with seeded(settings.seed, device), bar(settings.epochs, title, "epoch", show=show) as shown:
        for epoch in range(settings.epochs):
            sums = torch.zeros(3, dtype=torch.float64, device=device)
            for images, labels in batches(data, settings.batch_size, generator):
                seen = images if perturb is None else perturb(model, images, labels)
                logits, loss, penalty = (terms or plain_terms)(model, seen, labels)
                optimiser.zero_grad(set_to_none=True)
                (loss + strength * penalty).backward()
                optimiser.step()
                right = (logits.argmax(-1) == labels).double()
                # Counted, or the batch's share times its size: the last bit of a history is that of earlier records.
                n_right = right.sum() if terms is None else right.mean() * len(labels)
                sums += torch.stack(
                    [loss.detach().double() * len(labels), n_right, penalty.detach().double() * len(labels)]
                )
            means = (sums / len(data.train_labels)).tolist()
            finite(means[0] + strength * means[2], epoch, settings)
            for name, value in zip(history, means, strict=False):
                history[name].append(value)
            shown.update()
    return model, history
