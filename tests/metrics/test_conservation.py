from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance import explanations
from relevance.explanations.rules import Epsilon
from relevance.metrics.conservation import agreement, conservation, fidelity
from relevance.networks.posterior import Posterior


def test_fidelity_measures_sum_and_likeness(dense_posterior, some_images, some_labels):
    one = dense_posterior[0]
    found = fidelity(one, some_images, some_labels, {"0": Epsilon(1e-12), "9": Epsilon(9.0)})
    assert found.loc["0", "correlation with gradient x input"] == pytest.approx(1)
    assert found.loc["9", "correlation with gradient x input"] < 0.999
    maps = explanations.lrp(one, some_images, some_labels, rule=Epsilon(9.0)).flatten(1).sum(1)
    logits = one.logits(some_images)[0].gather(1, some_labels[:, None]).squeeze(1)
    assert found.loc["9", "sum of map / logit"] == pytest.approx((maps / logits).median().item())


def test_conservation_adds_up(dense_posterior, some_images, some_labels):
    rules = {"small": Epsilon(1e-9), "large": Epsilon(5.0)}
    rows = conservation(dense_posterior, some_images, some_labels, rules)
    assert list(rows.columns) == ["arrives at the pixels", *(f"kept by layer {k}" for k in (1, 3, 5))]
    assert torch.allclose(torch.tensor(rows.sum(axis=1).to_numpy()), torch.ones(2).double(), atol=1e-9)
    maps = explanations.lrp(dense_posterior, some_images, some_labels, rule=Epsilon(5.0))
    logits = dense_posterior.logits(some_images).mean(0).gather(1, some_labels[:, None])
    assert rows.loc["large", "arrives at the pixels"] == pytest.approx((maps.sum() / logits.sum()).item())


def test_agreement_is_the_overlap_of_top_pixels():
    reference = torch.zeros(2, 1, 2, 5)
    reference[:, :, 0] = torch.arange(5.0) + 1
    half = reference.clone()
    half[:, :, 0, 3:] = 0
    half[:, :, 1, 3:] = -torch.tensor([9.0, 8.0])
    rows = agreement({"ours": reference, "same": 2 * reference, "half": half}, "ours", 20)
    assert list(rows.index) == ["same", "half"]
    assert rows.loc["same", "overlap"] == 1
    assert rows.loc["half", "overlap"] == 0  # its top two are elsewhere
    assert rows.loc["half", "negative share"] == pytest.approx(17 / 23)
    with pytest.raises(ValueError, match="reference is 'theirs'; it may be one of"):
        agreement({"ours": reference}, "theirs", 20)


def test_where_nothing_is_handed_in_there_are_no_shares():
    """As a network that ends with a ReLU may give, such as SqueezeNet."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.ReLU()).double()
    with torch.no_grad():
        network[1].bias.fill_(-100)
    images, target = torch.rand(2, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1])
    table = conservation(Posterior.of(network), images, target, {"epsilon": Epsilon(0.1)})
    assert table.isna().all().all()
