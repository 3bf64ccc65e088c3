"""Batch norm merged into its neighbours: the same values, and the relevance of the merged layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import FOUR_TARGETS, random_posterior, shared_by_definition
from relevance import explanations
from relevance.explanations.graph import RelevanceGraph, graph_of
from relevance.explanations.rules import AlphaBeta, Composite, Epsilon, Gamma
from relevance.networks.posterior import Posterior


def trained(network):
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.double().eval()


BEFORE = {
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.Linear(32, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)),
    "grouped": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
    "transposed": lambda: nn.Sequential(
        nn.ConvTranspose2d(2, 4, 2, groups=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(100, 3)),
    "reflected": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", BEFORE)
def test_a_batch_norm_is_part_of_the_layer_before_it(images, name):
    network = trained(BEFORE[name]())
    posterior = random_posterior(network, 2)
    graph = graph_of(posterior, images)
    assert len(graph.affine_layers) == 2
    sample = {name: value[1] for name, value in posterior.samples.items()}
    with torch.no_grad():
        visits = graph.forward(images, sample)
        merged = next(visit for visit in visits.values() if visit.layer is not None)
        wanted = torch.func.functional_call(network, sample, (images,))
    assert torch.allclose(visits[graph.output].value, wanted, atol=1e-9)
    # It has the weights of one layer that does what both do.
    start = 2 if name == "dense" else 1
    plain = nn.Sequential(*network[: start + 1])
    with torch.no_grad():
        inner = {part: value for part, value in sample.items() if int(part.split(".")[0]) <= start}
        both = torch.func.functional_call(plain, inner, (images,))
    assert torch.allclose(merged.value, both, atol=1e-9)


def test_a_batch_norm_over_the_tokens_of_a_dense_layer_stays_a_layer(images):
    class Sequences(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.head = nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.norm(self.first(x.reshape(-1, 4, 8))).flatten(1))

    network = trained(Sequences())
    posterior = Posterior.of(network)
    assert graph_of(posterior, images).affine_layers == ["first", "norm", "head"]
    found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Epsilon(1e-12))
    wanted = explanations.gradient_x_input(posterior, images, FOUR_TARGETS)
    assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-8)


AFTER = {
    "dense": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, 3)),
    "through a ReLU": lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)),
    "convolution": lambda: nn.Sequential(
        nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(), nn.Linear(64, 3)),
    "groups": lambda: nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.Flatten(), nn.Linear(64, 3)),
}  # fmt: skip
NEIGHBOUR = {"norms": "neighbour"}


@pytest.mark.parametrize("name", AFTER)
@pytest.mark.parametrize("rule", [Epsilon(0.1), Gamma(0.3), AlphaBeta(2, 1)], ids=repr)
def test_a_batch_norm_can_be_part_of_the_layer_after_it(images, name, rule):
    """Relevance is that of one layer on (a - s) / g, with g and s of the batch norm and a what follows it."""
    network = trained(AFTER[name]())
    posterior = Posterior.of(network)
    assert len(graph_of(posterior, images).affine_layers) == (2 if "onv" in str(network) else 1) + 1
    found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Composite(rule, last=Epsilon(1e-9), **NEIGHBOUR))
    places = {type(module): place for place, module in enumerate(network)}
    norm = network[places.get(nn.BatchNorm1d, places.get(nn.BatchNorm2d))]
    is_convolution = nn.Conv2d in places
    layer = network[places[nn.Conv2d if is_convolution else nn.Linear]]
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    shift = (norm.bias - norm.running_mean * factor).detach()
    spread = (lambda v: v[:, None, None]) if is_convolution else (lambda v: v)
    for image, label, one in zip(images, FOUR_TARGETS, found, strict=True):
        with torch.no_grad():
            given = image if is_convolution else image.flatten()
            a = spread(factor) * given + spread(shift)
            a = a.relu() if nn.ReLU in places else a
            inputs = (a - spread(shift)) / spread(factor)
            z = layer(a[None])[0]
            seed = torch.eye(3, dtype=torch.float64)[label]
            if is_convolution:
                head = network[-1]
                above = shared_by_definition(Epsilon(1e-9), head, z.flatten(), seed * head(z.flatten())).reshape(
                    z.shape
                )
            else:
                above, rule_here = seed * z, Epsilon(1e-9)
        merged = Merged(layer, factor, spread, z, inputs)
        used = rule if is_convolution else rule_here
        with torch.no_grad():
            wanted = shared_by_definition(used, merged, inputs, above).reshape(image.shape)
        assert torch.allclose(one, wanted, rtol=1e-6, atol=1e-8)


class Merged(nn.Module):
    """The layer with the factor of the inputs in its weights, and a bias that gives what the layer gave."""

    def __init__(self, layer, factor, spread, outputs, inputs):
        super().__init__()
        self.layer, self.factor, self.spread = layer, factor, spread
        self.rest = (outputs - self.linear(inputs[None])[0]).detach()

    def linear(self, x):
        x = x * self.spread(self.factor)
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(x, self.layer.weight)
        return nn.functional.conv2d(x, self.layer.weight, None, padding=1, groups=self.layer.groups)

    def forward(self, x):
        return self.linear(x) + self.rest


def test_merged_or_not_the_network_is_the_same_and_so_are_networks_without_batch_norm(images, posterior):
    maps = [
        explanations.lrp(posterior, images, FOUR_TARGETS, rule=Composite(Gamma(0.2), norms=norms))
        for norms in ("before", "neighbour")
    ]
    assert torch.equal(*maps)  # whose batch norms all follow a convolution


def test_a_batch_norm_between_more_than_one_layer_stays_one(images):
    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.one, self.two = nn.BatchNorm1d(32), nn.Linear(32, 3), nn.Linear(32, 3)

        def forward(self, x):
            x = self.norm(x.flatten(1))
            return self.one(x) + self.two(x)

    network = trained(Branched())
    graph = RelevanceGraph(network, (2, 4, 4), Composite(**NEIGHBOUR).choices)
    assert graph.affine_layers == ["norm", "one", "two"]
    chained = trained(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.Linear(32, 3)))
    assert RelevanceGraph(chained, (2, 4, 4), Composite(**NEIGHBOUR).choices).affine_layers == ["2"]


def test_a_channel_without_a_factor_gives_no_relevance(images):
    network = trained(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3)))
    with torch.no_grad():
        network[1].weight[:16] = 0
    found = explanations.lrp(Posterior.of(network), images, FOUR_TARGETS, rule=Composite(Epsilon(0.1), **NEIGHBOUR))
    assert found.isfinite().all()
