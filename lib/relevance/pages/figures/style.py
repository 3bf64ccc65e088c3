"""What all figures have in common: colours, type, and how pictures and maps are drawn.

Heatmaps are diverging and centred on zero. Colours of categories are those of Okabe and Ito, which colour-blind readers
can tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor

from relevance.pages.vector import PAGE, BookFigure
from relevance.studies import names

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY]
INK, PAPER = "#000000", "#ffffff"  # which follow the page's theme
# A model has one colour throughout the book.
MODELS = {
    names.DETERMINISTIC: "0.45",
    names.MAP: SKY,
    names.MAP_ENSEMBLE: GREEN,
    names.ADVERSARIAL: ORANGE,
    names.BAYESIAN: BLUE,
}
HEATMAP = "RdBu_r"
OVERLAP = ["white", SKY, ORANGE, "#222222", "0.8"]  # neither, before only, after only, both, tied
STYLE: Any = {
    "figure.facecolor": PAPER,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "DejaVu Sans",
    # Nothing is smaller than 9 points, as printed.
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlepad": 6,
    "legend.fontsize": 9,
    "legend.frameon": False,
}


def colour_of(model: str, other: str = PURPLE) -> str:
    """Return the colour of a model, such as ``"Bayesian, 100"``; that of the others where it is none of the book's."""
    return next((colour for name, colour in MODELS.items() if model == name or model.startswith(f"{name},")), other)


@contextmanager
def new_figure(
    rows: int, columns: int, size: tuple[float, float], edges: Mapping[str, float] | None = None
) -> Iterator[tuple[Figure, np.ndarray]]:
    """Give a figure in the book's style, and close it, so that a notebook shows it once: as the value of a cell.

    Its panels are laid out by what they hold, or, in half of the time, between ``edges``, as matplotlib's subplots take them.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(min(size[0], PAGE), size[1]),
            FigureClass=BookFigure,
            squeeze=False,
            layout=None if edges else "constrained",
            gridspec_kw=dict(edges or {}),
        )
        yield figure, axes
        plt.close(figure)


def picture(axis: Axes, image: Tensor) -> None:
    """Draw an image [C, H, W] in [0, 1]; one channel as ink on paper."""
    pixels = image.detach().cpu().numpy()
    if len(pixels) == 3:
        axis.imshow(pixels.transpose(1, 2, 0), interpolation="nearest")
    else:
        axis.imshow(pixels[0], cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    frame(axis)


def frame(axis: Axes) -> None:
    """Frame a picture lightly, without ticks."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_color("0.8")


def heatmap(axis: Axes, relevance: Tensor, scale: float) -> Any:
    """Draw a map [C, H, W], its channels summed, in units of ``scale``."""
    values = relevance.detach().cpu().sum(0).numpy() / scale
    drawn = axis.imshow(values, cmap=HEATMAP, norm=TwoSlopeNorm(0, -1, 1), interpolation="nearest")
    frame(axis)
    return drawn
