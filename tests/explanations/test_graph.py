from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from oracles import FOUR_TARGETS, random_posterior, residual
from relevance import explanations
from relevance.explanations.graph import RelevanceGraph, graph_of
from relevance.explanations.rules import Composite, Epsilon, ZPlus
from relevance.networks.posterior import Posterior

# Torch maps the old weight_norm over samples one by one.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


class Rectified(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight.clamp(min=0), self.bias)


class Standardised(nn.Conv2d):
    def forward(self, x):
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        deviation = self.weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(x, (self.weight - mean) / deviation, self.bias, self.stride, self.padding)


class Halved(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return functional.conv2d(x, 0.5 * weight, bias, padding=self.padding)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Reflected(nn.Conv2d):
    def forward(self, x):
        return super().forward(functional.pad(x, (1, 1, 1, 1), "reflect"))


class Largest(nn.AvgPool2d):
    def forward(self, x):
        return functional.max_pool2d(x, 2)


class Backwards(nn.Flatten):
    def forward(self, x):
        return super().forward(x).flip(1)


class Unshifted(nn.BatchNorm2d):
    def forward(self, x):
        return x * self.weight[:, None, None]


class Borrowed(nn.Linear):
    """Says that it computes nothing else, but has its weights from elsewhere."""

    @property
    def weight(self):
        return self.inner

    @weight.setter
    def weight(self, value):
        self.register_parameter("inner", value)


class Own(nn.Module):
    """A forward pass with values of its own, of some kind."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.weight, self.scale = nn.Parameter(torch.randn(3, 32)), nn.Parameter(torch.tensor(2.0))
        self.register_buffer("mask", torch.linspace(-1, 1, 96).reshape(3, 32))
        self.layer = nn.Linear(32, 32)

    def forward(self, x, twice=False):
        flat = x.flatten(1)
        match self.how:
            case "parameter":
                return functional.linear(flat, self.weight)
            case "buffer":
                return functional.linear(functional.relu(self.layer(flat)), self.weight * self.mask)
            case "constant":
                return functional.linear(flat, torch.eye(3, 32, dtype=torch.float64), bias=self.scale.expand(3))
            case "shared":
                return functional.linear(functional.relu(self.layer(functional.relu(self.layer(flat)))), self.weight)
            case "optional":
                return functional.linear(flat + flat if twice else flat, self.weight)
            case "scalar":
                return functional.linear(self.scale * flat, self.weight)
            case "batch":
                return functional.linear(flat, self.weight) + functional.linear(flat, self.mask).mean(0, keepdim=True)
            case "random":
                return functional.linear(functional.dropout(flat, 0.5), self.weight)
            case "tuple":
                return functional.linear(flat, self.weight), flat
            case "image":
                return functional.linear(flat, self.weight * flat.mean())


def tied():
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    network[3].weight = network[1].weight
    return network


def changed(layer, change):
    network = nn.Sequential(nn.Flatten(), nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 3))
    network[layer] = change(network[layer]) or network[layer]
    return network


def hooked(how):
    def register(module):
        if how == "before":
            module.register_forward_pre_hook(
                lambda module, inputs: (functional.leaky_relu(inputs[0] - -inputs[0], 0.3),)
            )
        elif how == "relu":
            module.register_forward_hook(lambda module, inputs, outputs: functional.relu(outputs))
        else:
            module.register_forward_hook(lambda module, inputs, outputs: 3 * outputs)

    return register


def patch(module):
    weight = module.weight
    module.forward = lambda x: functional.linear(x, module.weight / module.weight.norm()) if weight is not None else x


def whole(module, change):
    change(module)
    return module


def around(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


EXACT = {
    "weight_norm": lambda: changed(1, parametrizations.weight_norm),
    "old weight_norm": lambda: changed(1, weight_norm),
    "spectral_norm": lambda: changed(3, parametrizations.spectral_norm),
    "old spectral_norm": lambda: changed(1, spectral_norm),
    "orthogonal": lambda: changed(1, parametrizations.orthogonal),
    "weight_norm of a convolution": lambda: around(
        parametrizations.weight_norm(nn.Conv2d(2, 3, 2, stride=2)), nn.ReLU()
    ),
    "standardised": lambda: around(Standardised(2, 3, 3, padding=1), nn.ReLU()),
    "_conv_forward": lambda: around(Halved(2, 3, 3, padding=1), nn.LeakyReLU()),
    "rectified": lambda: changed(1, lambda layer: Rectified(32, 4)),
    "pool": lambda: around(nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), Largest(2)),
    "borrowed": lambda: changed(1, lambda layer: Borrowed(32, 4)),
    "hook": lambda: changed(1, hooked("relu")),
    "hook of the whole": lambda: whole(changed(1, lambda layer: None), hooked("relu")),
    "patched": lambda: changed(1, patch),
    "tied": tied,
    "scaled": lambda: changed(1, lambda layer: Doubled(32, 4)),
    "padded": lambda: around(Reflected(2, 3, 3), nn.ReLU()),
    "reordered": lambda: nn.Sequential(Backwards(), nn.Linear(32, 3)),
    "batch norm without a shift": lambda: around(nn.Conv2d(2, 3, 3), Unshifted(3)),
    "scaling hook": lambda: changed(1, hooked("three")),
    "hook before": lambda: changed(1, hooked("before")),
    "scaling hook of the whole": lambda: whole(changed(1, lambda layer: None), hooked("three")),
    "scaling hook of a layer": lambda: whole(nn.Sequential(nn.Flatten(), nn.Linear(32, 3)), hooked("three")),
    **{how: lambda how=how: Own(how) for how in ("parameter", "buffer", "constant", "shared", "optional", "scalar")},
}
REFUSED = {
    "batch": (lambda: Own("batch"), "act on each image by itself"),
    "random": (lambda: Own("random"), "must be the same each time"),
    "tuple": (lambda: Own("tuple"), "logits"),
    "image": (lambda: Own("image"), "calls linear with weights that depend on the image"),
}


def samples_of(make, images):
    """Two samples around the weights of a network."""
    torch.manual_seed(0)
    network = make().double()
    network(images)  # shapes of lazy layers
    around = {
        name: value.detach() * (1 + 0.3 * torch.randn(2, *value.shape, dtype=value.dtype))
        for name, value in network.named_parameters()
    }
    return Posterior(network.eval(), around)


@pytest.mark.parametrize("name", EXACT)
def test_what_a_network_computes_is_what_is_explained(images, name):
    posterior = samples_of(EXACT[name], images)
    found = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Epsilon(1e-13), per_sample=True)
    wanted = explanations.gradient_x_input(posterior, images, FOUR_TARGETS, per_sample=True)
    assert torch.allclose(found, wanted, rtol=1e-7, atol=1e-9)
    assert found.any()
    kept = sum(explanations.kept_by_layer(posterior, images, FOUR_TARGETS).values())
    logits = posterior.logits(images).mean(0).gather(1, FOUR_TARGETS[:, None])[:, 0]
    arrived = explanations.lrp(posterior, images, FOUR_TARGETS, rule=Epsilon()).flatten(1).sum(1)
    assert torch.allclose(arrived + kept, logits, atol=1e-9)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("explain", [explanations.lrp, explanations.guided_backprop, explanations.kept_by_layer])
def test_what_the_graph_would_get_wrong_is_refused(images, name, explain):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        explain(samples_of(make, images), images, FOUR_TARGETS)


def test_a_layer_that_is_used_twice_is_one_layer(images):
    posterior = samples_of(lambda: Own("shared"), images)
    assert set(explanations.kept_by_layer(posterior, images, FOUR_TARGETS)) == {"layer", "linear()"}
    with pytest.raises(ValueError, match=r"layer is 'layer', which is used 2 times; it may be one of: linear\(\)\."):
        explanations.lrp(posterior, images, FOUR_TARGETS, layer="layer")
    with pytest.raises(ValueError, match="the network uses layer layer more than once; patterns are of layers"):
        explanations.fit_patterns(posterior, images)
    rules = Composite(Epsilon(0.1), layers={"linear()": ZPlus()})
    assert not torch.equal(
        explanations.lrp(posterior, images, FOUR_TARGETS, rule=rules),
        explanations.lrp(posterior, images, FOUR_TARGETS, rule=Epsilon(0.1)),
    )


def test_the_network_that_is_explained_is_left_as_it_is(images):
    network = changed(1, weight_norm).double()
    before = network(images)
    posterior = Posterior.of(network)
    explanations.lrp(posterior, images, FOUR_TARGETS)
    assert torch.equal(network(images), before)
    assert torch.allclose(posterior.logits(images)[0], before)
    assert isinstance(posterior.network[1].weight, torch.Tensor)


def test_layers_of_branches_have_both_readings(images):
    posterior = random_posterior(residual(), n_samples=2)
    for name in ("0", "2.body.0", "2.body.3", "6"):
        down = explanations.lrp(posterior, images, FOUR_TARGETS, layer=name)
        at = explanations.lrp(posterior, images, FOUR_TARGETS, layer=name, reading="class", per_sample=True)
        assert down.shape == images.shape
        assert at.shape[:2] == (2, 4)
    with pytest.raises(ValueError, match=r"layer is '1'; it may be one of: 0, 2\.body\.0, 2\.body\.3, 6"):
        explanations.lrp(posterior, images, FOUR_TARGETS, layer=1)
    with pytest.raises(ValueError, match="reading is 'both'; it may be one of: activation, class"):
        explanations.lrp(posterior, images, FOUR_TARGETS, layer=0, reading="both")


class Chaotic(nn.Module):
    """A network that makes much of the last bits: the logistic map, from a batch norm that is merged into its layer."""

    def __init__(self, n=22):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.norm, self.head, self.n = nn.Linear(32, 8), nn.BatchNorm1d(8), nn.Linear(8, 3), n
        nn.init.normal_(self.norm.weight)

    def forward(self, x):
        x = self.norm(self.layer(x.flatten(1))).sigmoid()
        for _ in range(self.n):
            x = 4 * x * (1 - x)
        return self.head(x)


def test_a_network_that_makes_much_of_roundings_is_compared_in_double_precision(images):
    posterior = Posterior.of(Chaotic())
    graph = RelevanceGraph(posterior.network, images.shape[1:])
    sample = {name: value[0] for name, value in posterior.samples.items()}
    # Whether an image alone is rounded as beside another is the CPU's choice, image by image.
    some = torch.rand(40, 1, *images.shape[1:], generator=torch.Generator().manual_seed(0))
    odd = [image for image in some if not graph._same(image, sample, 1e-3)]
    assert odd
    graph.compare(posterior, odd[0])
    assert graph_of(posterior, images.float()).affine_layers == ["layer", "head"]
