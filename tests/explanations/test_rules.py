"""Every rule against its definition on dense matrices that the Jacobian gives, and against zennit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import FOUR_TARGETS, backward, random_posterior, steps
from relevance import explanations
from relevance.explanations.affine import Dense, Layer
from relevance.explanations.rules import (
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    GeneralisedGamma,
    WSquare,
    ZBox,
    ZPlus,
)
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

RULES = [Epsilon(0.1), Gamma(0.1), Gamma(0.0), GeneralisedGamma(0.3), GeneralisedGamma(0), AlphaBeta(1, 0), AlphaBeta(2, 1),
         ZPlus(), ZBox(), ZBox(-0.5, 2.0), WSquare(), Flat()]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_is_its_definition(posterior, images, rule):
    found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=rule, per_sample=True)
    for index in range(len(posterior)):
        network = posterior[index].network
        network.load_state_dict({name: value[index] for name, value in posterior.samples.items()}, strict=False)
        for image, label, one in zip(images, FOUR_TARGETS, found[index], strict=True):
            seed = torch.eye(3, dtype=torch.float64)[label]
            wanted = backward(rule, steps(network), image, lambda logits, seed=seed: logits * seed)
            assert torch.allclose(one, wanted, atol=1e-9 * max(1, wanted.abs().max().item()), rtol=1e-7)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_map_can_be_differentiated_again(posterior, images, rule):
    """By finite differences, of the expected map and of that of one sample."""
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for one in (posterior, posterior[0]):

        def score(at, one=one):
            return (explanations.lrp(one, at, FOUR_TARGETS, rule=rule) * weights).sum()

        leaf = images.clone().requires_grad_()
        (found,) = torch.autograd.grad(score(leaf), leaf)
        direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        direction = direction * (images > 1e-3) * (images < 1 - 1e-3)
        step = 1e-7 * direction
        wanted = (score(images + step) - score(images - step)) / 2e-7
        assert (found * direction).sum().item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("rule", [Gamma(0.1), GeneralisedGamma(0.3), AlphaBeta(1, 0), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat(),
                                  Epsilon(1e-14)],
                         ids=repr)  # fmt: skip
def test_relevance_is_conserved_where_no_bias_keeps_any(images, rule):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 32, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 64, bias=False), nn.ReLU(),
        nn.Linear(64, 3, bias=False),
    ).double()  # fmt: skip
    posterior = Posterior.of(network)
    maps = explanations.lrp(posterior, images, FOUR_TARGETS, rule=rule, seed="one_hot")
    # A rule of one sign loses what arrives at a neuron without a contribution of that sign; here every neuron has both.
    assert torch.allclose(maps.flatten(1).sum(1), torch.ones(4, dtype=torch.float64), atol=1e-10)


def test_a_composite_gives_each_layer_its_rule(images):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    ).double()
    posterior = Posterior.of(network)
    composite = Composite(Gamma(0.2), first=ZBox(), last=Epsilon(0.5))
    found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=composite)
    for image, label, one in zip(images, FOUR_TARGETS, found, strict=True):
        seed = torch.eye(3, dtype=torch.float64)[label]
        upper = backward(Epsilon(0.5), [network[5]], network[:5](image[None])[0], lambda logits, s=seed: logits * s)
        middle = backward(Gamma(0.2), [network[3], network[4]], network[:3](image[None])[0], lambda _, r=upper: r)
        wanted = backward(ZBox(), [network[0], network[1], network[2]], image, lambda _, r=middle: r)
        assert torch.allclose(one, wanted, atol=1e-9)
    named = Composite(Gamma(0.2), layers={"1": ZBox(), "5": Epsilon(0.5)})
    assert torch.equal(explanations.lrp(posterior, images, FOUR_TARGETS, rule=named), found)
    with pytest.raises(ValueError, match="layer is '2'; it may be one of: 1, 3, 5"):
        explanations.lrp(posterior, images, FOUR_TARGETS, rule=Composite(layers={"2": Gamma()}))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(2, 3, 2), Narrowed(3, 4, 2)
        self.weight, self.head = nn.Parameter(torch.randn(6, 16)), nn.Linear(6, 3)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu().flatten(1)
        return self.head(nn.functional.linear(x, self.weight).relu())


class Narrowed(nn.Conv2d):
    """A convolution of another class."""


def test_a_composite_gives_rules_by_the_type_of_a_layer(images):
    """The first type that fits counts; a name, and the ends, before it; a call of linear is a Linear."""
    posterior = Posterior.of(Mixed().double())
    z, g, e, a = ZPlus(), Gamma(0.3), Epsilon(0.2), AlphaBeta(2, 1)
    wanted = [
        (Composite(e, types={nn.Conv2d: z, nn.Linear: g}), {"first": z, "second": z, "linear()": g, "head": g}),
        (Composite(e, types={Narrowed: a, nn.Conv2d: z}), {"first": z, "second": a, "linear()": e, "head": e}),
        (Composite(e, types={nn.Conv2d: z, Narrowed: a}), {"first": z, "second": z, "linear()": e, "head": e}),
        (Composite(e, first=a, last=z, types={nn.Module: g}), {"first": a, "second": g, "linear()": g, "head": z}),
        (Composite(e, types={nn.Module: g}, layers={"second": a}), {"first": g, "second": a, "linear()": g, "head": g}),
    ]
    for given, layers in wanted:
        found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=given)
        assert torch.equal(found, explanations.lrp(posterior, images, FOUR_TARGETS, rule=Composite(layers=layers)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"types": {"Conv2d": ZPlus()}}, "types has the key 'Conv2d'; it must be a class, such as torch.nn.Conv2d"),
        ({"types": {nn.Conv2d: "gamma"}}, "types.Conv2d. is 'gamma'; it may be a rule"),
        ({"types": [nn.Conv2d]}, "types is a list; it must be a mapping"),
        ({"products": "all"}, "products is 'all'; it may be one of: half, signal"),
        ({"attention": "flow"}, "attention is 'flow'; it may be one of: constant, shared"),
        ({"norms": None}, "norms is None; it may be one of: before, neighbour"),
    ],
    ids=str,
)
def test_bad_parts_of_a_composite_get_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        Composite(**change)


def test_shares_of_the_generalised_gamma_are_bounded_and_those_of_the_published_one_are_not():
    """With inputs of both signs: 1 + 2 / gamma at most, however near to zero a sum is."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn((2000, 64), generator=generator, dtype=torch.float64)
    weight = torch.randn((1, 64), generator=generator, dtype=torch.float64)
    layer = Layer(Dense(), inputs, weight, None, inputs @ weight.T)
    sizes = {
        rule: rule.share(layer, torch.ones(2000, 1, dtype=torch.float64)).abs().sum(1).max().item()
        for rule in (GeneralisedGamma(0.25), GeneralisedGamma(1), Gamma(0.25))
    }
    assert sizes[GeneralisedGamma(0.25)] <= 9
    assert sizes[GeneralisedGamma(1)] <= 3
    assert sizes[Gamma(0.25)] > 100


