"""Architectures side by side: how large each is, how long a map takes, and whether one step manipulates it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.explanation import target_map
from relevance.base import checks
from relevance.explanations.expected import Explain
from relevance.explanations.gradient import gradient, gradient_x_input
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Epsilon
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior

# Of the softened network that the step follows: so near the network with kinks that its slope is good for that.
BETA = 1000.0
GRADIENT, LRP = "gradient [s]", "LRP [s]"
LOSS = "loss after a step / before"


def published_or_random(
    image_shape: tuple[int, int, int] = (3, 64, 64), seed: int = 0
) -> Iterator[tuple[str, Posterior]]:
    """Give the four architectures one after another, each with its published weights if their file is on this machine.

    One at a time, since VGG-16 alone has half a gigabyte of weights. Nothing is downloaded.

    Args:
        image_shape: (3, H, W) of the images.
        seed: of the random weights of those without a file.

    Yields:
        What an architecture is called, and its posterior.
    """
    for name, title in pretrained.ARCHITECTURES.items():
        weights = pretrained.PUBLISHED if pretrained.published_file(name) else None
        yield title, pretrained.load(name, weights, image_shape=image_shape, seed=seed)


def photographs(image_shape: tuple[int, int, int] = (3, 64, 64)) -> Tensor:
    """Return the two photographs that scikit-learn brings along, read as any folder of images is.

    Returns:
        [2, C, H, W] in [0, 1].
    """
    import sklearn.datasets

    return pretrained.images_of(Path(sklearn.datasets.__file__).parent / "images", image_shape)[0]


def compare(
    posteriors: Mapping[str, Posterior] | Iterator[tuple[str, Posterior]],
    images: Tensor,
    *,
    epsilon: float = 0.001,
    explain: Explain = gradient_x_input,
) -> pd.DataFrame:
    """Explain and manipulate the images on each network: a reader's own go through it as torchvision's do.

    One step of :func:`relevance.attacks.target_map` brings the map of each image towards that of the image before it,
    moving all pixels by ``epsilon``. The loss is the squared distance to the target map, the mean over the images, divided
    by that before the step: below 1, the step came closer. The step follows the softened network; the loss is that of the
    network as it is.

    Args:
        posteriors: name -> posterior, or such pairs one after another.
        images: [N, C, H, W] in [0, 1], at least two.
        epsilon: size of the step, in units of the pixel range; above 0.
        explain: the maps that are manipulated.

    Returns:
        A row for each network: its parameters in millions, where its weights are from, seconds for one map of one image
        (once all is warm), and the loss after the step, as a share of that before it.
    """
    checks.number("epsilon", epsilon, above=0)
    checks.count("the number of images", len(images), at_least=2)
    pairs = posteriors.items() if isinstance(posteriors, Mapping) else posteriors
    rows = {}
    for name, posterior in pairs:
        target = posterior.predict(images).argmax(1)
        maps = explain(posterior, images, target)
        wanted = maps.roll(1, 0)
        moved = target_map(
            posterior, images, target, epsilon, target_maps=wanted, explain=explain, beta=(BETA, BETA), output_weight=0.0,
            n_steps=1, keep="last", keep_label=False, progress=False,
        )  # fmt: skip
        after = explain(posterior, moved, target)
        one, its = images[:1], target[:1]
        # The first map of a kind pays for what is prepared once, such as tracing the network.
        lrp(posterior, one, its, rule=Epsilon(1e-6))
        rows[name] = {
            "parameters [10^6]": sum(value.numel() for value in posterior.samples.values()) / len(posterior) / 1e6,
            "weights": posterior.record.get("weights", posterior.record.get("method", "")),
            GRADIENT: _seconds(lambda p=posterior, x=one, y=its: gradient(p, x, y)),  # type: ignore[misc]
            LRP: _seconds(lambda p=posterior, x=one, y=its: lrp(p, x, y, rule=Epsilon(1e-6))),  # type: ignore[misc]
            LOSS: _distance(after, wanted) / _distance(maps, wanted),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def _distance(maps: Tensor, wanted: Tensor) -> float:
    return (maps - wanted).square().sum().item()


def _seconds(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    found = work()
    if found.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
