"""ROAR: remove what a map calls relevant, retrain, and see what can still be learned (Hooker et al. 2019, arXiv:1806.10758).

To take pixels from an image leaves an image such as the network never saw, and its output may fall for that alone. So the
pixels are taken from training and test images alike, and a network of the same architecture learns from what is left.
The sooner its accuracy falls as more is removed, the more of what tells the classes apart the map had found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from torch import Tensor, nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.explanations.expected import Explain
from relevance.explanations.gradient import gradient
from relevance.inference import training
from relevance.inference.sgd import sgd
from relevance.metrics.deletion import places
from relevance.networks.posterior import Posterior
from relevance.studies.parallel import Call, kept_all
from relevance.studies.zeng.retraining import SEES, Train, channel_mean, checked_share, retrained

MEASURES = ("absolute", "squared", "signed")
PER = ("pixel", "channel")
TARGETS = ("prediction", "label")
# Zeng et al., Table 1.
SHARES = (0.2, 0.4, 0.6, 0.8)


def rankings(maps: Tensor, measure: str = "absolute", per: str = "pixel", *, seed: int = 0) -> Tensor:
    """Return each pixel's place in the order of falling relevance, from 0.

    Ties are broken at random: a constant map is a random order.

    Args:
        maps: [N, C, H, W].
        measure: what is relevant: the ``"absolute"`` value, for maps of slopes; the ``"squared"`` one, which orders differently
            only where channels are summed; or ``"signed"``, the value itself, for maps that say what a pixel adds.
        per: rank each ``"pixel"``, by the sum of the measure over its channels, or each ``"channel"`` of each pixel by itself.
        seed: of the ties.

    Returns:
        Whole numbers, [N, 1, H, W] per pixel or [N, C, H, W] per channel: in each image every number from 0 on once.

    Raises:
        ValueError: a setting is not what it may be, or the maps hold no order.
    """
    checks.image_batch("maps", maps)
    checks.one_of("measure", measure, MEASURES)
    checks.one_of("per", per, PER)
    if not torch.isfinite(maps).all():
        raise ValueError("maps have values that are NaN or infinite; their order of relevance is not defined.")
    values = maps.detach()
    strength = {"absolute": values.abs, "squared": values.square, "signed": values.clone}[measure]()
    if per == "pixel":
        strength = strength.sum(1, keepdim=True)
    order = places(strength.flatten(1), torch.Generator().manual_seed(checks.seed("seed", seed)))
    # As small as they may be: they are kept for whole data sets, and go from process to process.
    return order.to(torch.int16 if order.shape[1] < 2**15 else torch.int32).reshape(strength.shape)


def sobel(posterior: Posterior | None, images: Tensor, target: Tensor) -> Tensor:
    """Return how steep an image is: the length of its gradient by Sobel's filters, [N, C, H, W].

    A baseline that knows of no network and of no class: it takes the arguments of an explanation and uses the images.
    """
    pixels = images.detach().cpu().double().numpy()
    edges = np.hypot(ndimage.sobel(pixels, axis=-1), ndimage.sobel(pixels, axis=-2))
    return torch.from_numpy(edges).to(images)


def blurred(
    posterior: Posterior | None,
    images: Tensor,
    target: Tensor,
    *,
    explain: Explain = gradient,
    width: float = 1.0,
) -> Tensor:
    """Return the absolute map of ``explain``, each channel under a Gaussian: it knows nothing that the map does not know.

    Args:
        posterior, images, target: as for ``explain``.
        explain: what is blurred.
        width: the Gaussian's standard deviation in pixels.
    """
    checks.number("width", width, above=0)
    maps = explain(posterior, images, target).detach().abs().cpu().numpy()
    return torch.from_numpy(ndimage.gaussian_filter(maps, sigma=(0, 0, width, width))).to(images)


def any_class(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Return how strongly each pixel moves the logits, whichever: the root of the sum of the squared gradients.

    The length of the Jacobian's column for the pixel. The target is not used: no class is singled out, so that the map,
    and a mask that is made of it, depends on the image's class no more than the network's slopes do.
    """
    with torch.no_grad():
        n_classes = posterior[0].logits(images[:1]).shape[-1]
    total = torch.zeros_like(images)
    for label in range(n_classes):
        total += gradient(posterior, images, torch.full_like(target, label)).square()
    return total.sqrt()


def constant(posterior: Posterior | None, images: Tensor, target: Tensor) -> Tensor:
    """Return a map that is the same everywhere, which :func:`rankings` orders at random."""
    return torch.zeros_like(images)


