"""Descriptions: equal for equal values, others for others, and a sentence for what cannot be described."""

from __future__ import annotations

import argparse
import copy
import enum
import subprocess
import sys
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from relevance import explanations
from relevance.explanations import smoothing
from relevance.explanations.rules import Epsilon, Gamma
from relevance.explanations.ways import table
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.described import describe, describe_untrained


class Scaled(nn.Module):
    """A network with whatever attributes it is given, which its description as text does not show."""

    def __init__(self, **held):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        nn.init.ones_(self.layer.weight)
        nn.init.ones_(self.layer.bias)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.layer(x)


class Other(Scaled):
    """The same by another name."""


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


Point = namedtuple("Point", "x y")


@dataclass
class Chosen:
    size: int

    @cached_property
    def computed(self):
        return object()


def double(x):
    return 2 * x


def triple(x):
    return 3 * x


def multiplied(factor):
    def times(x):
        return factor * x

    return times


def made(factor):
    class Net(nn.Module):
        def forward(self, x):
            return factor * x

    return Net()


def hooked(kind="register_forward_hook", hook=double, times=1, **how):
    network = Scaled()
    for _ in range(times):
        getattr(network.layer, kind)(hook, **how)
    return network


def patched(forward):
    network = Scaled()
    network.layer.forward = forward
    return network


def bound(scale):
    network = Scaled(scale=scale)
    network.forward = partial(Scaled.forward, network)
    return network


def tied():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[1].weight = network[0].weight
    return network


def untied():
    network = tied()
    network[1].weight = nn.Parameter(network[0].weight.detach().clone())
    return network


def seeded(network):
    torch.manual_seed(0)
    return network()


def of_numbers(*numbers):
    return torch.tensor(numbers)


NETWORKS = {
    "plain": Scaled, "another class": Other, "a number": partial(Scaled, scale=1), "another number": partial(Scaled, scale=2),
    "a list": partial(Scaled, scales=[1, 2]), "another list": partial(Scaled, scales=[1, 3]),
    "a tuple": partial(Scaled, scales=(1, 2)), "nested": partial(Scaled, scales={"a": [1, {"b": 2}]}),
    "nested otherwise": partial(Scaled, scales={"a": [1, {"b": 3}]}), "a set": partial(Scaled, scales={1, 2}),
    "relu": partial(Scaled, act=functional.relu), "sine": partial(Scaled, act=torch.sin),
    "cosine": partial(Scaled, act=torch.cos), "a method": partial(Scaled, act=torch.Tensor.relu),
    "own function": partial(Scaled, act=double), "another own function": partial(Scaled, act=triple),
    "a lambda": lambda: Scaled(act=lambda x: x + 1), "another lambda": lambda: Scaled(act=lambda x: x + 2),
    "a closure": lambda: Scaled(act=multiplied(2)), "another closure": lambda: Scaled(act=multiplied(3)),
    "a partial": partial(Scaled, act=partial(functional.leaky_relu, negative_slope=0.1)),
    "another partial": partial(Scaled, act=partial(functional.leaky_relu, negative_slope=0.2)),
    "a tensor": lambda: Scaled(held=torch.ones(2)), "another tensor": lambda: Scaled(held=torch.zeros(2)),
    "a class as attribute": partial(Scaled, kind=nn.ReLU), "another class as attribute": partial(Scaled, kind=nn.GELU),
    "an object": lambda: Scaled(options=argparse.Namespace(a=1)),
    "another object": lambda: Scaled(options=argparse.Namespace(a=2)),
    "an array": lambda: Scaled(held=np.ones(2)), "another array": lambda: Scaled(held=np.zeros(2)),
    "a rule": partial(Scaled, rule=Epsilon(0.1)), "another rule": partial(Scaled, rule=Epsilon(0.2)),
    "a module more": lambda: Scaled(more=nn.ReLU()), "another module more": lambda: Scaled(more=nn.Tanh()),
    "a hook": hooked, "another hook": partial(hooked, hook=triple), "two hooks": partial(hooked, times=2),
    "a hook with keywords": partial(hooked, with_kwargs=True), "a hook that is always called": partial(hooked, always_call=True),
    "a pre-hook": partial(hooked, "register_forward_pre_hook"), "a backward hook": partial(hooked, "register_full_backward_hook"),
    "another pre-hook": partial(hooked, "register_forward_pre_hook", triple),
    "a closure as hook": lambda: hooked(hook=multiplied(2)), "another closure as hook": lambda: hooked(hook=multiplied(3)),
    "a patched forward": partial(patched, double), "another patched forward": partial(patched, triple),
    "a forward of itself": partial(bound, 1), "another forward of itself": partial(bound, 2),
    "in evaluation": lambda: Scaled().eval(), "a frozen weight": lambda: Scaled().requires_grad_(False),
    "double precision": lambda: Scaled().double(), "a class made in a function": partial(made, 2),
    "another class made in a function": partial(made, 3), "tied": partial(seeded, tied), "untied": partial(seeded, untied),
    "weight norm": partial(seeded, lambda: parametrizations.weight_norm(nn.Linear(2, 2))),
    "spectral norm": partial(seeded, lambda: parametrizations.spectral_norm(nn.Linear(2, 2))),
    "the old weight norm": partial(seeded, lambda: nn.utils.weight_norm(nn.Linear(2, 2))),
    "the old weight norm over all": partial(seeded, lambda: nn.utils.weight_norm(nn.Linear(2, 2), dim=None)),
    "momentum": partial(nn.BatchNorm1d, 2), "another momentum": partial(nn.BatchNorm1d, 2, momentum=0.2),
    "softened": lambda: smoothing.softened(Posterior.of(seeded(Calling)), 3.0).network,
    "softened less": lambda: smoothing.softened(Posterior.of(seeded(Calling)), 5.0).network,
}  # fmt: skip


