"""Every rule against its definition on dense matrices that the Jacobian gives, and against zennit."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import jacrev
from torch.nn import functional

from conftest import random_posterior
from relevance import explanations
from relevance.explanations import AlphaBeta, Composite, Epsilon, Flat, Gamma, WSquare, ZBox, ZPlus
from relevance.explanations.affine import Dense, Layer
from relevance.explanations.steps import MODULES
from relevance.posterior import Posterior

RULES = [Epsilon(0.1), Gamma(0.1), Gamma(0.0), AlphaBeta(1, 0), AlphaBeta(2, 1), ZPlus(), ZBox(), ZBox(-0.5, 2.0),
         WSquare(), Flat()]  # fmt: skip


class Residual(nn.Module):
    """A block with a branch of its own, a shortcut, and an activation on their sum."""

    def __init__(self, body, shortcut, activation):
        super().__init__()
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x):
        return self.activation(self.body(x) + self.shortcut(x))


def dense():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(32, 6), nn.LeakyReLU(0.2), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 3)
    )


def convolutional():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(2, 1),
        nn.Conv2d(4, 4, 2, padding=2, dilation=2), nn.LeakyReLU(0.3), nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip


def residual():
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU(), Residual(body, nn.Identity(), nn.ReLU()),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 3),
    )  # fmt: skip


NETWORKS = {"dense": dense, "convolutional": convolutional, "residual": residual}


@pytest.fixture(params=list(NETWORKS))
def posterior(request):
    torch.manual_seed(0)
    network = NETWORKS[request.param]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return random_posterior(network, n_samples=3, seed=1)


@pytest.fixture
def images():
    return torch.rand((4, 2, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


TARGET = torch.tensor([0, 1, 2, 1])


def matrix(layer, inputs):
    """The matrix [K, J] and the bias [K] of an affine layer, from its Jacobian at any point."""
    jacobian = jacrev(lambda x: layer(x[None])[0])(inputs)
    offset = layer(torch.zeros_like(inputs)[None])[0].flatten()
    return jacobian.reshape(offset.numel(), inputs.numel()), offset


def connections(layer, inputs):
    """Which input reaches which output: the matrix with all weights one."""
    import copy

    ones = copy.deepcopy(layer)
    with torch.no_grad():
        ones.weight.fill_(1.0)
        if ones.bias is not None:
            ones.bias.zero_()
    return matrix(ones, inputs)[0]


def off_zero(z):
    return torch.where(z >= 0, z + 1e-14, z - 1e-14)


def share(rule, layer, inputs, relevance):
    """The rule as it is published, on single contributions."""
    weight, bias = matrix(layer, inputs)
    a = inputs.flatten()
    contributions = weight * a

    def ratio(parts, total):
        return (parts * (relevance.flatten() / total)[:, None]).sum(0)

    if isinstance(rule, Epsilon):
        z = contributions.sum(1) + bias
        found = ratio(contributions, torch.where(z >= 0, z + rule.epsilon, z - rule.epsilon))
    elif isinstance(rule, Gamma):
        raised = (weight + rule.gamma * weight.clamp(min=0)) * a
        found = ratio(raised, off_zero(raised.sum(1) + bias + rule.gamma * bias.clamp(min=0)))
    elif isinstance(rule, AlphaBeta):
        plus, minus = contributions.clamp(min=0), contributions.clamp(max=0)
        found = rule.alpha * ratio(plus, plus.sum(1) + bias.clamp(min=0) + 1e-14)
        found = found - rule.beta * ratio(minus, minus.sum(1) + bias.clamp(max=0) - 1e-14)
    elif isinstance(rule, ZPlus):
        plus = contributions.clamp(min=0)
        found = ratio(plus, plus.sum(1) + 1e-14)
    elif isinstance(rule, ZBox):
        parts = contributions - rule.low * weight.clamp(min=0) - rule.high * weight.clamp(max=0)
        found = ratio(parts, off_zero(parts.sum(1)))
    elif isinstance(rule, WSquare):
        found = ratio(weight**2, (weight**2).sum(1) + 1e-14)
    else:
        ones = connections(layer, inputs)
        found = ratio(ones, ones.sum(1) + 1e-14)
    return found.reshape(inputs.shape)


def folded(convolution, norm):
    """One convolution that does what a convolution and a batch norm do."""
    new = nn.Conv2d(convolution.in_channels, convolution.out_channels, 3, padding=1).double()
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    with torch.no_grad():
        new.weight.copy_(convolution.weight * factor[:, None, None, None])
        new.bias.copy_(norm.bias - norm.running_mean * factor)
    return new


def steps(network):
    """The layers of a plain chain, with batch norm folded."""
    layers = []
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = folded(layers[-1], layer)
        else:
            layers.append(layer)
    return layers


def backward(rule, layers, inputs, relevance_of):
    """Relevance of the inputs of a chain, one image at a time; ``relevance_of`` gives that of its output."""
    values = [inputs]
    for layer in layers:
        values.append(layer(values[-1][None])[0])
    relevance = relevance_of(values[-1])
    for layer, a, z in zip(reversed(layers), values[-2::-1], values[:0:-1], strict=True):
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            relevance = share(rule, layer, a, relevance)
        elif isinstance(layer, nn.Flatten):
            relevance = relevance.reshape(a.shape)
        elif isinstance(layer, nn.MaxPool2d):
            winners = jacrev(lambda x, layer=layer: layer(x[None])[0])(a).reshape(z.numel(), a.numel())
            relevance = (winners * relevance.flatten()[:, None]).sum(0).reshape(a.shape)
        elif isinstance(layer, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            parts = jacrev(lambda x, layer=layer: layer(x[None])[0])(a).reshape(z.numel(), a.numel()) * a.flatten()
            relevance = (parts * (relevance.flatten() / off_zero(z.flatten()))[:, None]).sum(0).reshape(a.shape)
        elif isinstance(layer, Residual):
            body = steps(layer.body)
            branch, total = a, relevance
            for inner in body:
                branch = inner(branch[None])[0]
            whole = off_zero(branch + a)
            through = backward(rule, body, a, lambda value, t=total, w=whole: value * t / w)
            relevance = through + a * total / whole
    return relevance


@torch.no_grad()
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_rule_is_its_definition(posterior, images, rule):
    found = explanations.lrp(posterior, images, TARGET, rule=rule, per_sample=True)
    for index in range(len(posterior)):
        network = posterior[index].network
        network.load_state_dict({name: value[index] for name, value in posterior.samples.items()}, strict=False)
        for image, label, one in zip(images, TARGET, found[index], strict=True):
            seed = torch.eye(3, dtype=torch.float64)[label]
            wanted = backward(rule, steps(network), image, lambda logits, seed=seed: logits * seed)
            assert torch.allclose(one, wanted, atol=1e-9 * max(1, wanted.abs().max().item()), rtol=1e-7)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_every_map_can_be_differentiated_again(posterior, images, rule):
    """By finite differences, of the expected map and of that of one sample."""
    weights = torch.randn(images.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for one in (posterior, posterior[0]):

        def score(at, one=one):
            return (explanations.lrp(one, at, TARGET, rule=rule) * weights).sum()

        leaf = images.clone().requires_grad_()
        (found,) = torch.autograd.grad(score(leaf), leaf)
        direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
        direction = direction * (images > 1e-3) * (images < 1 - 1e-3)
        step = 1e-7 * direction
        wanted = (score(images + step) - score(images - step)) / 2e-7
        assert (found * direction).sum().item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("rule", [Gamma(0.1), AlphaBeta(1, 0), AlphaBeta(2, 1), ZPlus(), WSquare(), Flat(), Epsilon(1e-14)],
                         ids=repr)  # fmt: skip
def test_relevance_is_conserved_where_no_bias_keeps_any(images, rule):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 32, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 64, bias=False), nn.ReLU(),
        nn.Linear(64, 3, bias=False),
    ).double()  # fmt: skip
    posterior = Posterior.of(network)
    maps = explanations.lrp(posterior, images, TARGET, rule=rule, seed="one_hot")
    # A rule of one sign loses what arrives at a neuron without a contribution of that sign; here every neuron has both.
    assert torch.allclose(maps.flatten(1).sum(1), torch.ones(4, dtype=torch.float64), atol=1e-10)


def test_a_composite_gives_each_layer_its_rule(images):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    ).double()
    posterior = Posterior.of(network)
    composite = Composite(Gamma(0.2), first=ZBox(), last=Epsilon(0.5))
    found = explanations.lrp(posterior, images, TARGET, rule=composite)
    for image, label, one in zip(images, TARGET, found, strict=True):
        seed = torch.eye(3, dtype=torch.float64)[label]
        upper = backward(Epsilon(0.5), [network[5]], network[:5](image[None])[0], lambda logits, s=seed: logits * s)
        middle = backward(Gamma(0.2), [network[3], network[4]], network[:3](image[None])[0], lambda _, r=upper: r)
        wanted = backward(ZBox(), [network[0], network[1], network[2]], image, lambda _, r=middle: r)
        assert torch.allclose(one, wanted, atol=1e-9)
    named = Composite(Gamma(0.2), layers={"1": ZBox(), "5": Epsilon(0.5)})
    assert torch.equal(explanations.lrp(posterior, images, TARGET, rule=named), found)
    with pytest.raises(ValueError, match="layer is '2'; it may be one of: 1, 3, 5"):
        explanations.lrp(posterior, images, TARGET, rule=Composite(layers={"2": Gamma()}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gamma(-1), "gamma is -1"),
        (lambda: AlphaBeta(2, 0), "alpha is 2 and beta is 0; alpha - beta must be 1"),
        (lambda: AlphaBeta(0.5, -0.5), "alpha is 0.5"),
        (lambda: ZBox(1, 0), "high is 0; it must be a finite number above 1"),
    ],
)
def test_bad_settings_of_rules_get_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


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
            explanations.lrp(posterior, images, TARGET)
        return
    with pytest.raises(ValueError, match=message):
        explanations.lrp(posterior, images, TARGET)


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
        maps.append(explanations.lrp(Posterior.of(Called(called).double()), images, TARGET, rule=rule))
    assert torch.allclose(*maps, atol=1e-12)
    assert maps[0].abs().max() > 1e-4


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
        explanations.lrp(posterior, images, TARGET)
    explanations.register(Scaled, explanations.pass_on)
    for factor, found in zip((1, 1.5), explanations.lrp(posterior, images, TARGET, rule=Gamma(0.2), per_sample=True),
                             strict=True):  # fmt: skip
        below, above = nn.Linear(32, 5).double(), nn.Linear(5, 3).double()
        for mine, given in ((below, network[1]), (above, head)):
            mine.load_state_dict({name: factor * value for name, value in given.state_dict().items()})
        for image, label, one in zip(images, TARGET, found, strict=True):
            z = below(image.flatten()[None])[0]
            hidden = factor * 2 * torch.tanh(z)
            seed = torch.eye(3, dtype=torch.float64)[label]
            relevance = backward(Gamma(0.2), [above], hidden, lambda logits, s=seed: logits * s)
            wanted = share(Gamma(0.2), below, image.flatten(), relevance).reshape(image.shape)
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


def test_the_paper_s_reading_explains_the_activations_of_a_layer(images):
    torch.manual_seed(0)
    network = convolutional().double()
    posterior = Posterior.of(network)
    for layer, n_below in (("0", 2), ("3", 5)):
        found = explanations.lrp(posterior, images, TARGET, rule=Gamma(0.3), layer=layer)
        for image, one in zip(images, found, strict=True):
            wanted = backward(Gamma(0.3), list(network[:n_below]), image, lambda activations: activations)
            assert torch.allclose(one, wanted, atol=1e-9)
    whole = explanations.lrp(posterior, images, TARGET, rule=Gamma(0.3))
    assert torch.equal(explanations.lrp(posterior, images, TARGET, rule=Gamma(0.3), layer=7), whole)


def test_the_other_reading_is_the_relevance_of_the_class_at_a_layer(images):
    torch.manual_seed(0)
    network = convolutional().double()
    posterior = Posterior.of(network)
    for layer, n_below in (("0", 2), ("3", 5)):
        found = explanations.lrp(posterior, images, TARGET, rule=Gamma(0.3), layer=layer, reading="class")
        for image, label, one in zip(images, TARGET, found, strict=True):
            seed = torch.eye(3, dtype=torch.float64)[label]
            middle = network[:n_below](image[None])[0]
            wanted = backward(Gamma(0.3), list(network[n_below:]), middle, lambda logits, s=seed: logits * s)
            assert torch.allclose(one, wanted, atol=1e-9)


def test_layers_of_branches_have_both_readings(images):
    posterior = random_posterior(residual(), n_samples=2)
    for name in ("0", "2.body.0", "2.body.3", "6"):
        down = explanations.lrp(posterior, images, TARGET, layer=name)
        at = explanations.lrp(posterior, images, TARGET, layer=name, reading="class", per_sample=True)
        assert down.shape == images.shape
        assert at.shape[:2] == (2, 4)
    with pytest.raises(ValueError, match=r"layer is '1'; it may be one of: 0, 2\.body\.0, 2\.body\.3, 6"):
        explanations.lrp(posterior, images, TARGET, layer=1)
    with pytest.raises(ValueError, match="reading is 'both'; it may be one of: activation, class"):
        explanations.lrp(posterior, images, TARGET, layer=0, reading="both")


@pytest.mark.parametrize("rule", [Epsilon(0.1), Gamma(0.1), AlphaBeta(2, 1)], ids=repr)
def test_what_layers_kept_and_what_arrived_is_what_was_handed_in(posterior, images, rule):
    kept = explanations.kept_by_layer(posterior, images, TARGET, rule=rule)
    maps = explanations.lrp(posterior, images, TARGET, rule=rule)
    logits = posterior.logits(images).mean(0).gather(1, TARGET[:, None]).squeeze(1)
    assert all(part.shape == (4,) for part in kept.values())
    assert torch.allclose(sum(kept.values()) + maps.flatten(1).sum(1), logits, atol=1e-6)