@dataclass(frozen=True, eq=False)
class Attribution(checks.Checked):
    """How pixels are ranked: by what explanation, of which class, and what counts as relevant.

    Attributes:
        explain: (posterior, images, target) -> maps [N, C, H, W].
        posterior: what is explained; None for a baseline that explains nothing.
        target: the class that is explained, in training and test images: the posterior's ``"prediction"``, or the
            ``"label"``. The label tells the ranking what the prediction has to find out, so that a mask may hold more about
            a test image than any network knows.
        measure, per: as for :func:`rankings`.
    """

    explain: Explain
    posterior: Posterior | None = None
    target: str = checks.choice("prediction", TARGETS)
    measure: str = checks.choice("absolute", MEASURES)
    per: str = checks.choice("pixel", PER)

    def order(self, images: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
        """Return the :func:`rankings` of images [N, C, H, W] with labels [N]; ``seed`` is of the ties."""
        target = labels
        if self.posterior is not None and self.target == "prediction":
            with torch.no_grad():
                target = self.posterior.predict(images).argmax(-1)
        return rankings(self.explain(self.posterior, images, target), self.measure, self.per, seed=seed)


# What ROAR itself asks for: an order that means nothing, and one that only looks at the image.
BASELINES = {"random": Attribution(constant), "Sobel": Attribution(sobel)}


def explained(
    posteriors: Mapping[str, Posterior], explain: Explain = gradient, **settings: Any
) -> dict[str, Attribution]:
    """Return one explanation of several posteriors as attributions; ``settings`` are fields of :class:`Attribution`."""
    return {name: Attribution(explain, posterior, **settings) for name, posterior in posteriors.items()}


def roar(
    network: nn.Module,
    data: Dataset,
    attributions: Mapping[str, Attribution],
    shares: Sequence[float] = SHARES,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    fill: Tensor | None = None,
    sees: str = "image",
    ties: int = 0,
    train: Train = sgd,
    jobs: int | None = None,
    progress: bool = True,
    **settings: Any,
) -> pd.DataFrame:
    """Return the test accuracies of networks trained where the most relevant pixels are removed (Hooker et al. 2019, Sec. 3).

    Every attribution ranks the pixels of every training and test image once. What differs from seed to seed is the retraining.
    Each retraining is kept as soon as it is done, and a killed run goes on where it was.

    Args:
        network: the architecture that is retrained; that of the posteriors that explain, if the question is what *they* use.
        data: training and test images.
        attributions: name -> how pixels are ranked.
        shares: of the pixels that are removed, each in (0, 1).
        seeds: of the retrainings: the same for every attribution and share, so that differences are paired.
        fill: what a removed pixel becomes; the :func:`channel_mean` of the training images if None.
        sees: ``"image"``, or ``"mask"`` to see what the removal itself gives away: see :func:`retraining.retrained`.
        ties: seed by which ties, and so the random order, are broken.
        train: a training algorithm of :mod:`relevance.inference`.
        jobs: processes side by side: see :func:`relevance.studies.parallel.kept_all`. It changes no result.
        progress: show a progress bar.
        settings: of ``train``, such as ``epochs``.

    Returns:
        A row for each attribution, share and seed: ``attribution``, ``share``, ``seed``, ``accuracy`` in [0, 1]. The share 0,
        where nothing is removed, is the same for all attributions; it is there for images only.

    Raises:
        ValueError: a setting is not what it may be.
    """
    for share in shares:
        checked_share(share)
    checks.one_of("sees", sees, SEES)
    for name, given in (("attributions", attributions), ("shares", shares), ("seeds", seeds)):
        if not len(given) or len(set(given)) < len(given):
            raise ValueError(f"{name} are {list(given)}; there must be at least one, and none twice.")
    # The same weights whoever built the network: they are drawn anew, and must not count for the store.
    fresh = training.initialised(network, data, 0).eval()
    filled = channel_mean(data) if fill is None else fill
    parts = ((data.train_images, data.train_labels, 2 * ties), (data.test_images, data.test_labels, 2 * ties + 1))
    rows: list[tuple[str, float, int]] = []
    calls: list[Call] = []
    whole = [Call(retrained, (fresh, data, train, settings), {"seed": seed}) for seed in seeds]
    for name, attribution in attributions.items():
        if sees == "image":
            rows += [(name, 0.0, seed) for seed in seeds]
            calls += whole
        orders = tuple(attribution.order(images, labels, seed) for images, labels, seed in parts)
        for share in sorted(shares):
            for seed in seeds:
                own = {"orders": orders, "share": float(share), "fill": filled, "sees": sees, "seed": seed}
                rows.append((name, float(share), seed))
                calls.append(Call(retrained, (fresh, data, train, settings), own))
    # Calls that several attributions share are made once.
    unique = list({id(call): call for call in calls}.values())
    results = kept_all(unique, jobs=jobs, title="ROAR", unit="network", progress=progress)
    found = {id(call): result.item() for call, result in zip(unique, results, strict=True)}
    table = pd.DataFrame(rows, columns=["attribution", "share", "seed"])
    return table.assign(accuracy=[found[id(call)] for call in calls])