class Calling(nn.Module):
    """A network that calls a function, which is traced to be softened."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        return functional.relu(self.layer(x))


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_networks_that_differ_in_anything_are_described_otherwise():
    told = {name: describe(make()) for name, make in NETWORKS.items()}
    again = {name: describe(make()) for name, make in NETWORKS.items()}
    assert told == again
    by_text = {}
    for name, text in told.items():
        assert text not in by_text, (name, by_text[text])
        by_text[text] = name


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", ["weight norm", "spectral norm", "the old weight norm", "plain"])
def test_what_a_call_leaves_behind_does_not_count(name):
    network = NETWORKS[name]().eval()
    before = describe(network)
    network(torch.ones(3, 2))
    assert describe(network) == before
    if not name.startswith("the old"):  # which torch does not copy
        assert describe(copy.deepcopy(network)) == before


VALUES = {
    "none": None, "true": True, "one": 1, "one point": 1.0, "text": "1", "bytes": b"1", "complex": 1j, "list": [1],
    "pair": (1, 2), "pair as list": [1, 2], "point": Point(1, 2), "mapping": {"a": 1}, "by number": {1: 1}, "other": {"b": 1},
    "ordered": OrderedDict(a=1), "set": {1, 2}, "frozen": frozenset({1, 2}), "slice": slice(1), "range": range(3),
    "minus zero": -0.0, "zero": 0.0, "nan": float("nan"), "numpy's": np.float64(1), "narrow": np.float32(1),
    "array": np.array([1.0]), "array of kinds": np.array([1, "a"], dtype=object), "tensor": of_numbers(1.0),
    "whole tensor": of_numbers(1), "row": torch.ones(1, 1), "column": torch.ones(1, 1, 1), "half": torch.ones(1).half(),
    "bfloat16": torch.ones(1, dtype=torch.bfloat16), "truth": torch.ones(1).bool(), "complex tensor": torch.ones(1) * 1j,
    "conjugate": (torch.ones(1) * 1j).conj(), "scalar": torch.tensor(1.0), "path": Path("x"), "here": Path("."),
    "function": explanations.lrp, "another": explanations.gradient, "partial": partial(explanations.lrp, rule=Epsilon(0.1)),
    "another partial": partial(explanations.lrp, rule=Epsilon(0.2)), "rule": Epsilon(0.1), "rule of 0.2": Epsilon(0.2),
    "gamma": Gamma(0.1), "class": Epsilon, "red": Colour.RED, "blue": Colour.BLUE, "kind": torch.float32,
    "device": torch.device("cpu"), "sine": torch.sin, "method": [1].append, "method of another": [2].append,
    "module": torch.nn.functional, "chosen": Chosen(1), "otherwise": Chosen(2),
}  # fmt: skip


def test_values_that_differ_are_described_otherwise():
    told = {name: describe(value) for name, value in VALUES.items()}
    assert told == {name: describe(value) for name, value in VALUES.items()}
    assert len(set(told.values())) == len(told)
    assert describe(Epsilon(0.1)) == describe(Epsilon())
    assert describe({2, 1, 10, 33}) == describe({33, 10, 1, 2})


def test_what_an_object_computed_for_itself_does_not_count():
    one, other = Chosen(1), Chosen(1)
    assert one.computed
    assert describe(one) == describe(other)
    other.more = 2
    assert describe(one) != describe(other)


def test_things_that_contain_themselves_are_described():
    one, other = [1], [2]
    one.append(one)
    other.append(other)
    assert describe(one) != describe(other)


SCRIPT = """
import torch
from torch import nn
from torch.nn import functional
from relevance.networks import architectures
from relevance.studies.described import describe
torch.manual_seed(0)
network = architectures.fully_connected((1, 4, 4), 5)
network.act, network.names = functional.relu, {"b", "a", "c"}
network[1].register_forward_hook(torch.sin)
print(describe(network))
"""


@pytest.mark.slow
def test_another_process_describes_a_network_alike(capsys):
    nn.Linear(1, 1).register_forward_hook(torch.cos)  # so that hooks have other numbers here
    exec(compile(SCRIPT, "script", "exec"), {})
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == capsys.readouterr().out


REFUSED = {
    "an object": object(),
    "a lock": threading.Lock(),
    "a generator": (x for x in ()),
    "a sparse tensor": torch.ones(2, 2).to_sparse(),
    "a tensor without values": torch.ones(2, device="meta"),
    "a file": sys.stdout,
    "a thread": threading.Thread(),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "where", [lambda x: x, lambda x: [x], lambda x: Scaled(held=x), lambda x: hooked(hook=partial(double, x))]
)
def test_what_cannot_be_compared_is_refused_wherever_it_is(name, where):
    with pytest.raises(
        ValueError, match="which the store cannot compare with another|it must be dense and have values"
    ):
        describe(where(REFUSED[name]))


def random_posterior():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
    samples = {name: torch.rand(2, *value.shape) for name, value in network.named_parameters()}
    return Posterior(network, samples)


def replaced(posterior):
    posterior.samples["1.weight"] = posterior.samples["1.weight"] + 1


def through_data(posterior):
    posterior.samples["1.weight"].data[0, 0, 0] = 5


def through_numpy(posterior):
    posterior.samples["1.weight"].numpy()[0, 0, 0] = 5


def through_storage(posterior):
    posterior.samples["1.weight"].untyped_storage()[0] ^= 1


def in_place(posterior):
    posterior.samples["1.bias"][1, 2] += 1e-6


def a_buffer(posterior):
    posterior.network[2].running_mean.data += 1


def a_hook(posterior):
    posterior.network[1].register_forward_hook(lambda module, inputs, output: output + 1)


def swapped_samples(posterior):
    for name, value in posterior.samples.items():
        posterior.samples[name] = value.flip(0)


CHANGES = [replaced, through_data, through_numpy, through_storage, in_place, a_buffer, a_hook, swapped_samples]


@pytest.mark.parametrize("change", CHANGES)
def test_a_posterior_that_was_changed_in_whatever_way_is_another(change):
    posterior = random_posterior()
    before = describe(posterior)
    assert describe(posterior) == before == describe(random_posterior())
    change(posterior)
    assert describe(posterior) != before


def test_the_weights_of_a_posteriors_own_network_and_the_order_of_its_samples_do_not_count():
    one, other = random_posterior(), random_posterior()
    nn.init.zeros_(other.network[1].weight)
    turned = Posterior(other.network, dict(reversed(other.samples.items())))
    assert describe(one) == describe(other) == describe(turned)


class Weighted(nn.Module):
    """A module with a weight that it does not know how to draw."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


