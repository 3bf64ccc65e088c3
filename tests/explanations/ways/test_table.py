"""What the tables know, what readers add to them, and what is said of the rest."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from oracles import FOUR_TARGETS, backward, shared_by_definition
from relevance import explanations
from relevance.explanations.rules import Gamma
from relevance.explanations.ways import table
from relevance.explanations.ways.activations import POSITIVE
from relevance.networks.posterior import Posterior


@pytest.fixture
def own_tables(monkeypatch):
    """Tables that a test may add to."""
    for name in ("MODULES", "FUNCTIONS", "REGISTERED"):
        monkeypatch.setattr(table, name, dict(getattr(table, name)))


def test_a_layer_without_a_rule_is_named(some_images, some_labels):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Threshold(0.1, 0)).double()
    with pytest.raises(ValueError, match="layer 2 is a Threshold, for which lrp has no rule; .*register gives it one"):
        explanations.lrp(Posterior.of(network), some_images, some_labels)


class Untraceable(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] if x.sum() > 0 else x.flatten(1)[:, 3:6]


class Odd(nn.Module):
    def forward(self, x):
        return torch.cumsum(x.flatten(1), 1)


class WithWeight(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, nn.Linear(3 if isinstance(inner, Untraceable) else 32, 3)

    def forward(self, x):
        return self.head(self.inner(x))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (WithWeight(Odd()), "the network calls cumsum, for which lrp has no rule; .*register gives a function one"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(32, 3), nn.LogSoftmax(1)),
            "layer 2 is a LogSoftmax, for which lrp has no rule",
        ),
        (WithWeight(Untraceable()), "cannot be traced by torch.fx .*; its forward pass must not depend on values"),
    ],
)
def test_networks_without_a_way_back_get_a_sentence(images, network, message):
    posterior = Posterior.of(network.double())[0]  # of which nothing is mapped
    with pytest.raises((ValueError, RuntimeError), match=message):
        explanations.lrp(posterior, images, FOUR_TARGETS)


class Scaled(nn.Module):
    """A module of the user's own, with a parameter, that no tracer can look into."""

    def __init__(self, activation):
        super().__init__()
        self.slope, self.activation = nn.Parameter(torch.tensor(2.0)), activation

    def forward(self, x):
        return self.slope * self.activation(x) if len(x) else x


@pytest.mark.usefixtures("own_tables")
def test_a_module_can_be_given_its_way_back(images):
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


class Opaque(nn.Module):
    """A pool that no tracer can look into."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return self.pool(x) if len(x) else x


POOLS = [(explanations.in_proportion, nn.AvgPool2d(2)), (explanations.to_the_winner, nn.MaxPool2d(3, stride=1))]


@pytest.mark.usefixtures("own_tables")
@pytest.mark.parametrize(("way", "pool"), POOLS, ids=["in_proportion", "to_the_winner"])
def test_a_pool_of_one_s_own_comes_back_as_the_known_one(images, way, pool):
    explanations.register(Opaque, way)
    torch.manual_seed(0)
    around = nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(12, 3)
    maps = []
    for one in (pool, Opaque(pool)):
        posterior = Posterior.of(nn.Sequential(around[0], one, *around[1:]).double())
        maps.append(explanations.lrp(posterior, images, FOUR_TARGETS, rule=Gamma(0.2)))
    assert torch.allclose(maps[1], maps[0], atol=1e-12)
    assert maps[0].any()


@fx.wrap
def hidden_product(x, y, by=1.0):
    return by * x * y if len(x) else x


class Calling(nn.Module):
    """A network that calls one function."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(32, 5), nn.Linear(32, 5), nn.Linear(5, 3)
        self.function = function

    def forward(self, x):
        x = x.flatten(1)
        return self.head(self.function(self.first(x), self.second(x)))


def in_thirds(function, inputs, outputs, relevance):
    """A way back through a function of two values, which has its other arguments."""
    assert function(*inputs).shape == outputs.shape
    return relevance / 3, 2 * relevance / 3


@pytest.mark.usefixtures("own_tables")
def test_a_function_of_several_values_can_be_given_its_way_back(images):
    def network(x, y):
        return hidden_product(x, y, by=2.0)

    posterior = Posterior.of(Calling(network).double())
    with pytest.raises(
        ValueError, match="the network calls hidden_product, for which lrp has no rule; .* gives a function one"
    ):
        explanations.lrp(posterior, images, FOUR_TARGETS)
    explanations.register(hidden_product, in_thirds)
    kept = explanations.kept_by_layer(posterior, images, FOUR_TARGETS)
    assert "hidden_product()" in kept
    assert kept["hidden_product()"].abs().max() < 1e-12
    found = explanations.lrp(posterior, images, FOUR_TARGETS)
    explanations.register(hidden_product, lambda function, inputs, outputs, relevance: (relevance, 0 * relevance))
    assert not torch.allclose(explanations.lrp(posterior, images, FOUR_TARGETS), found)


@pytest.mark.usefixtures("own_tables")
@pytest.mark.parametrize("function", [torch.cumsum, torch.Tensor.cumsum], ids=["function", "method"])
def test_functions_and_methods_of_torch_can_be_given_theirs(images, function):
    call = (lambda x, y: torch.cumsum(x, 1)) if function is torch.cumsum else (lambda x, y: x.cumsum(1))
    posterior = Posterior.of(Calling(call).double())
    with pytest.raises(ValueError, match="the network calls cumsum"):
        explanations.lrp(posterior, images, FOUR_TARGETS)
    explanations.register(function, explanations.in_proportion)
    found = explanations.lrp(posterior, images, FOUR_TARGETS)
    sums = Posterior.of(Calling(lambda x, y: x @ torch.ones(5, 5, dtype=torch.float64).triu()).double())
    wanted = explanations.lrp(sums, images, FOUR_TARGETS, rule=explanations.Composite(
        layers={"matmul()": explanations.Epsilon(1e-14)}))  # fmt: skip
    assert torch.allclose(found, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("kind", "backward", "message"),
    [
        (nn.Bilinear(2, 2, 2), explanations.pass_on, "kind is Bilinear.*; it must be a class of modules"),
        (int, explanations.pass_on, "kind is <class 'int'>; it must be a class of modules, such as .* or a function"),
        ("tanh", explanations.pass_on, "kind is 'tanh'; it must be a class of modules, .*, or a function"),
        (nn.Linear, explanations.pass_on, "kind is Linear, an affine layer, which takes a rule"),
        (nn.functional.linear, explanations.pass_on, "kind is linear, an affine layer, which takes a rule"),
        (nn.Bilinear, "pass on", "backward is 'pass on'; it must be a function"),
    ],
)
def test_a_bad_way_back_gets_a_sentence(kind, backward, message):
    with pytest.raises(ValueError, match=message):
        explanations.register(kind, backward)


class Renamed(nn.ReLU):
    def extra_repr(self):
        return "the same"


class Doubled(nn.ReLU):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_subclass_counts_as_its_class_only_if_it_computes_the_same():
    assert table.kind_of(Renamed()) is nn.ReLU
    assert table.kind_of(Doubled()) is None
    hooked, patched = nn.ReLU(), nn.ReLU()
    hooked.register_forward_hook(lambda module, inputs, outputs: -outputs)
    patched.forward = lambda x: x
    assert table.is_changed(hooked)
    assert table.is_changed(patched)
    assert not table.is_known(hooked)
    assert table.is_known(nn.ReLU())
    assert table.MODULES[nn.ReLU] is POSITIVE
