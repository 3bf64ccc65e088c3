"""Figures of manipulated photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from relevance.base import checks
from relevance.pages.figures.style import BLUE, GREEN, ORANGE, frame, new_figure, picture
from relevance.studies.dombrowski.manipulation import Case
from relevance.studies.dombrowski.smoothing import AWARE, UNAWARE

COLUMNS = ("its map", "map aimed at", "map, manipulated", "photograph now", "change, 10 times")
TIMES = 10
# Of the values of a map: a few pixels hold so much more than the others that on their scale nothing else is seen.
BRIGHTEST = 0.99


def photographs(cases: Mapping[str, Case], index: int, methods: Sequence[str] = ()) -> Figure:
    """Draw one photograph, a row for each method: three maps, the manipulated photograph, and what was added to it.

    Maps are magnitudes, each up to a value that one in a hundred of its pixels exceeds.

    Args:
        cases: method -> images and maps.
        index: which photograph.
        methods: some of the cases; all if empty.
    """
    cases = {name: cases[checks.one_of("method", name, cases)] for name in methods or cases}
    with new_figure(len(cases), len(COLUMNS), (8.0, 0.3 + 1.55 * len(cases))) as (figure, axes):
        for row, (method, case) in zip(axes, cases.items(), strict=True):
            for axis, maps in zip(row[:3], (case.maps, case.aims, case.reached), strict=True):
                _magnitudes(axis, maps[index])
            picture(row[3], case.found[index])
            picture(row[4], (0.5 + TIMES * (case.found[index] - case.images[index])).clamp(0, 1))
            row[0].set_ylabel(method.replace(" ", "\n", 1))
        for axis, title in zip(axes[0], COLUMNS, strict=True):
            axis.set_title(title)
    return figure


def _magnitudes(axis: Axes, relevance: Tensor) -> None:
    values = relevance.detach().cpu().sum(0)
    axis.imshow(values.numpy(), cmap="magma", vmin=0, vmax=values.flatten().quantile(BRIGHTEST).item() or 1.0)
    frame(axis)


def photographs_defended(rows: pd.DataFrame) -> Figure:
    """Draw how much of a photograph's map is left with each defence: under noise and under two attackers.

    Args:
        rows: of :func:`relevance.studies.dombrowski.smoothing.steadiness`.
    """
    defences = list(rows["defence"].unique())
    with new_figure(1, 1, (6.0, 1.5 + 0.55 * len(defences))) as (figure, axes):
        (axis,) = axes[0]
        kinds = (
            ("noise as large", "noise", AWARE, GREEN, "D"),
            ("attacker does not know", "similarity", UNAWARE, BLUE, "o"),
            ("attacker knows", "similarity", AWARE, ORANGE, "s"),
        )
        for label, column, manipulation, colour, mark in kinds:
            found = rows[rows["manipulation"] == manipulation].groupby("defence")[column].median()
            axis.scatter(found[defences], range(len(defences)), color=colour, marker=mark, s=48, label=label)
        axis.set_yticks(range(len(defences)), defences)
        axis.invert_yaxis()
        axis.set(xlim=(min(-0.03, rows["similarity"].min()), 1.03), xlabel="correlation with the map before")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
