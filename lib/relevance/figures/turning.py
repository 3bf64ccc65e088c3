"""Figures that a reader turns: small enough for a phone, and of one size whatever is chosen (:mod:`relevance.controls`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from relevance import checks, robustness
from relevance.experiments import Outcome
from relevance.figures.style import BLUE, ORANGE, OVERLAP, frame, heatmap, new_figure, picture


def explained_attack(outcome: Outcome, index: int, classes: Sequence[str]) -> Figure:
    """Draw one image under an attack: both images, both maps, the top pixels of both, and the predictions.

    Both maps are divided by the largest absolute relevance of the clean one.

    Args:
        outcome: one model under attack.
        index: which of its images.
        classes: their names.
    """
    checks.count("index", index, at_least=0, at_most=len(outcome.images) - 1)
    scale = outcome.before[index].sum(0).abs().max().item() or 1.0
    with new_figure(2, 3, (5.4, 3.9)) as (figure, axes):
        # Every frame has the same panels, so nothing need be laid out anew for each, which would take half of the time.
        figure.set_layout_engine("none")
        figure.subplots_adjust(left=0.02, right=0.97, bottom=0.07, top=0.93, wspace=0.16, hspace=0.2)
        picture(axes[0, 0], outcome.images[index])
        picture(axes[0, 1], outcome.attacked[index])
        heatmap(axes[1, 0], outcome.before[index], scale)
        heatmap(axes[1, 1], outcome.after[index], scale)
        _tops(axes[0, 2], outcome.before[index], outcome.after[index], outcome.top_percent)
        both = torch.stack([outcome.before_probabilities[index], outcome.after_probabilities[index]])
        _predictions(axes[1, 2], both, classes)
        titles = ("image $x$", r"attacked $\tilde{x}$", f"top {outcome.top_percent:g} %", "$R(x)$", r"$R(\tilde{x})$")
        for axis, title in zip(axes.flat, (*titles, "probabilities"), strict=True):
            axis.set_title(title)
    return figure


def _tops(axis: Axes, before: Tensor, after: Tensor, top_percent: float) -> None:
    """Draw the pixels on top: of the first map only, of the second only, of both; tied ones are left out."""
    first, second = (
        (robustness.top_share(maps[None], top_percent)[0] == 1).reshape(maps.shape).any(0).cpu().numpy()
        for maps in (before, after)
    )
    kinds = np.where(first & second, 3, np.where(second, 2, first.astype(int)))
    axis.imshow(kinds, cmap=ListedColormap(OVERLAP[:4]), vmin=0, vmax=3, interpolation="nearest")
    frame(axis)


def _predictions(axis: Axes, probabilities: Tensor, classes: Sequence[str]) -> None:
    """Draw the probabilities [2, K] before (blue) and after (orange) as bars."""
    places = np.arange(len(classes))
    for shift, row, colour in zip((-0.2, 0.2), probabilities.cpu(), (BLUE, ORANGE), strict=True):
        axis.barh(places + shift, row.numpy(), height=0.4, color=colour)
    axis.set(xlim=(0, 1), xticks=[0, 1])
    axis.set_yticks(places, classes, fontsize=7)
    axis.tick_params(labelsize=7)
    axis.invert_yaxis()
