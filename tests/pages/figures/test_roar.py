from __future__ import annotations

from oracles import straight_curves
from relevance.pages import figures
from relevance.pages.figures import style
from relevance.studies.zeng import tables


def test_the_figure_draws_every_attribution_and_models_in_their_colours():
    table = straight_curves(random=(0.2, [0, 0.1]), Sobel=(0.2, [0.01, 0.08]), good=(0.8, [0, 0.1]))
    figure = figures.removal_curves(tables.accuracies(table), chance=0.25)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["random", "Sobel", "good"]
    table = straight_curves(**{"LRP (deterministic)": (0.2, [0, 0.1]), "gradient (Bayesian)": (0.8, [0, 0.1])})
    figure = figures.removal_curves(tables.accuracies(table))
    assert figure.axes[0].containers[1][0].get_color() == style.MODELS["Bayesian"]
    assert figure.axes[0].containers[0][0].get_color() not in style.MODELS.values()
