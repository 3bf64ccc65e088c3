"""Figures of photographs: what is drawn in which panel, and where dots lie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from oracles import random_posterior
from relevance.networks import architectures
from relevance.pages.figures import photographs, photographs_defended
from relevance.studies.dombrowski.manipulation import Case
from relevance.studies.dombrowski.smoothing import AWARE, UNAWARE


def test_a_row_for_each_method_with_its_maps_and_what_was_added():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((2, 3, 8, 8), generator=generator)
    maps, aims, reached = (torch.rand((2, 1, 8, 8), generator=generator) for _ in range(3))
    posterior = random_posterior(architectures.fully_connected((3, 8, 8), hidden=3, n_classes=3), n_samples=1)
    found = (images + 0.02).clamp(0, 1)
    case = Case(posterior, torch.tensor([0, 1]), images, found, found, maps, aims, reached, maps, 20)
    figure = photographs({"LRP": case, "gradient": case}, 1)
    assert len(figure.axes) == 10
    drawn = [axis.get_images()[0].get_array() for axis in figure.axes[:5]]
    for array, wanted in zip(drawn[:3], (maps, aims, reached), strict=True):
        np.testing.assert_allclose(array, wanted[1, 0])
    np.testing.assert_allclose(drawn[3], found[1].permute(1, 2, 0))
    assert 0 <= drawn[4].min() <= drawn[4].max() <= 1
    np.testing.assert_allclose(drawn[4].max(), 0.7, atol=1e-5)
    assert [axis.get_title() for axis in figure.axes[:5]][1] == "map aimed at"
    assert figure.axes[0].get_ylabel() == "LRP"


def test_dots_are_medians_of_each_defence():
    rows = pd.DataFrame(
        {
            "defence": ["none", "none", "softplus", "softplus"] * 2,
            "manipulation": [UNAWARE] * 4 + [AWARE] * 4,
            "similarity": [0.1, 0.3, 0.5, 0.7, 0.0, 0.2, 0.4, 0.8],
            "noise": [0.9, 0.9, 0.9, 0.9, 0.8, 0.6, 0.9, 0.7],
        }
    )
    (axis,) = photographs_defended(rows).axes
    noise, unaware, aware = (dots.get_offsets() for dots in axis.collections)
    np.testing.assert_allclose(noise, [[0.7, 0], [0.8, 1]])
    np.testing.assert_allclose(unaware, [[0.2, 0], [0.6, 1]])
    np.testing.assert_allclose(aware, [[0.1, 0], [0.6, 1]])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["none", "softplus"]
