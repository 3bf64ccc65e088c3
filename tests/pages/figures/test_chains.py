from __future__ import annotations

import math

import numpy as np
import pandas as pd

from relevance.pages import figures


def test_the_swing_is_drawn_with_its_cosine_and_the_protocols():
    rows = pd.DataFrame({"length": [0.5, 2.0], "measured": [0.9, -0.4]})
    (axis,) = figures.autocorrelation(rows, {"short": 0.1}).axes
    cosine, measured, marked = axis.lines[:3]
    assert np.allclose(cosine.get_ydata(), np.cos(cosine.get_xdata()))
    assert list(measured.get_ydata()) == [0.9, -0.4]
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (0.1, math.cos(0.1))


def test_a_certificate_is_drawn_beside_its_limits():
    rows = pd.DataFrame({"R-hat": [1.2, 0.999], "ESS": [30.0, 500.0]}, index=["margin", "energy"])
    left, right = figures.certificates({"one": rows}).axes
    assert np.allclose(left.lines[0].get_xdata(), [0.2, 1e-3])
    assert list(right.lines[0].get_xdata()) == [30.0, 500.0]
    assert np.allclose([line.get_xdata()[0] for line in left.lines[1:]], [0.01, 0.05])
    assert [line.get_xdata()[0] for line in right.lines[1:]] == [400, 100]
    assert [label.get_text() for label in left.get_yticklabels()] == ["margin", "energy"]
