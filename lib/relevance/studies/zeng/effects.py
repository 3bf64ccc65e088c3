"""Networks of several trainings beside one another: what attacks leave of them, their gradients, and their alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.prediction import fgsm, loss_gradient, pgd
from relevance.base import balls, checks
from relevance.metrics import alignment
from relevance.metrics.statistics import paired_difference, spearman
from relevance.networks.posterior import Posterior
from relevance.studies.zeng.source import PGD, STANDARD, Setting, scaled_epsilon

CLEAN, FGSM, LINF, L2 = "clean", "FGSM linf", "PGD linf", "PGD l2"
MARGIN_LINF, MARGIN_L2 = "margin linf", "margin l2"
NORM, MEDIAN, ZERO = "mean gradient", "median gradient", "zero gradients"
# Columns of the bound that are drawn, and what they are called.
QUANTITIES = {"alignment": "alignment", "rho": "distance to the boundary"}
# Columns of it that are recorded.
RECORDED = ["training", "image", "label", "clean_class", "alignment"]


def compare(
    posteriors: Mapping[str, Posterior],
    images: Tensor,
    labels: Tensor,
    *,
    linf: float,
    l2: float,
    n_steps: int = 20,
) -> pd.DataFrame:
    """Attack networks of several trainings alike, and measure the gradients that the attacks follow.

    Args:
        posteriors: training -> the network.
        images: [N, C, H, W] in [0, 1].
        labels: [N].
        linf, l2: sizes of the attacks in the two norms, in units of the pixel range.
        n_steps: of PGD, which starts at the image.

    Returns:
        A row for each training: accuracy on clean images, under FGSM and PGD on the cross-entropy, and under PGD on the
        margin; ``mean gradient`` and ``median gradient``, over the images, of the Euclidean norm of the cross-entropy's
        gradient (1 / pixel range), which differ where a few images have very large ones; ``zero gradients``, the share of
        images where it is exactly zero.
    """
    rows = {}
    given: dict[str, Any] = {"n_steps": n_steps, "random_start": False, "keep": "best", "progress": False}
    for name, posterior in posteriors.items():
        ways = {CLEAN: images, FGSM: fgsm(posterior, images, labels, linf)}
        for norm, size, titles in (("linf", linf, (LINF, MARGIN_LINF)), ("l2", l2, (L2, MARGIN_L2))):
            for title, objective in zip(titles, ("cross_entropy", "margin"), strict=True):
                ways[title] = pgd(posterior, images, labels, size, norm=norm, objective=objective, **given)
        slopes = loss_gradient(posterior, images, labels)
        sizes = balls.sizes(slopes, "l2")
        rows[name] = {title: posterior.accuracy(attacked, labels) for title, attacked in ways.items()} | {
            NORM: sizes.double().mean().item(),
            MEDIAN: sizes.median().item(),
            ZERO: (slopes == 0).flatten(1).all(1).double().mean().item(),
        }
    columns = [CLEAN, FGSM, LINF, MARGIN_LINF, L2, MARGIN_L2, NORM, MEDIAN, ZERO]
    return pd.DataFrame.from_dict(rows, orient="index")[columns].rename_axis("training")


def bounds(posteriors: Mapping[str, Posterior], images: Tensor, labels: Tensor, **settings: int) -> pd.DataFrame:
    """Return :func:`relevance.metrics.alignment.bound` of every training: a row for each training and image.

    Args:
        posteriors: training -> the network.
        images: [N, C, H, W] in [0, 1]; the class of each is the network's prediction, ``clean_class``.
        labels: [N], shown beside it.
        settings: of :func:`relevance.metrics.alignment.distance`.
    """
    parts = []
    for name, posterior in posteriors.items():
        target = posterior.predict(images).argmax(1)
        seen = {"image": range(len(images)), "label": labels.tolist(), "clean_class": target.tolist()}
        parts.append(alignment.bound(posterior, images, target, **settings).assign(training=name, **seen))
    return pd.concat(parts, ignore_index=True)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over images of :func:`bounds` for each training.

    Besides the columns of :func:`bounds`: ``needed``, the share of images at which the bound does not hold with xi = 0 for
    rho's upper bound; and ``rank correlation`` of alignment and rho over the images.
    """
    told = {}
    for name, part in rows.groupby("training", sort=False):
        means = {
            column: float(_usable(part[column]).mean()) for column in ("alignment", "rho", "first order", "bias", "xi")
        }
        both = part[np.isfinite(part["alignment"]) & np.isfinite(part["rho"])]
        enough = len(both) >= 4
        correlation = spearman(both["alignment"].to_numpy(), both["rho"].to_numpy()).rho if enough else np.nan
        told[name] = means | {"needed": float((part["xi"] > 0).mean()), "rank correlation": correlation}
    return pd.DataFrame.from_dict(told, orient="index").rename_axis("training")


def by_epsilon(rows: pd.DataFrame, chosen: Mapping[str, Setting], image_shape: Sequence[int]) -> pd.DataFrame:
    """Return alignment and distance to the boundary against the size of the attack that was trained on.

    Args:
        rows: from :func:`bounds`.
        chosen: training -> its setting; those of PGD are taken, and standard training as epsilon 0 of both norms.
        image_shape: (C, H, W) of the images, to which epsilon is scaled.

    Returns:
        ``norm``, ``epsilon``, ``quantity`` (``"alignment"`` or ``"rho"``), ``mean``, and ``low`` and ``high`` of a 95 %
        bootstrap interval over images; ``gain``, ``gain low`` and ``gain high``, of the difference from standard training,
        paired by image.
    """
    norms = list(dict.fromkeys(setting.norm for setting in chosen.values() if setting.method == PGD))
    if not norms:
        raise ValueError(f"chosen has the trainings {', '.join(chosen)}; at least one must be PGD's.")
    checks.one_of("standard training among the rows", STANDARD, rows["training"].unique())
    values = {
        name: part.set_index("image")[list(QUANTITIES)].replace(np.inf, np.nan)
        for name, part in rows.groupby("training", sort=False)
    }
    found = []
    for norm in norms:
        for name, setting in chosen.items():
            if setting.method != STANDARD and setting.norm != norm:
                continue
            epsilon = scaled_epsilon(setting.epsilon, norm, image_shape)
            for quantity in QUANTITIES:
                # Only images at which both are defined can be compared.
                both = pd.concat([values[STANDARD][quantity], values[name][quantity]], axis=1).dropna().to_numpy()
                level = paired_difference(np.zeros(len(both)), both[:, 1])
                gain = paired_difference(both[:, 0], both[:, 1])
                row = {"norm": norm, "epsilon": epsilon, "quantity": quantity}
                row |= {"mean": level.mean, "low": level.low, "high": level.high}
                found.append(row | {"gain": gain.mean, "gain low": gain.low, "gain high": gain.high})
    return pd.DataFrame(found).sort_values(["norm", "quantity", "epsilon"], ignore_index=True)


def shown(labels: Tensor, n_shown: int) -> Tensor:
    """Return the indices of the first image of each of the first ``n_shown`` classes."""
    return torch.tensor([int((labels == label).nonzero()[0]) for label in labels.unique()[:n_shown]])


def _usable(values: pd.Series) -> np.ndarray:
    given: np.ndarray = values.to_numpy(float)
    return given[np.isfinite(given)]
