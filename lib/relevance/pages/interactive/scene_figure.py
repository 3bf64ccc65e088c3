"""The figures of a view: image, attacked image, both maps, their common top pixels, and what is predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relevance.pages.figures.frames import six_panels, tops
from relevance.pages.figures.style import BLUE, ORANGE, heatmap, new_figure, picture
from relevance.pages.interactive.scene import View

SCENE_TITLES = ("image", "attacked image", "its map", "map after the attack", "top pixels")


def scene(view: View, classes: Sequence[str], top_percent: float) -> Figure:
    """Draw a view in a row, as the playground has it.

    Both maps are divided by the largest absolute relevance of the clean one. Top pixels: of the clean map only, of the
    attacked one only, of both.

    Args:
        view: what to draw.
        classes: their names.
        top_percent: share of the pixels that count as relevant, in (0, 100].
    """
    with new_figure(1, 6, (11.4, 2.5)) as (figure, axes):
        _drawn(axes[0], view, classes, top_percent, (*SCENE_TITLES, "probability"))
        axes[0][-1].legend(fontsize=9, loc="lower right")
    return figure


def explained_attack(view: View, classes: Sequence[str], top_percent: float) -> Figure:
    """Draw a view in two rows, as :func:`scene` does in one: small enough for a phone."""
    with six_panels() as (figure, axes):
        titles = ("image", "attacked", "map", "map, attacked", f"top {top_percent:g} %", "probabilities")
        _drawn([*axes[0, :2], *axes[1, :2], *axes[:, 2]], view, classes, top_percent, titles)
        axes[1, 2].set_xticks([0, 1])
        axes[1, 2].tick_params(labelsize=7)
    return figure


def _drawn(
    panels: Sequence[Axes], view: View, classes: Sequence[str], top_percent: float, titles: Sequence[str]
) -> None:
    scale = view.before.sum(0).abs().max().item() or 1.0
    picture(panels[0], view.image)
    picture(panels[1], view.attacked)
    heatmap(panels[2], view.before, scale)
    heatmap(panels[3], view.after, scale)
    tops(panels[4], view.before, view.after, top_percent)
    bars, places = panels[5], np.arange(len(classes))
    both = zip((-0.2, 0.2), view.probabilities.cpu(), (BLUE, ORANGE), ("clean", "attacked"), strict=True)
    for shift, row, colour, name in both:
        bars.barh(places + shift, row.numpy(), height=0.4, color=colour, label=name)
    bars.set_xlim(0, 1)
    bars.set_yticks(places, classes, fontsize=9)
    bars.invert_yaxis()
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
