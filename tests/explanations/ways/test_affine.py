"""Affine layers of one to three dimensions and their transposes, as modules and as calls, by every rule."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from around import IMAGES, TARGETS, Around, Function, assert_way, jacobian_of
from oracles import random_posterior, shared_by_definition
from relevance import explanations
from relevance.explanations.graph import RelevanceGraph
from relevance.explanations.rules import AlphaBeta, Composite, Epsilon, Flat, Gamma, GeneralisedGamma, WSquare, ZPlus


def by_definition(rule):
    """The oracle of an affine layer by its rule, with the bias that it has at zero."""

    def oracle(inner, inputs, outputs, relevance):
        return shared_by_definition(rule, inner, inputs, relevance).detach()

    return oracle


MODULES = {
    "Linear of sequences": (lambda: nn.Linear(4, 3), (3, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), (2, 7)),
    "Conv2d": (lambda: nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4), (4, 4, 3)),
    "Conv3d": (lambda: nn.Conv3d(2, 3, (1, 2, 2), stride=(1, 2, 1), padding=(0, 1, 0)), (2, 2, 3, 3)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 4)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, (2, 3), stride=2, padding=(0, 1), dilation=(1, 2)), (2, 2, 3)),
    "ConvTranspose3d": (lambda: nn.ConvTranspose3d(2, 2, 2, stride=(1, 2, 1)), (2, 2, 2, 2)),
    "reflected": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 3, 3)),
    "circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), (2, 5)),
    "replicated": (lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="replicate"), (2, 3, 3)),
    "more on one side": (lambda: nn.Conv2d(2, 3, (2, 4), padding="same"), (2, 3, 4)),
    "same": (lambda: nn.Conv2d(2, 3, 3, padding="same"), (2, 3, 3)),
    "BatchNorm1d": (lambda: trained(nn.BatchNorm1d(6)), (6,)),
    "BatchNorm2d": (lambda: trained(nn.BatchNorm2d(2)), (2, 3, 2)),
    "BatchNorm3d": (lambda: trained(nn.BatchNorm3d(2)), (2, 2, 1, 2)),
}
RULES = [Epsilon(0.1), Gamma(0.3), GeneralisedGamma(0.3), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat()]


def trained(norm):
    torch.manual_seed(5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    return norm.eval()


@pytest.mark.parametrize("name", MODULES)
def test_modules_share_by_the_epsilon_rule(name):
    make, shape = MODULES[name]
    if "BatchNorm" not in name:
        assert_way(make(), shape, by_definition(Epsilon(1e-9)))
        return
    # Behind an activation, since a batch norm right after a dense layer is a part of it.
    inner = nn.Sequential(nn.LeakyReLU(0.5), make())
    assert_way(inner, shape, lambda two, a, z, r: by_definition(Epsilon(1e-9))(two[1], two[0](a[None])[0], z, r))


# A copy of an input beside an image is an input by itself: the signs of its weights are not those of sums of weights.
COPIES = {"reflected", "replicated"}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "Linear of sequences" and name not in COPIES])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_knows_every_layer(name, rule):
    """With inputs of both signs, as the definitions have it on dense matrices."""
    make, shape = MODULES[name]
    torch.manual_seed(0)
    layer = make().double().eval()
    network = nn.Sequential(nn.LeakyReLU(0.5), layer, nn.Flatten())
    inputs = torch.randn((1, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    graph = RelevanceGraph(network, shape)
    with torch.no_grad():
        visits = graph.forward(inputs, dict(network.named_parameters()))
        (visit,) = [visit for visit in visits.values() if visit.layer is not None]
        relevance = torch.randn(visit.value.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        found = rule.share(visit.layer, relevance)[0]
        wanted = shared_by_definition(rule, layer, visit.layer.inputs[0], relevance[0])
    assert visit.layer.inputs.min() < 0
    assert torch.allclose(found, wanted, rtol=1e-7, atol=1e-9)


def functions():
    torch.manual_seed(0)
    weight = {n: nn.Parameter(torch.randn(4, 2, *[2] * n)) for n in (1, 2, 3)}
    transposed = {n: nn.Parameter(torch.randn(4, 3, *[2] * n)) for n in (1, 2, 3)}
    bias, few = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(3))
    return {
        "linear": (functional.linear, (3, 5), (nn.Parameter(torch.randn(4, 5)), bias), 4),
        "conv1d": (lambda x, w, b: functional.conv1d(x, w, b, stride=2, groups=2), (4, 6), (weight[1], bias), 4),
        "conv2d": (lambda x, w, b: functional.conv2d(x, w, b, padding=1, groups=2), (4, 2, 3), (weight[2], bias), 4),
        "conv3d": (lambda x, w, b: functional.conv3d(x, w, b, groups=2), (4, 2, 2, 3), (weight[3], bias), 4),
        "conv_transpose1d": (lambda x, w, b: functional.conv_transpose1d(x, w, b, 2), (4, 3), (transposed[1], few), 3),
        "conv_transpose2d": (
            lambda x, w, b: functional.conv_transpose2d(x, w, b, stride=2, padding=1), (4, 2, 3), (transposed[2], few), 3),
        "conv_transpose3d": (lambda x, w, b: functional.conv_transpose3d(x, w, bias=b), (4, 2, 1, 2), (transposed[3], few), 3),
    }  # fmt: skip


def from_zero(inner, inputs, outputs, relevance):
    """The epsilon rule by a Jacobian and what the layer gives for nothing."""
    bias = inner(torch.zeros_like(inputs)[None])[0].flatten()
    contributions = jacobian_of(inner, inputs) * inputs.flatten()
    z = contributions.sum(1) + bias
    shares = contributions / torch.where(z >= 0, z + 1e-9, z - 1e-9)[:, None]
    return (shares * relevance.flatten()[:, None]).sum(0).reshape(inputs.shape).detach()


@pytest.mark.parametrize("name", functions())
def test_calls_share_as_modules_do(name):
    function, shape, parameters, _ = functions()[name]
    assert_way(Function(function, *parameters), shape, from_zero)


def test_a_call_of_batch_norm_is_a_layer():
    class Own(nn.BatchNorm1d):
        def forward(self, x):
            return functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.1, self.eps
            )

    inner = nn.Sequential(nn.LeakyReLU(0.5), trained(Own(6)))
    assert_way(inner, (6,), lambda two, a, z, r: from_zero(two[1], two[0](a[None])[0], z, r))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: functional.batch_norm(x, None, None, training=True),
            "calls batch_norm with the statistics of the batch",
        ),
        (lambda x: functional.linear(x, x[0].outer(x[0])), "calls linear with weights that depend on the image"),
        (
            lambda x: functional.conv1d(x[:, None], torch.ones(1, 1, 3, dtype=torch.float64), padding="same"),
            "padding 'same'",
        ),
    ],
)
def test_calls_that_are_no_affine_layers_are_refused(call, message):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(16, 5).double(), nn.Linear(5, 3).double()

        def forward(self, x):
            return self.head(call(self.first(x.flatten(1))).flatten(1))

    with pytest.raises(ValueError, match=message):
        RelevanceGraph(Own(), (1, 4, 4))


def test_layers_have_names_by_their_modules_and_weights():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.matrix = nn.Linear(4, 4), nn.Parameter(torch.randn(4, 4))
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x):
            x = functional.linear(x, self.qkv.weight, self.qkv.bias) @ self.matrix
            return functional.linear(self.attention(x, x, x)[0], self.matrix) @ self.matrix.mT

    posterior = random_posterior(Around(Own(), (3, 4)), 1)
    kept = explanations.kept_by_layer(posterior, IMAGES, TARGETS, rule=Composite(Epsilon(), attention="constant"))
    layers = [name for name in kept if "softmax" not in name]
    assert layers == ["first", "inner.qkv", "inner.matmul()", "inner.attention.in_proj", "inner.attention.out_proj",
                      "inner.linear()", "inner.matmul_1()", "head"]  # fmt: skip
