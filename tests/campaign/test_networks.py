"""Random networks of layers, subclasses, hooks, patches and parametrisations: a map is right, or it is refused."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from relevance import explanations
from relevance.explanations.rules import Epsilon
from relevance.networks.posterior import Posterior

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WIDTH = 8
IMAGES = torch.rand((3, 2, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGET = torch.tensor([0, 1, 1])
CASES = 300


def own(base, method, function, *arguments):
    """Make a layer of a subclass with one method of its own."""
    return lambda: type(f"Own{base.__name__}", (base,), {method: function})(*arguments)


def reshaped(make):
    """Make a layer for images of 2x2x2 pixels that takes them flat."""
    return lambda: Reshaped(make())


def squared(self, x, weight, bias):
    return functional.conv2d(x, weight * weight, bias)


def moved_average(self, x):
    return functional.avg_pool2d(x, 2, 1, 1)[..., 1:, 1:]


def three_times(self, x):
    return 3 * nn.Linear.forward(self, x)


def shifted(self, x):
    return nn.Linear.forward(self, x) + 1


def rectified(self, x):
    return functional.linear(x, self.weight.relu(), self.bias)


def standardised(self, x):
    return functional.linear(x, self.weight / self.weight.std(), self.bias)


LAYERS = {
    "linear": lambda: nn.Linear(WIDTH, WIDTH),
    "no bias": lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    "subclass": own(nn.Linear, "extra_repr", lambda self: "same", WIDTH, WIDTH),
    "rectified": own(nn.Linear, "forward", rectified, WIDTH, WIDTH),
    "standardised": own(nn.Linear, "forward", standardised, WIDTH, WIDTH),
    "scaled": own(nn.Linear, "forward", three_times, WIDTH, WIDTH),
    "shifted": own(nn.Linear, "forward", shifted, WIDTH, WIDTH),
    "convolution": reshaped(lambda: nn.Conv2d(2, 2, 3, padding=1)),
    "own convolution": reshaped(own(nn.Conv2d, "_conv_forward", squared, 2, 2, 1)),
    "batch norm": lambda: nn.BatchNorm1d(WIDTH),
    "own batch norm": own(nn.BatchNorm1d, "forward", lambda self, x: x * self.weight, WIDTH),
    "pool": reshaped(lambda: nn.MaxPool2d(1)),
    "average": reshaped(lambda: nn.AvgPool2d(3, 1, 1)),
    "own average": reshaped(own(nn.AvgPool2d, "forward", moved_average, 1)),
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.3),
    "own relu": own(nn.ReLU, "forward", lambda self, x: functional.leaky_relu(x, 0.5)),
    "identity": nn.Identity,
    "own identity": own(nn.Identity, "forward", lambda self, x: x + x),
    "dropout": nn.Dropout,
    "always dropout": own(nn.Dropout, "forward", lambda self, x: functional.dropout(x, 0.5)),
    "reordered": own(nn.Flatten, "forward", lambda self, x: x.flatten(1).flip(1)),
    "turned": own(nn.Flatten, "forward", lambda self, x: x.reshape(-1, 2, 4).transpose(1, 2).flatten(1)),
    "residual": lambda: Residual(nn.Linear(WIDTH, WIDTH)),
    "joined": lambda: Joined(nn.Linear(WIDTH, WIDTH // 2)),
}


class Reshaped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.reshape(-1, 2, 2, 2)).flatten(1)


class Residual(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return x + self.inner(x)


class Joined(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.cat([self.inner(x), self.inner(functional.relu(x))], dim=1)


class OverImages(nn.Module):
    def forward(self, x):
        return x + x.mean(0, keepdim=True)


class OwnValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.register_buffer("mask", torch.linspace(-1, 1, WIDTH))

    def forward(self, x):
        return functional.linear(x, self.own * self.mask, self.mask)


LAYERS |= {"over the images": OverImages, "own values": OwnValues}


def patched(module, change):
    forward = module.forward
    module.forward = lambda x: change(forward(x))


def first_affine(module):
    return next((one for one in module.modules() if isinstance(one, (nn.Linear, nn.Conv2d))), None)


def normed(how):
    def change(module):
        if (one := first_affine(module)) is not None:
            how(one)

    return change


# What is done to a layer after it was made.
CHANGES = {
    "nothing": lambda module: None,
    "hook": lambda module: module.register_forward_hook(lambda module, inputs, output: functional.leaky_relu(output, 0.2)),
    "scaling hook": lambda module: module.register_forward_hook(lambda module, inputs, output: 2 * output),
    "looking hook": lambda module: module.register_forward_hook(lambda module, inputs, output: None),
    "pre-hook": lambda module: module.register_forward_pre_hook(lambda module, inputs: (functional.relu(inputs[0]),)),
    "shifting pre-hook": lambda module: module.register_forward_pre_hook(lambda module, inputs: (inputs[0] - 1,)),
    "backward hook": lambda module: module.register_full_backward_hook(lambda module, grad, output: (7 * grad[0],)),
    "patched": lambda module: patched(module, functional.relu),
    "patched to scale": lambda module: patched(module, lambda x: x * 2),
    "weight_norm": normed(parametrizations.weight_norm),
    "spectral_norm": normed(parametrizations.spectral_norm),
    "old weight_norm": normed(weight_norm),
    "old spectral_norm": normed(spectral_norm),
}  # fmt: skip


@st.composite
def networks(draw):
    """A network of two to five layers, some of them twice, some changed; and the names of its parts."""
    torch.manual_seed(draw(st.integers(0, 999)))
    names = draw(st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=4))
    layers = [LAYERS[name]() for name in names]
    if draw(st.integers(0, 3)) == 0:
        layers.append(layers[draw(st.integers(0, len(layers) - 1))])
    network = nn.Sequential(nn.Flatten(), *layers, nn.Linear(WIDTH, 2)).double().eval()
    for module in draw(st.lists(st.integers(0, len(network)), max_size=2, unique=True)):
        change = draw(st.sampled_from(sorted(CHANGES)))
        one = network if module == len(network) else network[module]
        try:
            CHANGES[change](one)
        except (ValueError, RuntimeError, AttributeError, TypeError):  # such as two norms of one weight
            continue
        names.append(change)
    return network, names


FOUND: Counter[str] = Counter()


@settings(
    max_examples=CASES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(case=networks())
def right_or_refused(case):
    network, names = case
    plain = network(IMAGES)
    posterior = Posterior.of(network)
    try:
        found = explanations.lrp(posterior, IMAGES, TARGET, rule=Epsilon(1e-12))
    except ValueError:
        FOUND["refused"] += 1
        return
    assert torch.allclose(posterior.logits(IMAGES)[0], plain, atol=1e-9), names
    # Autograd's own, of the network that was given; hooks on gradients are not part of what is computed.
    for module in network.modules():
        module._backward_hooks.clear()
    images = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(images).gather(1, TARGET[:, None]).sum(), images)
    assert torch.allclose(found, gradient * IMAGES, rtol=1e-5, atol=1e-7), names
    FOUND["right"] += 1


def test_a_map_of_a_random_network_is_right_or_refused():
    FOUND.clear()
    right_or_refused()
    assert FOUND["right"] > CASES / 5
    assert FOUND["refused"] > CASES / 5
