from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from relevance.pages import figures
from relevance.studies.carbone.picture import REPORTED


@pytest.fixture
def seen():
    generator = np.random.default_rng(0)
    parts = []
    for title in ("as described", "released"):
        for recipe in ("SGD", "HMC"):
            frozen = (np.arange(30) < 12) & (recipe == "HMC") & (title == "released")
            scores = np.where(frozen, 1.0, generator.uniform(0.3, 0.7, 30))
            parts.append(pd.DataFrame({
                "column": title, "recipe": recipe, "lrp_robustness": scores, "unrelated_lrp_robustness": 0.3,
                "softmax_robustness": np.where(frozen, 1.0, generator.random(30)), "mean_change": np.where(frozen, 0.0, 1.0),
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_three_columns_have_words_scores_and_correlations(seen):
    figure = figures.three_columns(seen)
    axes = np.array(figure.axes).reshape(2, 3)
    said = " ".join(text.get_text() for axis in axes[:, 0] for text in axis.texts)
    for title, told in REPORTED.items():
        assert title in said
        assert told[0].split()[0] in said
    assert [axis.get_title() for axis in axes[0, 1:]] == ["as described", "released"]
    means = seen.groupby(["column", "recipe"])["lrp_robustness"].mean()
    shown = [text.get_text() for text in axes[0, 2].texts]
    assert shown == [f"{means['released', name]:.2f}" for name in ("SGD", "HMC")]
    # What did not move has a mark of its own, where there is any.
    assert len(axes[1, 1].collections) == 2
    assert [len(drawn.get_offsets()) for drawn in axes[1, 2].collections] == [30, 18, 12]
    assert axes[1, 2].texts[0].get_text().count("rho") == 2
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["mean", "unrelated maps", "SGD", "Bayesian", "Bayesian, gradient of zero"]


def test_a_masked_gradient_has_a_line_for_each_group():
    rows = pd.DataFrame({
        "group": ["masked", "masked", "not masked", "not masked"], "distance": [0.0, 0.1] * 2, "images": [3, 3, 7, 7],
        "loss": [0.0, 50.0, 20.0, 80.0], "no gradient": [1.0, 0.0, 0.0, 0.0], "wrong": [0.0, 1.0, 0.5, 1.0],
    })  # fmt: skip
    figure = figures.masked_gradient(rows)
    assert [axis.get_title() for axis in figure.axes] == [
        "cross-entropy (nats)", "share with a gradient of zero", "share predicted wrongly",
    ]  # fmt: skip
    for axis, column in zip(figure.axes, ("loss", "no gradient", "wrong"), strict=True):
        assert [list(line.get_ydata()) for line in axis.lines] == [rows[column][:2].tolist(), rows[column][2:].tolist()]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["masked (3 images)", "not masked (7 images)"]
    assert len(figures.masked_gradient(rows[:2]).axes[0].lines) == 1
