from __future__ import annotations

import numpy as np
import torch

from oracles import PLANTED_ATTRIBUTIONS, straight_curves
from relevance.pages import figures
from relevance.studies.zeng import tables


def test_figures_draw_every_attribution_and_every_share(planted_bits):
    table = straight_curves(random=(0.2, [0, 0.1]), Sobel=(0.2, [0.01, 0.08]), good=(0.8, [0, 0.1]))
    figure = figures.removal_curves(tables.accuracies(table), chance=0.25)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["random", "Sobel", "good"]
    orders = {
        name: PLANTED_ATTRIBUTIONS[name].order(planted_bits.test_images[:1], planted_bits.test_labels[:1])[0]
        for name in PLANTED_ATTRIBUTIONS
    }
    drawn = figures.removals(planted_bits.test_images[0], orders, (0.2, 0.8), torch.tensor([[[0.5]]]))
    assert [axis.get_title() for axis in drawn.axes[:3]] == ["0%", "20%", "80%"]
    shown = np.asarray(drawn.axes[2].images[0].get_array())
    assert (shown == 0.5).sum() == 29
