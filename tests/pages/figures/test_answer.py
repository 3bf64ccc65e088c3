from __future__ import annotations

import pandas as pd

from oracles import made_up_answers
from relevance.pages import figures
from relevance.pages.figures.answer import FILLED


def test_the_figure_has_a_row_for_each_run_and_attack():
    figure = figures.answer(made_up_answers(1, 1))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["FGSM", "PGD"]
    assert len(figure.axes) == 2


def test_no_mark_is_in_the_row_of_a_name():
    axis = figures.answer(made_up_answers(1, 1)).axes[0]
    named = {text.get_position()[1] for text in axis.texts}
    assert named
    assert named.isdisjoint(axis.get_yticks())


def test_a_cell_of_the_grid_is_divided_by_what_its_settings_say():
    settings = pd.DataFrame({
        "item": ["rises"] * 5 + ["is flat"] * 2, "run": ["a"] * 4 + ["b"] * 3,
        "standing": ["higher", "higher", "lower", "undecided", "not judged", "equivalent", "higher"],
        "says": ["higher"] * 5 + ["equivalent"] * 2,
    })  # fmt: skip
    figure = figures.claims_grid(settings, {"a": "MNIST, dense", "b": "other"})
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["2 of 4", "not judged", "1 of 2"]
    widths = [round(bar.get_width() / 0.88, 3) for bar in axis.patches]
    assert widths == [0.5, 0.25, 0.25, 1, 0.5, 0.5]
    hatches = [bar.get_hatch() for bar in axis.patches]
    assert hatches == [None, "///", "....", None, None, "///"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["rises", "is flat"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["MNIST\ndense", "other"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(FILLED)
