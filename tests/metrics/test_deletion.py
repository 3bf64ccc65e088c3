from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import MOST
from relevance import metrics
from relevance.networks.posterior import Posterior


def test_deletion_falls_as_computed_by_hand(planted):
    posterior, weights = planted
    images = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    maps = (weights * 0.5).reshape(1, 1, 4, 4)
    shares = [0, 1 / 16, 2 / 16, 3 / 16, 1]
    found = metrics.deletion(posterior, images, torch.tensor([0]), maps, shares, "black")
    wanted = torch.sigmoid(torch.tensor([3.5, 1.5, 0.5, 0.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(found[0], wanted)
    # The mean of the training images takes only what is more than it.
    grey = metrics.deletion(posterior, images, torch.tensor([0]), maps, shares, torch.full((1, 4, 4), 0.25))
    wanted = torch.sigmoid(torch.tensor([3.5, 2.5, 2.0, 1.75, 1.75], dtype=torch.float64))
    torch.testing.assert_close(grey[0], wanted)
    area = metrics.deletion_area(torch.tensor([[1.0, 0.5, 0.0]]), [0, 0.5, 1])
    assert area.item() == pytest.approx(0.5)


@pytest.mark.stochastic
def test_the_true_order_has_the_lowest_area_and_the_reversed_the_highest(planted):
    posterior, weights = planted
    images = torch.rand((20, 1, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.zeros(20, dtype=torch.long)
    truth = images * weights.reshape(1, 4, 4)
    orders = {"true": truth, "random": torch.zeros_like(truth), "reversed": -truth}
    area = {
        name: metrics.deletion_area(metrics.deletion(posterior, images, target, maps, baseline="black", n_orders=30))
        for name, maps in orders.items()
    }
    assert (area["true"] < area["random"]).all()
    assert (area["random"] < area["reversed"]).all()


@pytest.mark.stochastic
def test_a_constant_map_scores_as_the_mean_over_random_orders(planted):
    """Every pixel is as likely to be among the first as any other: by the mean over all choices of 2 of 16 pixels."""
    posterior, weights = planted
    images = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    pairs = torch.combinations(torch.arange(16), 2)
    left = torch.tensor([3.5 - 0.5 * weights[pair].sum().item() for pair in pairs])
    found = metrics.deletion(
        posterior, images, torch.tensor([0]), torch.full_like(images, 7.0), [2 / 16], "black", n_orders=2000
    )
    chances = torch.sigmoid(left)
    error = chances.std(correction=0).item() / 2000**0.5
    assert found.item() == pytest.approx(chances.mean().item(), abs=MOST * error)


@pytest.mark.stochastic
def test_ties_are_broken_at_random_and_the_seed_decides(planted):
    posterior, weights = planted
    images = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    # The three pixels that count tie; one of them goes first.
    maps = (weights > 0).double().reshape(1, 1, 4, 4)
    found = {
        round(metrics.deletion(posterior, images, torch.tensor([0]), maps, [1 / 16], "black", seed=seed).item(), 6)
        for seed in range(50)
    }
    # One of the three is missing from 50 seeds in one of 200 million cases.
    assert found == {round(torch.sigmoid(torch.tensor(3.5 - part)).item(), 6) for part in (2.0, 1.0, 0.5)}
    same = [metrics.deletion(posterior, images, torch.tensor([0]), maps, [1 / 16], seed=1) for _ in range(2)]
    assert torch.equal(*same)


def test_all_channels_of_a_pixel_go_together_and_magnitude_forgets_signs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 2, bias=False)).double()
    posterior = Posterior.of(network)
    images = torch.rand((3, 2, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([0, 1, 0])
    maps = torch.zeros_like(images)
    maps[:, :, 1, 2] = -3.0
    found = metrics.deletion(posterior, images, target, maps, [1 / 16], "black", measure="magnitude")
    without = images.clone()
    without[:, :, 1, 2] = 0
    torch.testing.assert_close(found, posterior.predict(without).gather(1, target[:, None]))
    kept = metrics.deletion(posterior, images, target, maps, [15 / 16], "black")
    only = images - without
    torch.testing.assert_close(kept, posterior.predict(only).gather(1, target[:, None]))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shares": [0, 2]}, "shares is 2"),
        ({"shares": []}, r"shares is \[\]; it must be a list of one or more numbers"),
        ({"measure": "share"}, "magnitude, relevance"),
        ({"n_orders": 0}, "n_orders is 0"),
        ({"maps": torch.zeros(6, 3)}, "maps has shape"),
    ],
)
def test_bad_settings_of_deletion_get_one_sentence(linear, some_images, some_labels, settings, words):
    maps = settings.pop("maps", some_images)
    with pytest.raises(ValueError, match=words):
        metrics.deletion(linear, some_images, some_labels, maps, **settings)
