"""The book in one figure: an image, three models, and what noise and an attack leave of their maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from relevance.attacks.named import NOISE
from relevance.pages.figures.style import INK, VERMILION, colour_of, heatmap, new_figure, picture
from relevance.pages.narrow import PHONE
from relevance.studies.carbone.front import Front
from relevance.studies.experiment import CLEAN
from relevance.studies.names import BAYESIAN

TITLES = ("image", "its map", "after noise", "after the attack")


def front(shown: Front) -> Figure:
    """Draw a row for each model: the image, its map, the map after noise and after an attack, and the scores of all images.

    Maps are divided by the largest absolute relevance of the model's clean map.

    Args:
        shown: of :func:`relevance.studies.carbone.front.front`.
    """
    models = list(shown.maps)
    with new_figure(len(models), 5, (8.1, 0.7 + 1.3 * len(models))) as (figure, axes):
        _placed(
            figure, axes, [(number, column) for number in range(len(models)) for column in range(5)], [1, 1, 1, 1, 2.6]
        )
        for row, (model, maps) in zip(axes, shown.maps.items(), strict=True):
            scale = maps[CLEAN].sum(0).abs().max().item() or 1.0
            picture(row[0], shown.image)
            for axis, kind in zip(row[1:4], (CLEAN, NOISE, shown.attack), strict=True):
                heatmap(axis, maps[kind], scale)
            row[0].set_ylabel(BAYESIAN if model.startswith(BAYESIAN) else model.replace(" ", "\n"))
            _strip(row[4], shown, model)
        for axis, title in zip(axes[0], (*TITLES, "share of the map's top that stays"), strict=True):
            axis.set_title(title)
        for axis in axes[:-1, 4]:
            axis.set_xticklabels([])
        handles = dict(zip(*reversed(axes[0, 4].get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower right", ncols=3)

    def narrow() -> None:
        """Put the scores of a model under its maps."""
        places = [
            (2 * number + (column == 4), column % 4 if column < 4 else slice(None))
            for number in range(len(models))
            for column in range(5)
        ]
        _placed(figure, axes, places, [1, 1, 1, 1], [1, 0.55] * len(models))
        for axis, title in zip(axes[0], ("image", "map", "noise", "attack", ""), strict=True):
            axis.title.set_text(title)
        figure.set_size_inches(PHONE, 0.9 + 1.75 * len(models))

    figure.narrow = narrow  # type: ignore[attr-defined]
    return figure


def _placed(
    figure: Figure, axes: np.ndarray, places: list[tuple[int, Any]], widths: list[float], heights: Any = None
) -> None:
    rows = 1 + max(row for row, _ in places)
    grid = GridSpec(rows, len(widths), figure=figure, width_ratios=widths, height_ratios=heights)
    for axis, place in zip(axes.flat, places, strict=True):
        axis.set_subplotspec(grid[place])


def _strip(axis: Axes, shown: Front, model: str) -> None:
    """Draw the scores of all images under noise, above, and under the attack, below, with the floor of unrelated maps."""
    generator = np.random.default_rng(0)
    rows = shown.scores[shown.scores["model"] == model]
    for height, kind, colour in ((1, NOISE, "0.65"), (0, shown.attack, colour_of(model))):
        some = rows[rows["attack"] == kind]
        spread = height + generator.uniform(-0.22, 0.22, len(some))
        axis.scatter(some["lrp_robustness"], spread, s=7, color=colour, alpha=0.55, linewidths=0)
        mean = some["lrp_robustness"].mean()
        axis.plot([mean, mean], [height - 0.36, height + 0.36], color=INK, linewidth=2, label="mean")
        axis.text(1.03, height, f"{mean:.2f}", transform=axis.get_yaxis_transform(), va="center")
        of_image = some.loc[some["image"] == shown.place, "lrp_robustness"]
        axis.plot(
            of_image, [height], "o", markersize=6, markerfacecolor="none", markeredgecolor=INK, label="this image"
        )
    floor = rows["unrelated_lrp_robustness"].mean()
    axis.axvline(floor, color=VERMILION, linewidth=1.2, linestyle=":", label="unrelated maps")
    axis.set(xlim=(0, 1), ylim=(-0.5, 1.5), xticks=[0, 0.5, 1])
    axis.set_yticks([1, 0], ["noise", "attack"])
    axis.tick_params(axis="y", length=0)
