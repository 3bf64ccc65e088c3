from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch.nn import functional

from relevance import explanations
from relevance.networks.posterior import Posterior
from relevance.pages import figures
from relevance.studies.dombrowski import theorem_2, theorem_2_deep


def one_hidden_layer(seed=0):
    network = theorem_2_deep.dense((1, 2, 2), hidden=5, n_classes=3, depth=1)
    generator = torch.Generator().manual_seed(seed)
    samples = {
        name: 2 * torch.randn((1, *value.shape), generator=generator) for name, value in network.named_parameters()
    }
    return Posterior(network, samples)


@pytest.mark.stochastic
def test_one_hidden_layer_is_smoothed_exactly_by_a_beta_for_each_neuron():
    posterior, images = one_hidden_layer(), torch.rand((6, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    rows = theorem_2_deep.exact_noise(posterior, images, torch.tensor([0, 1, 2, 0, 1, 2]), 5.0)
    assert rows.loc[theorem_2_deep.EACH, "in standard errors"] < 4.5
    assert rows.loc[theorem_2_deep.ONE, "in standard errors"] > 20
    assert rows.loc[theorem_2_deep.EACH, "error of the maps"] < 1e-3 < rows.loc[theorem_2_deep.ONE, "error of the maps"]


def test_a_beta_for_each_neuron_is_the_same_beta_where_all_weights_are_as_long():
    posterior, images = one_hidden_layer(), torch.rand((4, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    target = torch.tensor([0, 1, 2, 0])
    weight = posterior.samples["1.weight"]
    even = Posterior(posterior.network, {**posterior.samples, "1.weight": 3 * functional.normalize(weight, dim=2)})
    wanted = explanations.gradient(explanations.softened(even, 4.0), images, target)
    torch.testing.assert_close(theorem_2_deep.each_its_beta(even, images, target, 12.0), wanted)


def test_very_sharp_smoothing_of_deep_networks_is_the_gradient(relu_posterior):
    images = torch.rand((4, 1, 3, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = torch.tensor([0, 1, 2, 0])
    wanted = explanations.gradient(relu_posterior, images, target)
    torch.testing.assert_close(theorem_2_deep.each_its_beta(relu_posterior, images, target, 1e6), wanted)


@pytest.mark.stochastic
def test_the_comparison_knows_what_chance_allows():
    posterior, images = one_hidden_layer(), torch.rand((6, 1, 2, 2), generator=torch.Generator().manual_seed(1))
    rows = theorem_2_deep.compare(
        {"one": posterior}, images, torch.zeros(6, dtype=torch.int64), [2.0, 20.0], n_noise=200
    )
    assert len(rows) == 6
    by_case = rows.set_index(["beta", "smoothing"])["error"]
    for beta in (2.0, 20.0):
        assert by_case[beta, theorem_2_deep.EACH] < by_case[beta, theorem_2_deep.ONE]
    chance = rows.loc[rows["smoothing"] == theorem_2_deep.EACH, "error by chance"]
    assert (by_case.xs(theorem_2_deep.EACH, level="smoothing").to_numpy() < 10 * chance.to_numpy() + 1e-3).all()
    assert len(figures.smoothing_depth(rows).axes) == 1
    assert len(figures.smoothing_curve(theorem_2.gaussian_curve(1.0)).axes) == 2
    assert isinstance(rows, pd.DataFrame)
