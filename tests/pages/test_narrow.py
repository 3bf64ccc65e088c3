"""The same figures for a phone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from matplotlib.lines import Line2D

from relevance.pages.figures.faithfulness import label_marks
from relevance.pages.figures.style import heatmap, new_figure, picture
from relevance.pages.narrow import PHONE, narrowed


def boxes(figure):
    figure.draw_without_rendering()
    return [axis.get_window_extent() for axis in figure.axes]


def test_plots_stand_below_one_another_and_say_what_only_the_edges_said():
    with new_figure(2, 2, (8, 4)) as (figure, axes):
        for row, name in zip(axes, ("above", "below"), strict=True):
            for axis in row:
                axis.plot([0, 1], [0, 1])
            row[0].set_ylabel(name)
            row[0].set_yticks([0, 1], ["low", "high"])
            row[1].set_yticks([0, 1], ["", ""])
        for axis, title in zip(axes[0], ("left", "right"), strict=True):
            axis.set_title(title)
        handles = [axes[0, 0].plot([], [], label=name)[0] for name in ("one model", "another model", "a third model")]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    assert narrowed(figure)
    assert figure.get_size_inches()[0] == PHONE
    found = boxes(figure)
    assert all(over.y0 > under.y1 for over, under in pairwise(found))
    assert [axis.get_title() for axis in figure.axes] == ["left", "right"] * 2
    assert [axis.get_ylabel() for axis in figure.axes] == ["above", "above", "below", "below"]
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == ["low", "high"]
    (legend,) = figure.legends
    assert legend.get_window_extent().width < figure.bbox.width


@pytest.mark.parametrize("titled", [True, False])
def test_pictures_stand_three_in_a_row(titled):
    with new_figure(2, 4, (8, 4)) as (figure, axes):
        for number, axis in enumerate(axes.flat):
            drawn = heatmap(axis, torch.randn(1, 4, 4), 1.0)
            if titled or number < 4:
                axis.set_title(str(number))
        axes[0, 0].set_ylabel("image")
        axes[1, 3].set_axis_off()
        figure.colorbar(drawn, ax=axes, location="bottom")
    assert narrowed(figure)
    found = boxes(figure)
    scale = found.pop()  # below all of them
    rows: dict[int, list[str]] = {}
    for axis, box in zip(figure.axes, found, strict=False):
        rows.setdefault(round(box.y0 / 5), []).append(axis.get_title())
    in_order = [rows[height] for height in sorted(rows, reverse=True)]
    if titled:
        assert in_order == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    else:
        assert in_order == [["0", "1", "2"], ["", "", ""], ["3"]]
        assert figure.axes[3].get_ylabel() == "image"
    assert all(box.y0 > scale.y1 for box in found)


def test_what_is_small_stays_and_a_figure_may_know_better():
    with new_figure(1, 1, (PHONE, 2)) as (figure, axes):
        picture(axes[0, 0], torch.rand(1, 4, 4))
    assert not narrowed(figure)
    with new_figure(1, 2, (8, 2)) as (figure, _):
        figure.narrow = lambda: figure.set_size_inches(PHONE, 1)
    assert narrowed(figure)
    assert list(figure.get_size_inches()) == [PHONE, 1]


def test_there_is_room_for_lines_that_are_broken():
    with new_figure(1, 3, (6, 3)) as (figure, axes):
        for axis, name in zip(axes[0], ("first", "second", "third"), strict=True):
            drawn = heatmap(axis, torch.randn(1, 4, 4), 1.0)
            axis.set_title(f"the {name} of three titles")
            axis.plot([], [], label=f"the {name} of three long labels")
        figure.colorbar(drawn, ax=axes, location="bottom")
        figure.legend(loc="outside lower center", ncols=3)
    assert narrowed(figure)
    figure.draw_without_rendering()
    for axis in figure.axes[:3]:
        title, picture = axis.title.get_window_extent(), axis.get_window_extent()
        assert picture.y1 < title.y0 < title.y1 <= figure.bbox.y1
        assert picture.width > 0.25 * figure.bbox.width


def test_the_legend_of_marks_with_intervals_keeps_the_marks():
    with new_figure(1, 2, (9, 3)) as (figure, axes):
        axes[0, 0].errorbar([1, 2], [1, 2], xerr=[0.1, 0.1], fmt="s", label="mean")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center")
    assert narrowed(figure)
    (legend,) = figure.legends
    assert "s" in [line.get_marker() for line in legend.findobj(Line2D)]


def test_labels_of_marks_are_placed_anew():
    with new_figure(1, 1, (9, 6)) as (figure, axes):
        places = [(0.5 + 0.004 * at, 0.5 + 0.004 * at, str(at), "black") for at in range(6)]
        places += [(0, 0, "", "black"), (1, 1, "", "black")]
        axes[0, 0].plot(*zip(*[place[:2] for place in places], strict=True), "o")
        label_marks(axes[0, 0], places)
    assert narrowed(figure)
    figure.canvas.draw()
    found = [text.get_window_extent() for text in axes[0, 0].texts]
    assert len(found) == 6
    assert not any(one.overlaps(other) for at, one in enumerate(found) for other in found[:at])
