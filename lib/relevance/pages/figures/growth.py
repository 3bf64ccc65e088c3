"""How the cost of a study grows, as a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relevance.pages.figures.style import BLUE, ORANGE, VERMILION, new_figure

AXES = {"samples": "posterior samples", "images": "test images", "width": "width of the layers"}
WORKERS, MEASURED = "workers", "workers, measured"


def growth(table: pd.DataFrame) -> Figure:
    """Draw seconds and memory against each size, with what is in proportion to it, and a study's seconds against workers.

    Args:
        table: ``growth`` of :func:`relevance.studies.records.read`: ``what``, ``value``, ``seconds`` and ``peak memory, MB``.
    """
    with new_figure(2, 2, (8, 6)) as (figure, axes):
        *sized, last = axes.flat
        for axis, (what, label) in zip(sized, AXES.items(), strict=True):
            rows = table[table["what"] == what].sort_values("value")
            _line(axis, rows, "seconds", BLUE, "o", "seconds of processor")
            _line(axis, rows, "peak memory, MB", ORANGE, "s", "MiB beyond the start")
            axis.set(xlabel=label)
        counted = table[table["what"] == WORKERS].sort_values("value")
        _line(last, counted, "seconds", BLUE, "o", "counted from its pieces", downwards=True)
        measured = table[table["what"] == MEASURED]
        last.plot(measured["value"], measured["seconds"], "x", color=VERMILION, markersize=8, label="measured")
        last.set(xlabel="workers", ylabel="seconds of a study")
        for axis in axes.flat:
            axis.set(xscale="log", yscale="log")
            ticks = sorted({float(value) for line in axis.lines for value in np.asarray(line.get_xdata())})
            axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_xticks([], minor=True)
        sized[0].set_ylim(top=sized[0].get_ylim()[1] * 30)
        sized[0].legend(loc="upper left")
        last.legend()
    return figure


def _line(
    axis: Axes, rows: pd.DataFrame, column: str, colour: str, marker: str, label: str, *, downwards: bool = False
) -> None:
    """Draw a column against the sizes, and dotted what is in proportion to them, through the last (of workers: the first)."""
    values, found = rows["value"].to_numpy(float), rows[column].to_numpy(float)
    axis.plot(values, found, f"{marker}-", color=colour, markersize=4, label=label)
    straight = found[0] * values[0] / values if downwards else found[-1] * values / values[-1]
    axis.plot(values, straight, ":", color=colour, linewidth=1)