def test_weights_that_training_draws_anew_do_not_count():
    one, other = (architectures.resnet20((1, 8, 8), hidden=2) for _ in range(2))
    assert describe(one) != describe(other)
    assert describe_untrained(one) == describe_untrained(other)
    named = [
        architectures.fully_connected((1, 4, 4), hidden, activation=how)
        for hidden in (3, 4)
        for how in ("relu", "softplus")
    ]
    assert len({*map(describe_untrained, named)}) == 4
    # What is not drawn anew: weights that others are computed of, and those of modules that draw none.
    for change in (
        lambda network: parametrizations.weight_norm(network[1]),
        lambda network: network.append(Weighted()),
    ):
        told = []
        for size in (1.0, 2.0):
            network = architectures.fully_connected((1, 4, 4), 5)
            change(network)
            for value in network.parameters():
                nn.init.constant_(value, size)
            told.append(describe_untrained(network))
        assert len(set(told)) == 2


class Bent(nn.Module):
    """An activation that LRP is told of."""

    def forward(self, x):
        return x.tanh()


def test_how_lrp_was_told_to_go_through_a_module_counts(monkeypatch):
    for name in ("MODULES", "FUNCTIONS", "REGISTERED"):
        monkeypatch.setattr(table, name, dict(getattr(table, name)))
    for kind, module in ((Bent, Bent()), (torch.cumsum, nn.Linear(2, 2))):
        told = [describe(module)]
        for way in (
            explanations.pass_on,
            explanations.in_proportion,
            lambda function, inputs, outputs, relevance: relevance * 2,
        ):
            table.register(kind, way)
            told.append(describe(module))
        assert len(set(told)) == 4
