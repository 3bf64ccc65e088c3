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

from campaign.sentences import assert_sentence
from relevance import explanations
from relevance.explanations.graph import RelevanceGraph
from relevance.explanations.rules import Epsilon
from relevance.networks.posterior import Posterior

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WIDTH = 8
IMAGES = torch.rand((3, 2, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TARGET = torch.tensor([0, 1, 1])
CASES = 400


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


class Calling(nn.Module):
    """A call of some function or module that is named when there is no way back through it."""

    def __init__(self, function):
        super().__init__()
        self.function, self.layer = function, nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return self.function(self.layer(x))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)

    def forward(self, x):
        x = x.unflatten(1, (4, 2))
        return self.attention(x, x, x, need_weights=False)[0].flatten(1)


class Squeezed(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x * self.gate(x).sigmoid()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.GRU(WIDTH, WIDTH)

    def forward(self, x):
        return self.inner(x[None])[0][0]


LAYERS |= {"over the images": OverImages, "own values": OwnValues}
# What bends, multiplies or normalises: gradient times input is another map, but what arrives and what is kept still adds up.
CURVED = {
    "gelu": nn.GELU, "hardswish": nn.Hardswish, "tanh": nn.Tanh, "layer norm": lambda: nn.LayerNorm(WIDTH),
    "own layer norm": own(nn.LayerNorm, "forward", lambda self, x: functional.layer_norm(x, (WIDTH,), self.weight), WIDTH),
    "group norm": lambda: nn.GroupNorm(2, WIDTH), "attention": Attending, "squeezed": Squeezed,
    "transposed convolution": reshaped(lambda: nn.ConvTranspose2d(2, 2, 1)),
    "reflected": reshaped(lambda: nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect")),
    "enlarged": reshaped(lambda: nn.Sequential(nn.Upsample(scale_factor=2), nn.AvgPool2d(2))),
    "normalised": lambda: Calling(lambda x: functional.normalize(x, dim=1)), "root": lambda: Calling(lambda x: x.abs().sqrt()),
    "product": lambda: Calling(lambda x: x * x.roll(1, 1)), "softmax": lambda: Calling(lambda x: x.softmax(1)),
    "by its size": lambda: Calling(lambda x: x * 2 if x.shape[1] > 3 else x), "clipped": lambda: Calling(lambda x: x.clip(-1, 1)),
    "own attention": own(nn.MultiheadAttention, "forward", lambda self, x: x + self.in_proj_bias[:8], WIDTH, 2),
    "quotient": lambda: Calling(lambda x: x / (1 + x.norm(dim=1, keepdim=True))),
}  # fmt: skip
# What nobody foresaw.
UNFORESEEN = {
    "threshold": lambda: nn.Threshold(0.1, 0.0), "bilinear": lambda: Calling(lambda x: torch.einsum("ni,nj,nk->ni", x, x, x)),
    "cumsum": lambda: Calling(lambda x: x.cumsum(1)), "cumprod": lambda: Calling(lambda x: torch.cumprod(x, 1)),
    "fourier": lambda: Calling(lambda x: torch.fft.rfft(x).real[:, :1].expand(-1, WIDTH)), "recurrent": Recurrent,
    "log of a sum": lambda: Calling(lambda x: x - x.logsumexp(1, keepdim=True)), "random": lambda: nn.RReLU().train(),
    "overwritten": lambda: Calling(overwritten), "log softmax": lambda: nn.LogSoftmax(1),
}  # fmt: skip


def overwritten(x):
    x[:, 0] = 0
    return x


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
    kinds = LAYERS | CURVED | UNFORESEEN
    # Half of them of what is as straight as ReLU, which can be compared with the gradient; one in five unforeseen.
    known = draw(st.sampled_from([sorted(LAYERS), sorted(LAYERS | CURVED)]))
    names = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4))
    if draw(st.integers(0, 4)) == 0:
        names.append(draw(st.sampled_from(sorted(UNFORESEEN))))
    layers = [kinds[name]() for name in names]
    if draw(st.integers(0, 3)) == 0:
        layers.append(layers[draw(st.integers(0, len(layers) - 1))])
    network = nn.Sequential(nn.Flatten(), *layers, nn.Linear(WIDTH, 2)).double().eval()
    for module in draw(st.lists(st.integers(0, len(network)), max_size=2, unique=True)):
        change = draw(st.sampled_from(sorted(CHANGES)))
        one = network if module == len(network) else network[module]
        try:
            CHANGES[change](one)
        except (ValueError, RuntimeError, AttributeError, TypeError, KeyError):  # such as two norms of one weight
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
    except ValueError as error:
        FOUND["refused"] += 1
        assert_sentence(error)
        return
    assert torch.allclose(posterior.logits(IMAGES)[0], plain, atol=1e-9), names
    kept = explanations.kept_by_layer(posterior, IMAGES, TARGET, rule=Epsilon(1e-12))
    whole = found.flatten(1).sum(1) + sum(kept.values())
    size = max(1.0, found.abs().max().item(), *(part.abs().max().item() for part in kept.values()))
    assert torch.allclose(whole, plain.gather(1, TARGET[:, None])[:, 0], atol=1e-7 * size), names
    FOUND["conserved"] += 1
    shifts_pixels = any(
        step.facts.pixelwise and step.layer.rpartition(".")[2].startswith(("sub", "add"))
        for step in RelevanceGraph(posterior.network, IMAGES.shape[1:]).steps.values()
    )
    if shifts_pixels or not set(names) <= LAYERS.keys() | CHANGES.keys():
        return
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
    assert FOUND["conserved"] > CASES / 3
    assert FOUND["refused"] > CASES / 10


@pytest.mark.parametrize("name", UNFORESEEN)
def test_what_nobody_foresaw_gets_its_sentence(name):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, WIDTH), UNFORESEEN[name](), nn.Linear(WIDTH, 2)).double()
    with pytest.raises(
        ValueError, match=r"^(layer 2(\.\w+)? is a|the network (calls \w+|Sequential (cannot|gives)))"
    ) as caught:
        RelevanceGraph(network, IMAGES.shape[1:]).compare(Posterior.of(network), IMAGES[:1])
    assert_sentence(caught.value)
