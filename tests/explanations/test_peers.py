"""Beside zennit and captum: equal where the definitions agree, and different as they are known to be where they do not."""

from __future__ import annotations

import differences
import pandas as pd
import peers
import pytest
import torch
from torch import nn

from relevance import explanations
from relevance.datasets import reading
from relevance.explanations.rules import AlphaBeta, Epsilon, Flat, Gamma, GeneralisedGamma, WSquare, ZBox, ZPlus
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

OURS = {**differences.RULES, "zB": ZBox(), "w2": WSquare(), "flat": Flat()}
TARGET = torch.tensor([0, 1, 2, 1])


def dense(activation, *, biases=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(32, 8, bias=biases), activation(), nn.Linear(8, 8, bias=biases), activation(),
        nn.Linear(8, 3, bias=biases),
    ).double().eval()  # fmt: skip


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(6, 8), nn.LeakyReLU(), nn.Linear(8, 3),
    ).double().eval()  # fmt: skip


def both(library, network, rule, images):
    """Our map and the library's."""
    ours = explanations.lrp(Posterior.of(network), images, TARGET, rule=OURS[rule])
    if library == "zennit":
        return ours, peers.zennit_map(network, peers.zennit_rules()[rule](), images, TARGET)()
    return ours, peers.captum_map(network, peers.captum_rules()[rule], images, TARGET)().detach()


@pytest.mark.parametrize("rule", [name for name in OURS if name != "gamma"])
def test_rules_agree_with_zennit_s(images, rule):
    ours, theirs = both("zennit", convolutional(), rule, images)
    assert theirs.abs().max() > 1e-3
    assert (ours - theirs).abs().max() < 1e-6


@pytest.mark.parametrize("epsilon", [0.1, 1e-6])
@pytest.mark.parametrize("library", ["zennit", "captum"])
def test_the_epsilon_map_agrees_with_both_on_real_images(epsilon, library):
    """On the network of Table II, in float64."""
    data = reading.load("digits")
    torch.manual_seed(0)
    network = architectures.fully_connected(data.image_shape, hidden=512).double()
    images, labels = data.test_images[:20].double(), data.test_labels[:20]
    found = explanations.lrp(Posterior.of(network), images, labels, rule=Epsilon(epsilon))
    wanted = differences.maps_of(library, network, "epsilon", labels, epsilon)(images).detach()
    assert wanted.abs().max() > 1e-3
    assert (found - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("network", [lambda: dense(nn.LeakyReLU), convolutional])
def test_the_epsilon_map_agrees_with_captum_s(images, network):
    ours, theirs = both("captum", network(), "epsilon", images)
    assert (ours - theirs).abs().max() < 1e-6


def test_gamma_is_the_published_one_and_zennit_s_is_not(images):
    """On nonnegative activations both agree; zennit's treats negative ones apart, the published formula does not."""
    gaps = []
    for activation in (nn.ReLU(), nn.LeakyReLU(0.5)):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), activation, nn.Linear(8, 3)).double().eval()
        with torch.no_grad():  # positive logits: zennit also takes negative outputs apart
            network[3].bias += 5
            network[1].bias += 5 if isinstance(activation, nn.ReLU) else 0
        ours, theirs = both("zennit", network, "gamma", images)
        gaps.append((ours - theirs).abs().max().item())
    assert gaps[0] < 1e-6
    assert gaps[1] > 1e-3


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh])
def test_zennit_s_gamma_is_the_generalised_one(images, activation):
    """On inputs of every sign, with negative sums, and with biases but those that no sign of an input goes with."""
    network = dense(activation)
    rule = peers.zennit_rules()["gamma"]()
    ours = explanations.lrp(Posterior.of(network), images, TARGET, rule=GeneralisedGamma(0.1))
    theirs = peers.zennit_map(network, rule, images, TARGET)()
    assert theirs.abs().max() > 1e-3
    assert (ours - theirs).abs().max() < 1e-6


def test_captum_s_gamma_leaves_the_bias_as_it_is_and_the_published_one_does_not(images):
    """The published sum runs from 0, where a_0 = 1 and w_0k is the bias: it is raised like every weight."""
    for activation in (nn.ReLU, nn.LeakyReLU):
        ours, theirs = both("captum", dense(activation, biases=False), "gamma", images)
        assert (ours - theirs).abs().max() < 1e-6
    ours, theirs = both("captum", dense(nn.ReLU), "gamma", images)
    assert (ours - theirs).abs().max() > 1e-3


def test_captum_s_alpha_beta_takes_signs_of_weights_and_the_published_one_those_of_contributions(images):
    """Without biases and negative activations they agree; captum also leaves negative biases among the positive parts."""
    ours, theirs = both("captum", dense(nn.ReLU, biases=False), "alpha1-beta0", images)
    assert (ours - theirs).abs().max() < 1e-6
    for network in (dense(nn.ReLU), dense(lambda: nn.LeakyReLU(0.5), biases=False)):
        ours, theirs = both("captum", network, "alpha1-beta0", images)
        assert (ours - theirs).abs().max() > 1e-3


def test_the_recorded_table_is_what_is_measured():
    recorded, measured = pd.read_csv(differences.RECORD), differences.table()
    pd.testing.assert_frame_equal(recorded, measured, rtol=0.02)
    agree = recorded["compared"].str.startswith("epsilon")
    assert (recorded["value"][agree] == 0).all()
    assert AlphaBeta(1, 0) == differences.RULES["alpha1-beta0"]
    assert ZPlus() == differences.RULES["z+"]
    assert Gamma(0.1) == differences.RULES["gamma"]
