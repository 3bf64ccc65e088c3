"""The figure of a reader's own posterior: bars as long as the scores, lines where the floors are."""

from __future__ import annotations

import pytest
import torch

from oracles import random_posterior
from relevance.networks import architectures
from relevance.pages import figures
from relevance.pages.figures.style import INK
from relevance.studies.own.scores import scored

FOUND = scored(
    random_posterior(architectures.fully_connected((1, 6, 6), hidden=5, n_classes=3), n_samples=2),
    torch.rand((4, 1, 6, 6), generator=torch.Generator().manual_seed(1), dtype=torch.float64),
    n_steps=2,
)


def test_bars_and_floors_are_those_of_the_table():
    figure = figures.own(FOUND, 1)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["image", "its map", "after noise", "after attack", ""]
    axis = figure.axes[-1]
    assert [bar.get_width() for bar in axis.patches] == FOUND.table["robustness"].tolist()
    floors = [line.get_xdata()[0] for line in axis.lines if line.get_color() == INK and line.get_linewidth() == 2]
    assert floors == FOUND.table["floor"].tolist()


def test_there_must_be_such_an_image():
    with pytest.raises(ValueError, match="index is 4"):
        figures.own(FOUND, 4)