def test_the_generalised_gamma_is_the_published_one_where_inputs_and_sums_are_positive():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand((50, 6), generator=generator, dtype=torch.float64)
    weight, bias = (
        torch.randn((4, 6), generator=generator, dtype=torch.float64),
        torch.full((4,), 6.0, dtype=torch.float64),
    )
    layer = Layer(Dense(), inputs, weight, bias, inputs @ weight.T + bias, nonnegative=True)
    assert (layer.outputs > 0).all()
    relevance = torch.randn((50, 4), generator=generator, dtype=torch.float64)
    found = GeneralisedGamma(0.4).share(layer, relevance)
    assert torch.allclose(found, Gamma(0.4).share(layer, relevance), atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gamma(-1), "gamma is -1"),
        (lambda: GeneralisedGamma(-1), "gamma is -1"),
        (lambda: AlphaBeta(2, 0), "alpha is 2 and beta is 0; alpha - beta must be 1"),
        (lambda: AlphaBeta(0.5, -0.5), "alpha is 0.5"),
        (lambda: ZBox(1, 0), "low is 1 and high is 0; low must be below high"),
    ],
)
def test_bad_settings_of_rules_get_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sign_that_hardly_occurs_gets_no_more_than_there_is():
    """In single precision the sum of the positive contributions, 1e-5, is lost beside that of the negative ones."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand((500, 300), generator=generator)
    weight = -torch.rand((1, 300), generator=generator)
    inputs[:, 0], weight[:, 0] = -1e-5, -1  # the only positive contribution
    layer = Layer(Dense(), inputs, weight, None, inputs @ weight.T)
    for sign in (1, -1):
        rule = AlphaBeta(1, 0) if sign == 1 else AlphaBeta(2, 1)
        given = Layer(Dense(), inputs, sign * weight, None, sign * layer.outputs)
        found = rule.share(given, torch.ones(500, 1))
        assert found.isfinite().all()
        assert found[:, 0].abs().max() <= 1.01
        assert found.abs().max() <= 2.01


def by_loops(layers, image, target, epsilon):
    """The epsilon rule as it is written: sums over single connections, on one image."""
    activations = [image.flatten()]
    for layer in layers:
        activations.append(layer(activations[-1][None])[0])
    relevance = torch.zeros_like(activations[-1])
    relevance[target] = activations[-1][target]
    for layer, inputs, outputs in zip(reversed(layers), activations[-2::-1], activations[:0:-1], strict=True):
        if not isinstance(layer, nn.Linear):
            continue
        shared = torch.zeros_like(inputs)
        for j in range(len(inputs)):
            for k in range(len(outputs)):
                sign = 1.0 if outputs[k] >= 0 else -1.0
                shared[j] += inputs[j] * layer.weight[k, j] / (outputs[k] + epsilon * sign) * relevance[k]
        relevance = shared
    return relevance.reshape(image.shape)


def loaded(posterior, sample=0):
    network = posterior.network
    network.load_state_dict({name: value[sample] for name, value in posterior.samples.items()})
    return network


@torch.no_grad()
@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "softplus"])
def test_the_epsilon_map_is_the_rule_written_out(some_images, some_labels, activation):
    posterior = random_posterior(architectures.fully_connected((1, 4, 4), 7, 3, activation), 2)
    for sample, maps in enumerate(
        explanations.lrp(posterior, some_images, some_labels, rule=Epsilon(0.1), per_sample=True)
    ):
        layers = list(loaded(posterior, sample))[1:]
        for image, label, found in zip(some_images, some_labels, maps, strict=True):
            assert torch.allclose(found, by_loops(layers, image, label, 0.1), atol=1e-12)


def test_the_stabiliser_pushes_zero_up():
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -1.0], [0.0, 0.0]]))
    image = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = explanations.lrp(Posterior.of(network), image, torch.tensor([0]), rule=Epsilon(0.5), seed="one_hot")
    assert found.flatten().tolist() == [2, -2]  # 1 / (0 + 0.5), and minus that


@pytest.mark.parametrize("epsilon", [-0.1, float("nan"), "0.1", True])
def test_a_bad_stabiliser_gets_a_sentence(epsilon):
    with pytest.raises(ValueError, match="epsilon is .*; it must be a finite number at least 0"):
        Epsilon(epsilon)


def test_without_a_stabiliser_a_silent_neuron_passes_nothing_on():
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False)).double()
    maps = explanations.lrp(
        Posterior.of(network), torch.zeros(1, 1, 2, 2, dtype=torch.float64), torch.tensor([0]), rule=Epsilon(0)
    )
    assert torch.equal(maps, torch.zeros_like(maps))


def test_without_a_stabiliser_a_cancelled_neuron_passes_nothing_on():
    """Its inputs are not zero, but their contributions are 1 and -1."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False), nn.Linear(1, 1)).double()
    with torch.no_grad():
        network[1].weight.copy_(torch.tensor([[1.0, -1.0]]))
    image = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = explanations.lrp(Posterior.of(network), image, torch.tensor([0]), rule=Epsilon(0), seed="one_hot")
    assert found.tolist() == [[[[0.0, 0.0]]]]


@pytest.mark.parametrize("given", [None, "epsilon", Epsilon, 0.1], ids=repr)
def test_what_is_no_rule_gets_a_sentence(dense_posterior, some_images, target, given):
    with pytest.raises(ValueError, match="rule is .*; it may be a rule of relevance.explanations"):
        explanations.lrp(dense_posterior, some_images, target, rule=given)
    with pytest.raises(ValueError, match="default is .*; it may be a rule"):
        Composite(given)
    with pytest.raises(ValueError, match="layers.'1'. is .*; it may be a rule"):
        Composite(layers={"1": given})


def test_a_layer_may_be_named_by_its_number(dense_posterior, some_images, target):
    first, second = (
        explanations.lrp(dense_posterior, some_images, target, rule=Composite(layers={one: ZPlus()}))
        for one in (3, "3")
    )
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="layer is '2'; it may be one of: 1, 3, 5"):
        explanations.lrp(dense_posterior, some_images, target, rule=Composite(layers={2: ZPlus()}))
