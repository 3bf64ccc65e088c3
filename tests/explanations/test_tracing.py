from __future__ import annotations

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from oracles import FOUR_TARGETS
from relevance import explanations
from relevance.explanations.graph import graph_of
from relevance.explanations.rules import AlphaBeta, Choices, Epsilon
from relevance.explanations.tracing import taken, traced
from relevance.explanations.ways.indices import picked
from relevance.networks.posterior import Posterior


class Called(nn.Module):
    """The same network with modules or with calls."""

    def __init__(self, called):
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)
        self.called = called
        if not called:
            self.steps = nn.Sequential(
                self.first, nn.LeakyReLU(0.2), nn.MaxPool2d(2, 1), self.second, nn.Softplus(3), nn.Dropout(0.5),
                nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Flatten(), self.head,
            )  # fmt: skip

    def forward(self, x):
        if not self.called:
            return self.steps(x)
        x = functional.max_pool2d(functional.leaky_relu(self.first(x), 0.2), 2, 1)
        x = functional.dropout(functional.softplus(self.second(x), 3), training=self.training)
        x = functional.adaptive_avg_pool2d(functional.avg_pool2d(x, kernel_size=2, stride=1), 1)
        return self.head(torch.flatten(x.relu(), start_dim=1))


@pytest.mark.parametrize("rule", [Epsilon(0.1), AlphaBeta(2, 1)], ids=repr)
def test_calls_of_functions_are_the_modules(images, rule):
    maps = []
    for called in (True, False):
        torch.manual_seed(0)
        maps.append(explanations.lrp(Posterior.of(Called(called).double()), images, FOUR_TARGETS, rule=rule))
    assert torch.allclose(*maps, atol=1e-12)
    assert maps[0].abs().max() > 1e-4


class Deciding(nn.Module):
    """A network that decides by sizes, and makes constants in place."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(4, 6), nn.Linear(3, 3)
        self.register_buffer("scale", torch.linspace(0.5, 2, 6, dtype=torch.float64))
        self.register_buffer("order", torch.arange(6).flip(0))

    def forward(self, x):
        n, c, h, w = x.shape
        if h >= 4 and len(x.shape) == 4 and x.ndim == 4:
            x = x.reshape(n, c * h, w)
        mask = x.new_zeros((c * h, 6))
        for row in range(c * h):
            mask[row, : row % 3] = -1
        scores = self.first(x) * self.scale.rsqrt()[self.order] + mask
        bias = self.first.bias.clone()
        bias[: bias.numel() // 2].zero_()
        scores = (scores + bias).masked_fill(mask < 0, 0.0)
        parts = [part.sum(-1) for part in scores.chunk(3, -1)]
        return self.head(torch.stack(parts, -1).mean(1) * int(w / 2))


def test_a_network_may_decide_by_sizes_and_make_constants_in_place(images):
    network = Deciding().double()
    samples = {name: torch.stack([value, 2 * value]).detach() for name, value in network.named_parameters()}
    # Statistics, and what is computed of them, may be a sample's own.
    samples["scale"] = torch.stack([network.scale, 3 * network.scale])
    posterior = Posterior(network, samples)
    wanted = posterior.logits(images)
    for index in range(2):
        graph = graph_of(posterior, images)
        sample = {name: value[index] for name, value in posterior.samples.items()}
        for n in (1, 2, 4):
            found = graph.forward(images[:n], sample)[graph.output].value
            assert torch.allclose(found, wanted[index, :n], atol=1e-12)
    assert torch.equal(posterior.samples["first.bias"][0], network.first.bias)  # which nothing was written into
    kept = sum(explanations.kept_by_layer(posterior, images, FOUR_TARGETS).values())
    arrived = explanations.lrp(posterior, images, FOUR_TARGETS).flatten(1).sum(1)
    assert torch.allclose(arrived + kept, wanted.mean(0).gather(1, FOUR_TARGETS[:, None])[:, 0], atol=1e-9)


def test_a_graph_is_of_one_size_and_traced_once_for_it(images, monkeypatch):
    posterior = Posterior.of(Deciding().double())
    graph = graph_of(posterior, images)
    monkeypatch.setattr("relevance.explanations.graph.traced", lambda *_: pytest.fail("traced again"))
    assert graph_of(posterior, images[:1]) is graph
    assert graph_of(posterior[:1], images) is graph
    monkeypatch.undo()
    assert graph_of(posterior, images, Choices(products="half")) is not graph
    with pytest.raises(ValueError, match="cannot be traced by torch.fx .it decides by the size of the images"):
        traced(Deciding())
    # What was changed since is another network.
    posterior.network.head.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)
    assert graph_of(posterior, images) is not graph


@fx.wrap
def hidden(x, slope):
    return functional.leaky_relu(x, slope) if x.shape[1] > 1 else x


class Hiding(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head, self.function = nn.Linear(32, 5), nn.Linear(5, 3), function

    def forward(self, x):
        return self.head(self.function(self.first(x.flatten(1))))


def test_what_is_hidden_from_the_tracer_is_looked_into(images):
    maps = [
        explanations.lrp(Posterior.of(Hiding(function).double()), images, FOUR_TARGETS)
        for function in (lambda x: hidden(x, slope=0.3), nn.LeakyReLU(0.3))
    ]
    assert torch.equal(*maps)


def test_what_acts_in_place_becomes_a_value_of_its_own(images):
    def in_place(x):
        y = x * 1
        z = y.add_(x).mul_(0.5)
        functional.relu(z, inplace=True)
        z += 1
        z *= 2
        return z.sigmoid_()

    def pure(x):
        return (((x * 1 + x) * 0.5).relu() + 1).mul(2).sigmoid()

    maps = [explanations.lrp(Posterior.of(Hiding(one).double()), images, FOUR_TARGETS) for one in (in_place, pure)]
    assert torch.allclose(*maps, atol=1e-12)


def test_parts_of_several_values_are_steps_of_one(images):
    graph = traced(Hiding(lambda x: torch.cat([part * 2 for part in x.split([2, 3], 1)], 1)), (2, 4, 4)).graph
    assert sum(node.target is picked for node in graph.nodes) == 2
    assert not any(node.target in {"split", torch.split} for node in graph.nodes)


def test_nodes_move_with_the_image_or_with_its_size_alone(images):
    def sized(x):
        return x.expand_as(x.new_zeros(x.shape)) * torch.zeros_like(x).exp()

    found = traced(Hiding(sized).double(), (2, 4, 4))
    moving = {node.name: node in found.moving for node in found.graph.nodes}
    assert moving["expand_as"]
    assert not moving["new_zeros"]
    assert not moving["zeros_like"]
    assert not moving["exp"]
    assert moving["mul"]
    assert [len(taken(node)) for node in found.graph.nodes if node.name in {"expand_as", "zeros_like"}] == [1, 0]
