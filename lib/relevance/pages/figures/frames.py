"""Figures that a reader turns: small enough for a phone, and of one size whatever is chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from torch import Tensor

from relevance.explanations.top import on_top
from relevance.pages.figures.style import OVERLAP, frame, heatmap, new_figure, picture
from relevance.studies.dombrowski.manipulation import Case
from relevance.studies.zeng.retraining import removed


def six_panels() -> AbstractContextManager[tuple[Figure, np.ndarray]]:
    """Give two rows of three panels: every frame has the same ones, so nothing need be laid out anew for each."""
    edges = {"left": 0.02, "right": 0.97, "bottom": 0.07, "top": 0.93, "wspace": 0.16, "hspace": 0.2}
    return new_figure(2, 3, (5.4, 3.9), edges)


def manipulated(case: Case, index: int) -> Figure:
    """Draw one manipulated image: as it was, as it is, the difference; its map, the map aimed at, and the map now.

    Maps are divided by the largest value of the original and the target map; the difference is on the scale of the pixels.

    Args:
        case: one model and one method.
        index: which of its images.
    """
    scale = max(case.maps[index].max().item(), case.aims[index].max().item()) or 1.0
    with six_panels() as (figure, axes):
        picture(axes[0, 0], case.images[index])
        picture(axes[0, 1], case.found[index])
        heatmap(axes[0, 2], case.found[index] - case.images[index], 1.0)
        for axis, maps in zip(axes[1], (case.maps, case.aims, case.reached), strict=True):
            heatmap(axis, maps[index], scale)
        titles = ("image", "manipulated", "difference", "map", "target map", "map, manipulated")
        for axis, title in zip(axes.flat, titles, strict=True):
            axis.set_title(title)
    return figure


def defended(images: Sequence[Tensor], maps: Sequence[Tensor]) -> Figure:
    """Draw an image as it was, as who does not know of a defence manipulated it, and as who knows; under each its map.

    Args:
        images: three, [C, H, W] in [0, 1].
        maps: three, [1, H, W], all divided by the largest value of the first.
    """
    scale = maps[0].abs().max().item() or 1.0
    titles = ("image", "not knowing", "knowing")
    with six_panels() as (figure, axes):
        for (above, below), image, relevance, title in zip(axes.T, images, maps, titles, strict=True):
            picture(above, image)
            heatmap(below, relevance, scale)
            above.set_title(title)
            below.set_title("its map")
    return figure


def holes(image: Tensor, orders: Mapping[str, Tensor], share: float, fill: Tensor) -> Figure:
    """Draw an image without a share of its pixels, a panel for each of at most six rankings.

    Args:
        image: [C, H, W] in [0, 1].
        orders: name of the ranking -> places [1 or C, H, W].
        share: of the pixels, in [0, 1).
        fill: what a removed pixel becomes, as for :func:`relevance.studies.zeng.retraining.removed`.
    """
    edges = {"left": 0.02, "right": 0.97, "bottom": 0.03, "top": 0.89, "wspace": 0.16, "hspace": 0.3}
    with new_figure(2, 3, (5.4, 4.2), edges) as (figure, axes):
        for axis in axes.flat[len(orders) :]:
            axis.set_axis_off()
        for axis, (name, order) in zip(axes.flat, orders.items(), strict=False):
            picture(axis, removed(image[None], order[None], share, fill)[0] if share else image)
            axis.set_title(name.replace(" (", "\n("))
    return figure


def tops(axis: Axes, before: Tensor, after: Tensor, top_percent: float) -> None:
    """Draw the pixels on top: of the first map only, of the second only, of both; tied ones are left out."""
    first, second = (on_top(maps, top_percent).cpu().numpy() for maps in (before, after))
    kinds = np.where(first & second, 3, np.where(second, 2, first.astype(int)))
    axis.imshow(kinds, cmap=ListedColormap(OVERLAP[:4]), vmin=0, vmax=3, interpolation="nearest")
    frame(axis)
