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

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
COLOURS = [BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY]
HEATMAP = "RdBu_r"
OVERLAP = ["white", SKY, ORANGE, "#222222", "0.8"]  # neither, before only, after only, both, tied
STYLE: Any = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlepad": 6,
    "legend.frameon": False,
    "svg.hashsalt": "resilient-relevance",
}


def _sharp_in_notebooks() -> None:
    """Have notebooks show figures at twice the resolution, so that they are sharp on small and on dense screens."""
    from IPython import get_ipython

    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")


_sharp_in_notebooks()


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
            figsize=size,
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
