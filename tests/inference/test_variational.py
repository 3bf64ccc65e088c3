from __future__ import annotations

import copy
import importlib

import pytest
import torch
from torch import nn
from torch.nn import functional

from oracles import LINE_PRIOR, MOST, errors_off, line_misfit, line_parameters
from relevance import inference

pytestmark = pytest.mark.stochastic

variational = importlib.import_module("relevance.inference.variational")  # the room hands on its function by this name


def test_variational_inference_finds_the_nearest_independent_normal(regression):
    """Its mean is the posterior's, its variances are the inverse of the precision's diagonal (Bishop 2006, Eq. 10.12)."""
    data, network, mean, precision = regression
    settings = variational.Settings(
        n_samples=20000, epochs=1500, batch_size=60, learning_rate=0.005, prior_scale=LINE_PRIOR, start_scale=0.1
    )
    posterior, history = variational.fit(network, data, settings, line_misfit, show=False)
    draws = line_parameters(posterior)
    # Where the last steps of the optimiser leave it: from seed to seed means have a standard deviation of 0.004, and
    # deviations one of 0.033 of themselves.
    assert torch.allclose(draws.mean(0), mean, atol=MOST * 0.004)
    assert torch.allclose(draws.std(0), precision.diagonal() ** -0.5, rtol=MOST * 0.033)
    # What is drawn is independent: a correlation of n pairs has the standard error 1 / sqrt(n).
    off_diagonal = draws.T.corrcoef() - torch.eye(4, dtype=torch.float64)
    assert off_diagonal.abs().max() < MOST * 20000**-0.5
    assert history["loss"][-1] < history["loss"][0]


def test_the_divergence_is_weighed_once_for_the_whole_data_set(small_network, tiny_data, monkeypatch):
    """One epoch of batches costs mean misfit + KL / N, summed over the batches' images: KL once."""
    weights = []
    monkeypatch.setattr(variational, "sum_of_kl", lambda noisy, scale: _Recorder.apply(
        sum(layer.kl(scale) for _, layer in variational._mean_fields(noisy)), weights))  # fmt: skip
    inference.variational(
        small_network, tiny_data, epochs=3, batch_size=30, kl_epochs=2, n_samples=1, progress=False, seed=1
    )
    per_batch = torch.tensor(weights).reshape(3, 3)  # three epochs of three batches
    wanted = torch.tensor([[1 / 3], [2 / 3], [1.0]]) / 90
    assert torch.allclose(per_batch, wanted.expand(3, 3))


def test_every_batch_can_be_charged_the_whole_divergence(small_network, tiny_data, monkeypatch):
    """The loss of a batch of n images is then mean misfit + KL / n: one epoch has the KL as often as batches."""
    weights = []
    monkeypatch.setattr(variational, "sum_of_kl", lambda noisy, scale: _Recorder.apply(
        sum(layer.kl(scale) for _, layer in variational._mean_fields(noisy)), weights))  # fmt: skip
    inference.variational(
        small_network, tiny_data, epochs=2, batch_size=40, kl_per="batch", kl_epochs=1, n_samples=1, progress=False
    )
    once = torch.tensor([1 / 40, 1 / 40, 1 / 10])  # 90 images
    assert torch.allclose(torch.tensor(weights).reshape(2, 3), torch.stack([once / 2, once]))


def test_a_wide_start_has_means_of_n_0_1_and_scales_of_its_softplus(small_network, tiny_data):
    """Adam's first step changes each number by the learning rate, which is nothing here."""
    nothing = {"epochs": 1, "learning_rate": 1e-12, "progress": False, "seed": 3, "prior_scale": 0.1}
    found = inference.variational(small_network, tiny_data, start="normal", n_samples=400, **nothing)
    means = torch.cat([value.mean(0).flatten() for value in found.samples.values()]).double()
    scales = torch.cat([value.std(0).flatten() for value in found.samples.values()]).double()
    # A mean over draws adds their variance, E softplus(N(0, 1))^2 = 0.95, over their number, to that of the means.
    grid = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-(grid**2) / 2) / (2 * torch.pi) ** 0.5
    expected = [torch.trapezoid(density * functional.softplus(grid) ** power, grid).item() for power in (1, 2)]
    assert errors_off(means, 0.0).abs().max() < MOST
    assert errors_off(means**2, 1 + expected[1] / 400).abs().max() < MOST
    # The standard deviation of 400 draws is too small by a share of 1 / (4 * 400).
    assert errors_off(scales, expected[0] * (1 - 1 / 1600)).abs().max() < MOST


