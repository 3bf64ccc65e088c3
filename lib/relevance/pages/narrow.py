"""The same figure for a phone: drawn anew, a panel a row, rather than shrunk."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

PHONE = 3.55  # inches: 341 pixels, what a figure has on a phone of 390
LETTERS = 49  # of the smallest type in a line of that width
UP = 9  # letters to an inch of an axis
PICTURES = 3  # side by side
LINE = 0.17  # inches


def narrowed(figure: Figure) -> bool:
    """Lay a figure out anew for a phone, in place, and say whether it was wider than that.

    Plots stand below one another; pictures stand three in a row, in the order of their columns. What only the panels at the edges
    said, the names of rows and columns, is said where it would be missed. A figure with a ``narrow`` of its own, which is called
    instead, is laid out by that; one with a ``settle`` has it called at the end.
    """
    width, height = figure.get_size_inches()
    if width <= PHONE * 1.1:
        return False
    if own := getattr(figure, "narrow", None):
        own()
    else:
        grid = _grid(figure)
        if not grid:
            return False
        if any(axis.images for row in grid for axis in row):
            _pictures(figure, grid, (height / len(grid)) / (width / max(map(len, grid))))
        else:
            _plots(figure, grid, height / len(grid))
    _wrapped(figure)
    if any(axis.images for axis in figure.axes):
        figure.set_layout_engine("compressed")  # pictures keep their shape, and titles stand by them
        figure.draw_without_rendering()
    if settle := getattr(figure, "settle", None):  # what depends on where all the rest is
        settle()
    return True


def _grid(figure: Figure) -> list[list[Axes]]:
    """Return the panels row by row, without those that are switched off."""
    places: dict[int, list[tuple[int, Axes]]] = {}
    for axis in figure.axes:
        place = axis.get_subplotspec()
        if place is None or hasattr(axis, "_colorbar_info"):
            continue
        if not axis.axison:
            axis.remove()
            continue
        places.setdefault(place.rowspan.start, []).append((place.colspan.start, axis))
    return [[axis for _, axis in sorted(row, key=lambda one: one[0])] for _, row in sorted(places.items())]


def _plots(figure: Figure, grid: Sequence[Sequence[Axes]], height: float) -> None:
    titles = [axis.get_title() for axis in grid[0]]
    panels = [axis for row in grid for axis in row]
    for row in grid:
        first = row[0]
        labels = [tick.get_text() for tick in first.get_yticklabels()]
        for axis in row[1:]:
            # Labels that the first panel alone shows.
            if any(labels) and not any(tick.get_text() for tick in axis.get_yticklabels()):
                axis.set_yticks(first.get_yticks(), labels)
            axis.set_ylabel(axis.get_ylabel() or first.get_ylabel())
        if row is not grid[0]:
            for axis, title in zip(row, titles, strict=False):
                axis.title.set_text(axis.get_title() or title)
    _rows(figure, [[axis] for axis in panels], max(height, 1.5) * len(panels))


def _pictures(figure: Figure, grid: Sequence[Sequence[Axes]], shape: float) -> None:
    """Put pictures of one ``shape``, height over width, three in a row; each column stays together where columns have titles."""
    if all(axis.get_title() for row in grid for axis in row):
        grid = [[axis for row in grid for axis in row]]
    columns = max(map(len, grid))
    beside = min(columns, PICTURES)
    parts: list[list[Axes]] = []
    for left in range(0, columns, beside):
        for row in grid:
            part = list(row[left : left + beside])
            if part:
                part[0].set_ylabel(part[0].get_ylabel() or row[0].get_ylabel())
                parts.append(part)
    panel = (PHONE - 0.3) / beside
    _rows(figure, parts, len(parts) * panel * shape)


def _rows(figure: Figure, rows: Sequence[Sequence[Axes]], height: float) -> None:
    """Put panels into rows of their own."""
    columns = max(map(len, rows))
    places: Any = GridSpec(len(rows), columns, figure=figure)
    for number, row in enumerate(rows):
        for column, axis in enumerate(row):
            axis.set_subplotspec(places[number, column] if len(row) > 1 or columns > 1 else places[number, 0])
    panels = [axis for row in rows for axis in row]
    for axis in figure.axes:
        if held := getattr(axis, "_colorbar_info", None):  # a scale stands below all of them
            held["parents"] = panels
    figure.set_size_inches(PHONE, height + 0.4)


def _wrapped(figure: Figure) -> None:
    """Break what is longer than its panel is wide, and make room for the lines that this makes."""
    for text in (figure._suptitle, figure._supxlabel, figure._supylabel):  # type: ignore[attr-defined]
        if text is not None:
            text.set_text(textwrap.fill(text.get_text(), LETTERS - 6))
    more: dict[tuple[str, int], int] = {}
    for axis in figure.axes:
        place = axis.get_subplotspec()
        beside = place.get_gridspec().ncols if place is not None else 1
        for kind, text in (("title", axis.title), ("label", axis.xaxis.label)):
            if "$" not in text.get_text():
                text.set_text(textwrap.fill(text.get_text(), max(8, LETTERS // beside - 4)))
            row = kind, place.rowspan.start if place is not None else -1
            more[row] = max(more.get(row, 0), text.get_text().count("\n"))
        if place is not None:
            inches = figure.get_figheight() / place.get_gridspec().nrows
            axis.set_ylabel(textwrap.fill(axis.get_ylabel(), max(8, int(UP * inches)), break_long_words=False))
    for legend in list(figure.legends):
        names = [text.get_text() for text in legend.get_texts()]
        fitting = min(len(names), max(1, (LETTERS - 4) // (max(map(len, names), default=1) + 7)))
        side: Any = f"outside {getattr(legend, '_outside_loc', None) or 'lower'} center"
        # What a legend drew of a mark with an interval has lost the mark; the panels have it whole.
        whole = {
            name: drawn for axis in figure.axes for drawn, name in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        handles: Any = [whole.get(name, drawn) for name, drawn in zip(names, legend.legend_handles, strict=True)]
        more["legend", len(more)] = math.ceil(len(names) / fitting) - 1
        legend.remove()
        figure.legend(handles, names, loc=side, ncols=fitting, frameon=False, fontsize=9)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + LINE * sum(more.values()))
