from __future__ import annotations

from oracles import made_up_answers
from relevance.pages import figures


def test_the_figure_has_a_row_for_each_run_and_attack():
    figure = figures.answer(made_up_answers(1, 1))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["FGSM", "PGD"]
    assert len(figure.axes) == 2