class _Recorder(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, seen):
        ctx.seen = seen
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.seen.append(gradient.item())
        return gradient, None


def test_the_divergence_is_that_of_torch_s_distributions():
    layer = variational.MeanField(nn.Conv2d(2, 3, 2).double(), scale=0.2)
    with torch.no_grad():
        for rho in layer.rho.values():
            rho.add_(torch.randn(rho.shape))
    wanted = 0.0
    for name, mean in layer.layer.named_parameters():
        one = torch.distributions.Normal(mean, functional.softplus(layer.rho[name]))
        prior = torch.distributions.Normal(mean.new_zeros(()), mean.new_tensor(0.3))
        wanted += torch.distributions.kl_divergence(one, prior).sum().item()
    assert layer.kl(0.3).item() == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 3),
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        *(nn.Conv2d(2, 3, 3, stride=2, padding=1, padding_mode=mode) for mode in ("reflect", "replicate", "circular")),
    ],
    ids=str,
)
def test_local_reparameterisation_has_the_moments_of_sampled_weights(layer):
    torch.manual_seed(0)
    noisy = variational.MeanField(layer.double(), scale=0.3)
    x = torch.rand((1, 5) if isinstance(layer, nn.Linear) else (1, 2, 5, 5), dtype=torch.float64)
    # Both are normal, with the mean and the variance of a sum of independent terms.
    with torch.no_grad():
        mean, variance = layer(x), functional.softplus(noisy.rho["weight"]) ** 2
        squares = copy.deepcopy(layer)
        squares.weight.copy_(variance)
        squares.bias.copy_(functional.softplus(noisy.rho["bias"]) ** 2)
        variance = squares(x**2)
    local = torch.cat([noisy(x) for _ in range(4000)]).flatten(1).detach()
    drawn = variational.sampled(nn.Sequential(noisy), 4000)
    posterior_like = [
        torch.func.functional_call(layer, {"weight": drawn["0.weight"][s], "bias": drawn["0.bias"][s]}, (x,))
        for s in range(4000)
    ]
    sampled = torch.cat(posterior_like).flatten(1).detach()
    for draws in (local, sampled):
        left = draws - mean.flatten()
        assert errors_off(left, 0.0).abs().max() < MOST
        assert errors_off(left**2, variance.flatten()).abs().max() < MOST


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(16, 3))

    def forward(self, images):
        return images.flatten(1) @ self.weights


class Halved(nn.Linear):
    def forward(self, x):
        return super().forward(x) / 2


class Attending(nn.Module):
    """Its attention takes the weights of a dense layer that it never calls."""

    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(4, 1, batch_first=True), nn.Linear(16, 3)

    def forward(self, images):
        return self.last(self.attention(*3 * [images.squeeze(1)], need_weights=False)[0].flatten(1))


def tied():
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)
    second.weight = first.weight
    return [first, second]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([Bare()], "network has no dense layer or convolution; for variational inference it must have"),
        (
            [nn.Flatten(), Halved(16, 3)],
            "layer '1' of network is a Halved with a forward or parameters of its own; for",
        ),
        (
            [nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(16, 3))],
            "layer '1' of network is a ParametrizedLinear with a forward or parameters of its own",
        ),
        ([nn.Flatten(), *2 * [nn.Linear(16, 16)]], "layer '1' of network is called 2 times; .* must be .* called once"),
        ([Attending()], "layer '0.attention.out_proj' of network is called 0 times"),
        ([nn.Flatten(), *tied()], "layer '1' of network shares its parameters with another layer"),
    ],
    ids=["none", "own forward", "parametrised", "twice", "attention", "tied"],
)
def test_a_network_whose_layers_have_no_known_variance_gets_a_sentence(tiny_data, layers, words):
    network = nn.Sequential(*layers)
    for start in ("sgd", "prior"):
        with pytest.raises(ValueError, match=words):
            inference.variational(network, tiny_data, epochs=1, n_samples=2, start=start, progress=False)
