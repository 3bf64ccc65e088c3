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
