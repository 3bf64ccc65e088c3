"""A posterior's map of an image, after noise and after an attack, and the scores of all images beside the floor."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.pages.figures.style import BLUE, INK, STYLE, VERMILION, heatmap, picture
from relevance.pages.narrow import PHONE
from relevance.pages.vector import BookFigure
from relevance.studies.own.scores import ATTACKED, Scored

SIZE = (5.4, 4.1)


def own(found: Scored, index: int = 0) -> Figure:
    """Draw an image and its map, the maps after noise and after the attack, and the mean scores with their floors.

    Args:
        found: of a posterior and its images.
        index: which image is shown.

    Raises:
        ValueError: there is no such image.
    """
    checks.count("index", index, at_least=0, at_most=len(found.images) - 1)
    maps = {"its map": found.before, "after noise": found.after[NOISE], "after attack": found.after[ATTACKED]}
    scale = float(found.before[index].sum(0).abs().max()) or 1.0
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=SIZE, layout="constrained", FigureClass=BookFigure)
        panels = figure.subplot_mosaic([["image", *maps], ["scores"] * 4], height_ratios=[1.15, 1])
        picture(panels["image"], found.images[index])
        panels["image"].set_title("image")
        for title, values in maps.items():
            heatmap(panels[title], values[index].clamp(-scale, scale), scale)
            panels[title].set_title(title)
        axis, table = panels["scores"], found.table
        for place, (name, colour) in enumerate(((ATTACKED, VERMILION), (NOISE, BLUE))):
            row = table.loc[name]
            axis.barh(place, row["robustness"], xerr=row["standard error"], color=colour, height=0.55)
            axis.plot([row["floor"]] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=2)
            axis.annotate("unrelated maps", (row["floor"], 1.42), ha="center", va="bottom") if name == NOISE else None
        axis.set_yticks([0, 1], ["attack", "noise"])
        axis.set_xlim(0, 1)
        axis.set_ylim(-0.5, 1.9)
        axis.set_xlabel("share of the top pixels that stay on top")
        plt.close(figure)
    figure.narrow = lambda: figure.set_size_inches(PHONE, 3.6)  # type: ignore[attr-defined]
    return figure
