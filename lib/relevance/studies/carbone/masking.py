"""An attack that has nothing to follow: loss and gradient along a direction that does harm, and what it does to a correlation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance.attacks.objectives import margin, mean_loss
from relevance.attacks.prediction import loss_gradient, zero_gradients
from relevance.base import balls, checks
from relevance.networks.posterior import Posterior

MASKED, OPEN = "masked", "not masked"


def along(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    objective: str = "mean_loss",
    n_points: int = 9,
) -> pd.DataFrame:
    """Return what becomes of loss, gradient and margin from each image on along the sign of the margin's gradient.

    Args:
        posterior, images, labels: as for :func:`relevance.attacks.pgd`.
        epsilon: how far, in the maximum norm; at least 0.
        objective: the loss whose gradient an attack would follow, as there.
        n_points: on the way, both ends among them.

    Returns:
        A row for each image and point: ``image``, ``group``: whether the loss has a gradient of exactly zero at the image itself;
        ``distance`` from it; ``loss``, the mean cross-entropy of the samples; ``margin`` of the prediction, above 0 where it is
        wrong; ``gradient``, the largest slope of the loss at a pixel; ``wrong``, whether the predicted class is not the label.
    """
    checks.count("n_points", n_points, at_least=2)
    direction = loss_gradient(posterior, images, labels, "margin")
    masked = zero_gradients(posterior, images, labels, objective).cpu().numpy()
    parts = []
    for distance in torch.linspace(0, checks.number("epsilon", epsilon, at_least=0), n_points).tolist():
        points = balls.stepped(images, direction, distance, images, distance, "linf")
        logits = posterior.logits(points)
        above = margin(logits, labels)
        columns = {
            "loss": mean_loss(logits, labels),
            "margin": above,
            "gradient": balls.sizes(loss_gradient(posterior, points, labels, objective), "linf"),
            "wrong": above > 0,
        }
        rows = pd.DataFrame({name: column.detach().cpu().numpy() for name, column in columns.items()})
        group = np.where(masked, MASKED, OPEN)
        parts.append(rows.assign(image=np.arange(len(rows)), group=group, distance=distance))
    return pd.concat(parts, ignore_index=True)[["image", "group", "distance", *columns]]


def by_group(rows: pd.DataFrame) -> pd.DataFrame:
    """Return of rows of :func:`along` what they are at each distance: a row for each group and distance.

    Returns:
        ``group``, ``distance``, ``images``; ``loss``, ``margin`` and ``gradient``, medians over the images; ``no gradient``, the
        share of images whose gradient is exactly zero; ``wrong``, the share that is predicted wrongly.
    """
    return rows.groupby(["group", "distance"]).agg(
        images=("image", "size"), loss=("loss", "median"), margin=("margin", "median"), gradient=("gradient", "median"),
        **{"no gradient": ("gradient", lambda values: (values == 0).mean())}, wrong=("wrong", "mean"),
    ).reset_index()  # fmt: skip
