"""The figure of a scene: image, attacked image, both maps, their common top pixels, and what is predicted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from relevance.pages.figures.frames import tops
from relevance.pages.figures.style import BLUE, ORANGE, heatmap, new_figure, picture
from relevance.pages.interactive.scene import View

SCENE_TITLES = ("image", "attacked image", "its map", "map after the attack", "top pixels")


def scene(view: View, classes: Sequence[str], top_percent: float) -> Figure:
    """Draw a view of a scene.

    Both maps are divided by the largest absolute relevance of the clean one. Top pixels: of the clean map only, of the
    attacked one only, of both.

    Args:
        view: what to draw.
        classes: their names.
        top_percent: share of the pixels that count as relevant, in (0, 100].
    """
    scale = view.before.sum(0).abs().max().item() or 1.0
    with new_figure(1, 6, (11.4, 2.5)) as (figure, axes):
        panels = axes[0]
        picture(panels[0], view.image)
        picture(panels[1], view.attacked)
        heatmap(panels[2], view.before, scale)
        heatmap(panels[3], view.after, scale)
        tops(panels[4], view.before, view.after, top_percent)
        for panel, title in zip(panels, SCENE_TITLES, strict=False):
            panel.set_title(title)
        bars, places = panels[5], np.arange(len(classes))
        for shift, row, colour, name in zip(
            (-0.2, 0.2), view.probabilities, (BLUE, ORANGE), ("clean", "attacked"), strict=True
        ):
            bars.barh(places + shift, row.cpu().numpy(), height=0.4, color=colour, label=name)
        bars.set_yticks(places, classes, fontsize=7)
        bars.invert_yaxis()
        bars.set_xlim(0, 1)
        bars.set_title("probability")
        bars.legend(fontsize=7, loc="lower right")
    return figure
