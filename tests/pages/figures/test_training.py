from __future__ import annotations

from oracles import planted_joint
from relevance.pages import figures
from relevance.pages.figures import style


def test_every_model_has_a_mark_and_the_best_known_have_their_colours():
    rows = planted_joint().rename(index={"a": "HMC", "b": "PGD-l2 1", "c": "ensemble of PGD-l2 1", "d": "ensemble"})
    figure = figures.steady_and_true(rows)
    marks = {line.get_label(): line for line in figure.axes[0].lines if line.get_marker() in "osD^"}
    assert set(marks) == {
        "standard training", "posterior", "trained under attack", "ensemble of these", "ensemble of standard networks",
        "other defences",
    }  # fmt: skip
    assert marks["posterior"].get_color() == style.MODELS["Bayesian"]
    assert marks["posterior"].get_xydata()[0].tolist() == [rows.loc["HMC", "LRP under top-k"], rows.loc["HMC", "ROAR"]]
    # Others have their name in the legend.
    assert {text.get_text() for text in figure.axes[0].texts} == {"HMC", "e"}
