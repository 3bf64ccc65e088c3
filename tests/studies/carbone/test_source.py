"""The main source's settings, against what its tables and captions say."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from relevance import explanations
from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma
from relevance.networks import architectures
from relevance.studies import names
from relevance.studies.carbone import source


def test_learnable_layers_stand_at_the_papers_indices():
    """Tables I and II."""
    for architecture, build in (
        ("convolutional", architectures.convolutional),
        ("fully_connected", architectures.fully_connected),
    ):
        table = source.layer_table(build((1, 28, 28), 512))
        assert tuple(table.loc[table["learnable"], "index"]) == source.LAYERS[architecture]
    dense = source.layer_table(architectures.fully_connected((1, 28, 28), 512)).set_index("index")["parameters"]
    assert dense[["1", "3", "5"]].tolist() == [784 * 512 + 512, 512 * 512 + 512, 512 * 10 + 10]
    convolutional = source.layer_table(architectures.convolutional((1, 28, 28), 512)).set_index("index")
    assert convolutional.loc["0", "layer"].startswith("Conv2d(1, 32, kernel_size=(5, 5)")
    assert convolutional.loc["3", "layer"].startswith("Conv2d(32, 512, kernel_size=(5, 5)")


def test_rules_and_attacks_have_the_papers_numbers():
    """Sec. V, VII-C and VII-D."""
    assert {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1), "alpha-beta": AlphaBeta(1, 0)} == names.RULES
    assert (source.EPSILON, source.N_IMAGES) == (0.2, 500)
    assert source.TOP_K == {"step_size": 0.5, "n_steps": 10, "top_percent": 20}
    assert source.TARGET_MAP == {"output_weight": 1.0, "n_steps": 10, "step_size": 0.01}
    assert source.HIDDEN["mnist"] == 512
    assert source.HIDDEN["fashion_mnist"] == 1024


def test_every_figure_with_an_experiment_is_there():
    numbers = {int(re.match(r"\d+", one.figure)[0]) for one in source.FIGURES}
    assert numbers == set(range(1, 17))
    assert len({one.figure for one in source.FIGURES}) == len(source.FIGURES)
    assert source.panel("2b").attack == "PGD"
    assert source.panel("2b").inference == "hmc"
    assert source.panel("15").top_percent == 60
    assert source.panel("13").dataset == "cifar10"
    assert source.panel("3 top").layers == ("5",)
    assert source.panel("9a").layers == ("1", "3", "5")
    with pytest.raises(ValueError, match="figure is '17'; it may be one of: 1, 10a"):
        source.panel("17")


@pytest.mark.parametrize("one", source.FIGURES, ids=lambda one: one.figure)
def test_every_panel_can_be_built_and_its_layers_explained(one):
    # As small as the architecture allows: what is tested is that the names fit together.
    build = {"convolutional": architectures.convolutional, "fully_connected": architectures.fully_connected}
    shape = (source.SHAPES[one.dataset][0], 16, 16)
    network = build.get(one.architecture, architectures.resnet20)(shape, 4)
    assert type(one.network()) is type(network)
    from relevance.networks.posterior import Posterior

    posterior, images = Posterior.of(network), torch.rand(1, *shape)
    for layer in one.layers:
        for rule in one.rules:
            maps = explanations.lrp(posterior, images, torch.tensor([0]), rule=names.RULES[rule], layer=layer)
            assert maps.shape == images.shape
    learnable = [name for name, module in network.named_modules() if isinstance(module, (nn.Conv2d, nn.Linear))]
    assert set(one.layers) <= set(learnable)


def test_tables_say_where_the_book_differs():
    table = source.training_table()
    assert table["table"].tolist() == ["III", "III", "IV", "IV"]
    assert "epochs 5, learning rate 0.01" in table["the paper"][0]
    assert "leapfrog step 0.5" in table["the paper"][2]
    assert "adapted" in table["here"][2]
    figures = source.figure_table().set_index("figure")
    assert figures.loc["10a", "rules"] == "all"
