from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from oracles import random_posterior
from relevance.inference import evidence
from relevance.inference.line import Line
from relevance.networks import architectures
from relevance.pages import figures
from relevance.studies.carbone import geometry

pytestmark = pytest.mark.stochastic


def test_reliability_has_a_panel_for_each_posterior(tiny_data):
    posteriors = {
        name: random_posterior(architectures.fully_connected((1, 4, 4), 5, 3), 2, seed)
        for seed, name in enumerate("ab")
    }
    images, labels = tiny_data.test_images.double(), tiny_data.test_labels
    bins = {name: evidence.calibration(one.predict(images), labels, 10) for name, one in posteriors.items()}
    figure = figures.reliability(bins)
    assert [axis.get_title() for axis in figure.axes[:2]] == ["a", "b"]
    wanted = bins["a"]
    points = figure.axes[0].collections[0]
    assert np.allclose(points.get_offsets()[:, 1], wanted["accuracy"])
    assert np.allclose(points.get_sizes(), 6 + 300 * wanted["share"])


def test_averages_and_what_survives_are_drawn_as_they_are():
    rows = pd.DataFrame({"part": ["tangent"] * 2, "n_samples": [1, 4], "kept": [1.0, 0.9], "independent": [1.0, 0.5]})
    drawn = figures.averaging({"a": rows, "b": rows})
    assert [list(line.get_ydata()) for line in drawn.axes[0].lines] == [[1.0, 0.9], [1.0, 0.5]]
    parts = [geometry.ALONG, geometry.OUTSIDE]
    case = {"manifold": "sphere", "method": "hmc", "training points": 50, "width": 16}
    for part, value in zip(parts, (0.9, 0.0), strict=True):
        case |= {part: value, f"{part}, low": value - 0.1, f"{part}, high": value + 0.1}
    sweep = pd.DataFrame([case])
    (axis,) = figures.survival(sweep, parts).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["HMC, 50 points,\nwidth 16"]
    assert sorted(line.get_xdata()[0] for line in axis.lines if line.get_marker() in "os") == [0.0, 0.9]


def test_the_figure_has_a_panel_for_each_algorithm():
    line = Line()
    figure = figures.known_posterior(
        *line.exact(), {"a": torch.zeros(5, 2), "b": torch.ones(5, 2)}, ("slope", "intercept")
    )
    assert [axis.get_title() for axis in figure.axes] == ["a", "b"]
    assert len(figure.axes[0].lines) == 2
    with pytest.raises(ValueError, match="noise is 0"):
        Line(noise=0)
