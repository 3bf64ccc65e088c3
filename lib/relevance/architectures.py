"""Architectures side by side: how large each is, how long a map takes, and whether one step manipulates it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, pretrained, report
from relevance.attacks.explanation import Explain
from relevance.device import default_device, device_name
from relevance.explanations import Epsilon
from relevance.posterior import Posterior

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
    for name, (title, _) in pretrained.ARCHITECTURES.items():
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
    explain: Explain = explanations.gradient_x_input,
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
        moved = attacks.target_map(
            posterior, images, target, epsilon, target_maps=wanted, explain=explain, beta=(BETA, BETA), output_weight=0.0,
            n_steps=1, keep="last", keep_label=False, progress=False,
        )  # fmt: skip
        after = explain(posterior, moved, target)
        one, its = images[:1], target[:1]
        # The first map of a kind pays for what is prepared once, such as tracing the network.
        explanations.lrp(posterior, one, its, rule=Epsilon(1e-6))
        rows[name] = {
            "parameters [10^6]": sum(value.numel() for value in posterior.samples.values()) / len(posterior) / 1e6,
            "weights": posterior.record.get("weights", posterior.record.get("method", "")),
            GRADIENT: _seconds(lambda p=posterior, x=one, y=its: explanations.gradient(p, x, y)),  # type: ignore[misc]
            LRP: _seconds(lambda p=posterior, x=one, y=its: explanations.lrp(p, x, y, rule=Epsilon(1e-6))),  # type: ignore[misc]
            LOSS: _distance(after, wanted) / _distance(maps, wanted),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def said(rows: pd.DataFrame) -> str:
    """Say what rows of :func:`compare` stand on and show, and where published weights would be looked for if one is missing."""
    nearer = list(rows.index[rows[LOSS] < 1])
    if not nearer:
        text = "One step brought no network's map nearer to its target."
    elif len(nearer) == len(rows):
        text = f"One step brought the maps of all {len(rows)} networks nearer to their targets."
    else:
        text = f"One step brought the map nearer to its target for {report.join(nearer)}, and not for the others."
    random = [str(name) for name, weights in rows["weights"].items() if str(weights).startswith("random")]
    if random:
        text += (
            f" The weights of {report.join(random)} are random, since their published files are not on this machine: they are "
            f"looked for in {report.join([f'`{place}`' for place in _places()])}, and `pretrained.load` downloads them where "
            "there is a network. What such a network says of an image means nothing; that the same calls go through does."
        )
    today = datetime.now(UTC).date().isoformat()
    return f"*This build.* {today}, {device_name(default_device())}, torch {torch.__version__}. {text}"


def _places() -> list[str]:
    # In words where they are the same for every reader; a book does not name one machine's folders.
    return ["$RELEVANCE_DATA", "$RELEVANCE_DATA/weights", "$TORCH_HOME/hub/checkpoints"]


def _distance(maps: Tensor, wanted: Tensor) -> float:
    return (maps - wanted).square().sum().item()


def _seconds(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    found = work()
    if found.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
