from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import FOUR_TARGETS, backward, shared_by_definition
from relevance import explanations
from relevance.explanations.rules import Gamma
from relevance.explanations.steps import MODULES
from relevance.networks.posterior import Posterior


def test_a_layer_without_a_rule_is_named(some_images, some_labels):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Tanh()).double()
    with pytest.raises(ValueError, match="layer 2 is a Tanh, for which lrp has no rule"):
        explanations.lrp(Posterior.of(network), some_images, some_labels)


class Untraceable(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] if x.sum() > 0 else x.flatten(1)[:, 3:6]


class Odd(nn.Module):
    def forward(self, x):
        return torch.tanh(x.flatten(1))


class WithWeight(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, nn.Linear(3 if isinstance(inner, Untraceable) else 32, 3)

    def forward(self, x):
        return self.head(self.inner(x))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (WithWeight(Untraceable()), "cannot be traced by torch.fx"),
        (WithWeight(Odd()), "the network calls tanh, for which lrp has no rule; it may call: add"),
        (nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.Tanh()),
         "layer 2 is a Tanh, for which lrp has no rule; .*register gives it a rule"),
        (nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
         "layer 0 is a convolution with padding"),
        (nn.Sequential(nn.Conv2d(2, 3, 2, padding="same"), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "padding 'same'"),
    ],
)  # fmt: skip
def test_networks_without_a_way_back_get_a_sentence(images, network, message):
    posterior = Posterior.of(network.double())
    if isinstance(network, WithWeight) and isinstance(network.inner, Untraceable):
        posterior = Posterior.of(network.double())[0]
        with pytest.raises((ValueError, RuntimeError), match=message):
            explanations.lrp(posterior, images, FOUR_TARGETS)
        return
    with pytest.raises(ValueError, match=message):
        explanations.lrp(posterior, images, FOUR_TARGETS)


class Scaled(nn.Module):
    """A module of the user's own, with a parameter, that no tracer can look into."""

    def __init__(self, activation):
        super().__init__()
        self.slope, self.activation = nn.Parameter(torch.tensor(2.0)), activation

    def forward(self, x):
        return self.slope * self.activation(x) if len(x) else x


def test_a_module_can_be_given_its_way_back(images, monkeypatch):
    monkeypatch.setattr("relevance.explanations.steps.MODULES", dict(MODULES))
    torch.manual_seed(0)
    head, inner = nn.Linear(5, 3), Scaled(nn.Tanh())
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 5), inner, head).double()
    posterior = Posterior(network, {name: torch.stack([value, 1.5 * value]).detach() for name, value in
                                    network.named_parameters()})  # fmt: skip
    with pytest.raises(ValueError, match="cannot be traced"):
        explanations.lrp(posterior, images, FOUR_TARGETS)
    explanations.register(Scaled, explanations.pass_on)
    for factor, found in zip((1, 1.5), explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.2), per_sample=True),
                             strict=True):  # fmt: skip
        below, above = nn.Linear(32, 5).double(), nn.Linear(5, 3).double()
        for mine, given in ((below, network[1]), (above, head)):
            mine.load_state_dict({name: factor * value for name, value in given.state_dict().items()})
        for image, label, one in zip(images, FOUR_TARGETS, found, strict=True):
            z = below(image.flatten()[None])[0]
            hidden = factor * 2 * torch.tanh(z)
            seed = torch.eye(3, dtype=torch.float64)[label]
            relevance = backward(Gamma(0.2), [above], hidden, lambda logits, s=seed: logits * s)
            wanted = shared_by_definition(Gamma(0.2), below, image.flatten(), relevance).reshape(image.shape)
            assert torch.allclose(one, wanted, atol=1e-9)


def test_an_average_shares_in_proportion_to_what_each_part_added():
    inputs = torch.tensor([[1.0, 3.0, -2.0], [0.5, 0.5, 4.0], [0.0, 2.0, 2.0]], dtype=torch.float64)
    weights = torch.tensor([[0.5, 0.25, 0.25], [-1.0, 2.0, 0.0]], dtype=torch.float64)
    relevance = torch.tensor([[3.0, -1.0], [2.0, 5.0], [1.0, 1.0]], dtype=torch.float64)
    outputs = inputs @ weights.T
    found = explanations.in_proportion(lambda x: x @ weights.T, inputs, outputs, relevance)
    wanted = torch.zeros_like(inputs)
    for n in range(3):
        for k in range(2):
            for j in range(3):
                wanted[n, j] += inputs[n, j] * weights[k, j] / outputs[n, k] * relevance[n, k]
    assert torch.allclose(found, wanted, atol=1e-12)
    assert torch.allclose(found.sum(1), relevance.sum(1), atol=1e-10)
    # Where nothing was added, there are no proportions, and no numbers that are none.
    nothing = torch.zeros(1, 3, dtype=torch.float64)
    assert not explanations.in_proportion(lambda x: x @ weights.T, nothing, nothing[:, :2], relevance[:1]).any()


def test_a_maximum_gives_all_to_its_winner():
    inputs = torch.tensor([[[1.0, 5.0, -2.0, -1.0]], [[0.1, -0.3, 0.2, 0.7]]], dtype=torch.float64)
    relevance = torch.tensor([[[3.0, -1.0]], [[2.0, 0.5]]], dtype=torch.float64)
    pool = nn.MaxPool1d(2)
    found = explanations.to_the_winner(pool, inputs, pool(inputs), relevance)
    assert found.tolist() == [[[0, 3, 0, -1]], [[2, 0, 0, 0.5]]]


class Opaque(nn.Module):
    """A pool that no tracer can look into."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.pool(x) if len(x) else x


@pytest.mark.parametrize(
    ("way", "pool"),
    [(explanations.in_proportion, nn.AvgPool2d(2)), (explanations.to_the_winner, nn.MaxPool2d(3, stride=1))],
    ids=["in_proportion", "to_the_winner"],
)
def test_a_pool_of_one_s_own_comes_back_as_the_known_one(images, monkeypatch, way, pool):
    monkeypatch.setattr("relevance.explanations.steps.MODULES", dict(MODULES))
    explanations.register(Opaque, way)
    torch.manual_seed(0)
    around = nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(12, 3)
    maps = []
    for one in (pool, Opaque(pool)):
        posterior = Posterior.of(nn.Sequential(around[0], one, *around[1:]).double())
        maps.append(explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.2)))
    assert torch.allclose(maps[1], maps[0], atol=1e-12)
    assert maps[0].any()


@pytest.mark.parametrize(
    ("kind", "backward", "message"),
    [
        (nn.Tanh(), explanations.pass_on, "kind is Tanh.*; it must be a class of modules"),
        (nn.Linear, explanations.pass_on, "kind is Linear, an affine layer, which takes a rule"),
        (nn.Tanh, "pass on", "backward is 'pass on'; it must be a function"),
    ],
)
def test_a_bad_way_back_gets_a_sentence(kind, backward, message):
    with pytest.raises(ValueError, match=message):
        explanations.register(kind, backward)
