from __future__ import annotations

import torch

from relevance import metrics


def test_black_on_black_deletes_nothing_and_the_mean_does(planted):
    posterior, weights = planted
    images = torch.zeros((1, 1, 4, 4), dtype=torch.float64)
    maps, target = weights.reshape(1, 1, 4, 4), torch.tensor([0])
    unmoved = metrics.deletion(posterior, images, target, maps, baseline="black")
    assert (unmoved == unmoved[:, :1]).all()
    moved = metrics.deletion(posterior, images, target, maps, baseline=torch.full((1, 4, 4), 0.5))
    assert (moved[:, 1:] > moved[:, :1]).all()
