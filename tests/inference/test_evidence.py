from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from relevance.inference import evidence
from relevance.networks.posterior import Posterior

pytestmark = pytest.mark.stochastic


def test_calibration_compares_confidence_and_accuracy_and_drops_nobody():
    probabilities = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.7, 0.3], [0.38, 0.62], [0.5, 0.5]])
    labels = torch.tensor([0, 1, 0, 1, 0])
    bins = evidence.calibration(probabilities, labels, n_bins=5)
    assert bins["share"].sum() == pytest.approx(1)
    assert bins["confidence"].tolist() == pytest.approx([0.5, 0.66, 1.0])
    assert bins["accuracy"].tolist() == pytest.approx([1.0, 1.0, 0.5])
    wanted = 0.2 * 0.5 + 0.4 * 0.34 + 0.4 * 0.5
    assert evidence.calibration_error(probabilities, labels, n_bins=5) == pytest.approx(wanted)


def test_a_classifier_that_says_how_often_it_is_right_is_calibrated():
    generator = torch.Generator().manual_seed(0)
    right = 0.5 + 0.5 * torch.rand(200_000, generator=generator)
    labels = (torch.rand(200_000, generator=generator) > right).long()
    assert evidence.calibration_error(torch.stack([right, 1 - right], 1), labels) < 0.01
    assert evidence.calibration_error(torch.stack([right**0.2, 1 - right**0.2], 1), labels) > 0.1


def fixed(logits):
    """A posterior whose samples give these logits [S, N, K] on images that are their own numbers, one-hot."""
    n_images = logits.shape[1]
    network = nn.Sequential(nn.Flatten(), nn.Linear(n_images, logits.shape[2], bias=False)).double()
    return Posterior(network, {"1.weight": logits.mT.contiguous()}), torch.eye(n_images).double().reshape(
        -1, 1, 1, n_images
    )


def test_the_table_says_what_it_names():
    ours, images = fixed(torch.tensor([[[2.0, 0], [0, 1.0], [300, 0]], [[1.0, 0], [0, 3.0], [300, 0]]]).double())
    theirs, _ = fixed(torch.tensor([[[0, 1.0], [0, 1.0], [300, 0]]]).double())
    labels = torch.tensor([0, 0, 0])
    ours.record.update(seconds=3.0, diagnostics={"acceptance_rate": 0.8, "rhat": None, "ess": 40.0})
    rows = evidence.table({"ours": ours, "theirs": theirs}, images, labels, reference="theirs")
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    p = np.array([(sigmoid(2) + sigmoid(1)) / 2, (sigmoid(-1) + sigmoid(-3)) / 2, 1.0])
    q = np.array([sigmoid(-1), sigmoid(-1), 1.0])
    row = rows.loc["ours"]
    assert row["samples"] == 2
    assert row["accuracy"] == pytest.approx(2 / 3)
    assert row["NLL"] == pytest.approx(-np.log(p).mean())
    assert row["saturated"] == pytest.approx(1 / 3)
    assert row["agreement"] == pytest.approx(2 / 3)
    assert row["total variation"] == pytest.approx(np.abs(p - q).mean())
    assert (row["acceptance"], row["ESS"], row["seconds"]) == (0.8, 40.0, 3.0)
    assert np.isnan(row["R-hat"])
    assert rows.loc["theirs", "total variation"] == 0
    with pytest.raises(ValueError, match="reference is 'nobody'; it may be one of: ours, theirs"):
        evidence.table({"ours": ours, "theirs": theirs}, images, labels, reference="nobody")
