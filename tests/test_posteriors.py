"""Posteriors against those that are known: linear regression in closed form, Pyro's HMC, and what each method promises."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from conftest import random_posterior
from oracles import MOST, errors_off, moments_off, standard_error
from relevance import attacks, explanations, inference, networks
from relevance.datasets import Dataset
from relevance.inference import checkpoint, common, hamiltonian
from relevance.inference.adversarial import Settings as AdversarialSettings
from relevance.inference.adversarial import perturbed
from relevance.inference.hamiltonian import NetworkEnergy, Settings, run_chain

pytestmark = pytest.mark.stochastic
# The package's names are those of the functions.
laplace, swag, variational = (
    importlib.import_module(f"relevance.inference.{name}") for name in ("laplace", "swag", "variational")
)
NOISE, PRIOR = 0.4, 0.7


@pytest.fixture
def small_network():
    return networks.fully_connected((1, 4, 4), hidden=8, n_classes=3)


@pytest.fixture
def regression():
    """60 points of 3 features with a bias, the posterior's mean and covariance, and a network that is the line."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((60, 3), generator=generator, dtype=torch.float64)
    x[:, 1] += 0.8 * x[:, 0]
    y = x @ torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64) + 0.2
    y = y + NOISE * torch.randn(60, generator=generator, dtype=torch.float64)
    design = torch.cat([x, torch.ones(60, 1, dtype=torch.float64)], 1)
    precision = design.T @ design / NOISE**2 + torch.eye(4, dtype=torch.float64) / PRIOR**2
    mean = torch.linalg.solve(precision, design.T @ y / NOISE**2)
    images = x.reshape(60, 1, 1, 3)
    data = Dataset("line", images, y, images, y, ("y",), "line: made up")
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 1)).double()
    return data, network, mean, precision


def gaussian(outputs, labels):
    return 0.5 * ((labels - outputs.squeeze(-1)) / NOISE) ** 2


def flat(posterior):
    return torch.cat([posterior.samples["1.weight"].flatten(1), posterior.samples["1.bias"]], 1)


def test_hmc_samples_the_posterior_of_a_linear_regression(regression):
    data, network, mean, precision = regression
    energy = NetworkEnergy(network, data, PRIOR, gaussian)
    settings = Settings(warmup=200, n_steps=12, step_size=0.05)
    generator = torch.Generator().manual_seed(1)
    chain = run_chain(energy, lambda: torch.zeros(4, dtype=torch.float64), settings, 1200, generator)
    assert moments_off(chain.positions, mean, torch.linalg.inv(precision), chain=True).abs().max() < MOST


def test_variational_inference_finds_the_nearest_independent_normal(regression):
    """Its mean is the posterior's, its variances are the inverse of the precision's diagonal (Bishop 2006, Eq. 10.12)."""
    data, network, mean, precision = regression
    settings = variational.Settings(
        n_samples=20000, epochs=1500, batch_size=60, learning_rate=0.005, prior_scale=PRIOR, start_scale=0.1
    )
    posterior, history = variational.fit(network, data, settings, gaussian, show=False)
    draws = flat(posterior)
    # Where the last steps of the optimiser leave it: from seed to seed means have a standard deviation of 0.004, and
    # deviations one of 0.033 of themselves.
    assert torch.allclose(draws.mean(0), mean, atol=MOST * 0.004)
    assert torch.allclose(draws.std(0), precision.diagonal() ** -0.5, rtol=MOST * 0.033)
    # What is drawn is independent: a correlation of n pairs has the standard error 1 / sqrt(n).
    off_diagonal = draws.T.corrcoef() - torch.eye(4, dtype=torch.float64)
    assert off_diagonal.abs().max() < MOST * 20000**-0.5
    assert history["loss"][-1] < history["loss"][0]


def test_laplace_is_exact_for_a_linear_regression(regression):
    data, network, mean, precision = regression
    with torch.no_grad():
        network[1].weight.copy_(mean[None, :3])
        network[1].bias.copy_(mean[3:])
    settings = laplace.Settings(n_samples=40000, prior_scale=PRIOR)
    posterior = laplace.around(network, data, settings, lambda out: torch.full((len(out), 1, 1), NOISE**-2).to(out))
    assert moments_off(flat(posterior), mean, torch.linalg.inv(precision)).abs().max() < MOST


def test_laplace_takes_the_hessian_of_the_softmax(small_network, tiny_data):
    """Of the last layer the Gauss-Newton matrix is the Hessian: against autograd's."""
    data = replace(tiny_data, train_images=tiny_data.train_images.double())
    model = small_network.double()
    found = laplace._precision(model, model[5], data, 0.5, laplace.softmax_curvature)
    features = model[:5](data.train_images).detach()
    features = torch.cat([features, torch.ones(len(features), 1, dtype=torch.float64)], 1)
    start = torch.cat([model[5].weight, model[5].bias[:, None]], 1).detach()

    def potential(weights):
        logits = features @ weights.reshape(3, -1).T
        return functional.cross_entropy(logits, data.train_labels, reduction="sum") + 0.5 * (weights / 0.5).pow(2).sum()

    wanted = torch.autograd.functional.hessian(potential, start.flatten())
    assert torch.allclose(found, wanted, atol=1e-9)


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


@pytest.mark.parametrize("layer", [nn.Linear(5, 3), nn.Conv2d(2, 3, 3, stride=2, padding=1)])
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


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("adversarial", {"epochs": 30, "learning_rate": 0.01, "epsilon": 0.05, "n_steps": 3}),
        ("adversarial", {"epochs": 30, "learning_rate": 0.01, "epsilon": 0.3, "norm": "l2", "n_steps": 1}),
        ("variational", {"epochs": 30, "learning_rate": 0.01, "n_samples": 5, "prior_scale": 0.5}),
        ("variational", {"epochs": 60, "learning_rate": 0.02, "n_samples": 5, "start": "prior", "prior_scale": 0.5}),
        ("deep_ensemble", {"epochs": 30, "learning_rate": 0.01, "n_samples": 3}),
        ("mc_dropout", {"epochs": 60, "learning_rate": 0.01, "n_samples": 6}),
        ("swag", {"epochs": 30, "learning_rate": 0.01, "n_samples": 5, "swag_epochs": 6, "rank": 4}),
        ("laplace", {"epochs": 30, "learning_rate": 0.01, "n_samples": 5, "prior_scale": 0.3}),
        ("hmc", {"n_samples": 5, "warmup": 10, "prior_scale": 0.5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_method_gives_a_posterior_that_predicts_repeats_and_has_right_gradients(
    small_network, tiny_data, method, settings
):
    train = getattr(inference, method)
    before = [value.clone() for value in small_network.parameters()]
    state = torch.get_rng_state()
    posterior = train(small_network, tiny_data, **settings, seed=1, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(*pair) for pair in zip(before, small_network.parameters(), strict=True))
    assert len(posterior) == settings.get("n_samples", 1)
    assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.9
    assert posterior.record["method"] == method
    assert posterior.record["settings"] | settings == posterior.record["settings"]
    again = train(small_network, tiny_data, **settings, seed=1, progress=False)
    assert all(torch.equal(value, again.samples[name]) for name, value in posterior.samples.items())
    assert not torch.equal(posterior.samples["5.weight"],
                           train(small_network, tiny_data, **settings, seed=2, progress=False).samples["5.weight"])  # fmt: skip
    if len(posterior) > 1:
        assert posterior.samples["5.weight"].std(0).max() > 0
    check_input_gradient(posterior, tiny_data.test_images[:4], tiny_data.test_labels[:4])


def check_input_gradient(posterior, images, labels):
    """By finite differences, in double precision, of the mean logit."""
    double = type(posterior)(
        copy.deepcopy(posterior.network).double(), {k: v.double() for k, v in posterior.samples.items()}
    )
    images = images.double().clamp(0.01, 0.99)
    found = explanations.gradient(double, images, labels)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    up, down = (
        double.logits(images + sign * 1e-6 * direction).mean(0).gather(1, labels[:, None]).squeeze(1)
        for sign in (1, -1)
    )
    assert torch.allclose((found * direction).flatten(1).sum(1), (up - down) / 2e-6, rtol=1e-4, atol=1e-6)


def convolutional():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip


@pytest.mark.parametrize(
    "method", ["adversarial", "variational", "deep_ensemble", "mc_dropout", "swag", "laplace", "hmc"]
)
def test_every_method_takes_convolutions_and_batch_norm(tiny_data, method):
    some = {"n_samples": 3} if method != "adversarial" else {"n_steps": 2, "epsilon": 0.05}
    long = {"warmup": 2} if method == "hmc" else {"epochs": 40, "learning_rate": 0.01}
    long |= {"rank": 5} if method == "swag" else {}
    train = getattr(inference, method)
    posterior = train(convolutional(), tiny_data, **some, **long, progress=False)
    images, labels = tiny_data.test_images[:4], tiny_data.test_labels[:4]
    if method != "hmc":  # which here starts from a network of few steps
        assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.6
    check_input_gradient(posterior, images, labels)
    maps = explanations.lrp(posterior, images, labels, per_sample=True)
    alone = torch.cat([explanations.lrp(one, images, labels)[None] for one in posterior])
    assert torch.allclose(maps, alone, atol=1e-5)


def test_members_of_an_ensemble_keep_their_own_statistics_of_batch_norm(tiny_data, tmp_path):
    ensemble = inference.deep_ensemble(convolutional(), tiny_data, n_samples=2, epochs=3, seed=4, progress=False)
    images = tiny_data.test_images[:5]
    for index, one in enumerate(ensemble):
        alone = inference.sgd(convolutional(), tiny_data, epochs=3, seed=4 + index, progress=False)
        assert torch.allclose(one.logits(images), alone.logits(images), atol=1e-5)
        labels = tiny_data.test_labels[:5]
        assert torch.allclose(explanations.lrp(one, images, labels), explanations.lrp(alone, images, labels), atol=1e-5)
    ensemble.save(tmp_path / "ensemble.safetensors")
    loaded = type(ensemble).load(tmp_path / "ensemble.safetensors", convolutional())
    assert torch.equal(loaded.logits(images), ensemble.logits(images))


def test_masks_of_dropout_cut_whole_neurons_off(small_network, tiny_data):
    posterior = inference.mc_dropout(small_network, tiny_data, epochs=1, n_samples=400, rate=0.25, progress=False)
    assert torch.equal(posterior.samples["1.weight"][0], posterior.samples["1.weight"][1])  # pixels stay
    for name in ("3.weight", "5.weight"):
        cut = (posterior.samples[name] == 0).all(1)  # [S, inputs]
        assert errors_off(cut.double(), 0.25).abs().max() < MOST
        assert errors_off(cut.double().flatten(), 0.25).abs() < MOST
        # What is not cut off is the same in all samples, so the mean is as much of it as is kept.
        kept = posterior.samples[name].sum(0) / (~cut).sum(0)[None, :]
        assert torch.allclose(posterior.samples[name], kept * ~cut[:, None, :], atol=1e-5)


def test_swag_draws_from_the_fitted_normal():
    generator = torch.Generator().manual_seed(0)
    path = torch.randn((30, 4), generator=generator, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.1, 0.5])
    draws = torch.stack([swag.drawn(path, 10, generator) for _ in range(20000)])
    means = path.cumsum(0) / torch.arange(1, 31)[:, None]
    deviations = (path - means)[-10:]
    wanted = 0.5 * torch.diag(path.var(0, unbiased=False)) + deviations.T @ deviations / (2 * 9)
    assert moments_off(draws, path.mean(0), wanted).abs().max() < MOST


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_training_attacks_stay_in_their_ball_and_raise_the_loss(small_network, tiny_data, norm):
    model = common.initialised(small_network, tiny_data, 0)
    images, labels = tiny_data.train_images[:20], tiny_data.train_labels[:20]
    settings = AdversarialSettings(epsilon=0.3, norm=norm, n_steps=7)
    attacked = perturbed(model, images, labels, settings.search)
    difference = (attacked - images).flatten(1)
    size = difference.abs().amax(1) if norm == "linf" else difference.norm(dim=1)
    assert size.max() <= 0.3 + 1e-6
    assert size.min() > 0.1
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    losses = [functional.cross_entropy(model(x), labels) for x in (images, attacked)]
    assert losses[1] > losses[0]
    assert model.training


def test_adversarial_training_withstands_its_own_attack_better(small_network, tiny_data):
    settings = {"epochs": 60, "learning_rate": 0.01, "progress": False}
    plain = inference.sgd(small_network, tiny_data, **settings)
    hardened = inference.adversarial(small_network, tiny_data, **settings, epsilon=0.25, n_steps=5)
    rights = []
    for posterior in (plain, hardened):
        attacked = attacks.pgd(posterior, tiny_data.test_images, tiny_data.test_labels, 0.25, n_steps=20)
        rights.append(posterior.accuracy(attacked, tiny_data.test_labels))
    assert rights[1] > rights[0] + 0.1


def test_the_leapfrog_goes_back_where_it_came_from(regression):
    """Reversibility: with the momentum turned round, the same steps lead back."""
    data, network, _, _ = regression
    energy = NetworkEnergy(network, data, PRIOR, gaussian)
    position = torch.tensor([0.3, -0.2, 0.1, 0.5], dtype=torch.float64)
    momentum = torch.tensor([1.0, -0.5, 0.2, 0.7], dtype=torch.float64)

    end, pushed = hamiltonian.leapfrog(energy, energy(position), momentum, 0.03, 15)
    back, turned = hamiltonian.leapfrog(energy, end, -pushed, 0.03, 15)
    assert (end.position - position).abs().max() > 0.1
    assert torch.allclose(back.position, position, atol=1e-12)
    assert torch.allclose(-turned, momentum, atol=1e-12)


def test_hmc_is_in_detailed_balance_on_a_grid():
    """Of a normal target, one leapfrog step of a large size: the chain's flow from left to right equals that back."""

    def energy(position):
        return hamiltonian.State(position, 0.5 * position**2, position)

    settings = Settings(warmup=0, n_steps=2, step_size=1.2, adapt=False)
    chain = run_chain(
        energy, lambda: torch.zeros(1, dtype=torch.float64), settings, 10000, torch.Generator().manual_seed(0)
    )
    at = torch.bucketize(chain.positions.squeeze(1), torch.tensor([-0.8, 0.0, 0.8], dtype=torch.float64))
    flow = torch.zeros(4, 4)
    for before, after in itertools.pairwise(at):
        flow[before, after] += 1
    gap = (flow - flow.T).abs() / (flow + flow.T).clamp(min=1).sqrt()
    assert gap.max() < 4  # standard deviations of the counts


def test_hmc_agrees_with_pyro_s_on_a_tiny_network():
    """Predictive probabilities of the two samplers, on a network of 6 parameters, whose posterior has one mode.

    Two chains may be as far apart as the standard errors of both, each by its own effective sample size.
    """
    import pyro
    import pyro.distributions as dist
    from pyro.infer import HMC, MCMC

    generator = torch.Generator().manual_seed(0)
    x = torch.rand((30, 1, 1, 2), generator=generator, dtype=torch.float64)
    y = (x.flatten(1)[:, 0] > x.flatten(1)[:, 1]).long()
    y = torch.where(torch.rand(30, generator=generator) < 0.15, 1 - y, y)
    data = Dataset("tiny", x, y, x, y, ("a", "b"), "tiny")
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).double()
    energy = NetworkEnergy(network, data, 2.0)
    size = sum(energy.sizes)
    settings = Settings(warmup=200, n_steps=15, step_size=0.1, prior_scale=2.0)
    chain = run_chain(
        energy, lambda: torch.zeros(size, dtype=torch.float64), settings, 800, torch.Generator().manual_seed(1)
    )

    def model():
        weights = pyro.sample("w", dist.Normal(torch.zeros(size, dtype=torch.float64), 2.0).to_event(1))
        logits = torch.func.functional_call(network, energy.unflatten(weights), (x,))
        pyro.sample("y", dist.Categorical(logits=logits).to_event(1), obs=y)

    pyro.set_rng_seed(2)
    kernel = HMC(model, step_size=0.1, trajectory_length=1.5, adapt_step_size=True, target_accept_prob=0.8)
    run = MCMC(kernel, num_samples=500, warmup_steps=150, disable_progbar=True)
    run.run()
    theirs = run.get_samples()["w"]
    predictive = []
    for positions in (chain.positions, theirs):
        posterior = type(random_posterior(network, 1))(network, energy.unflatten(positions))
        predictive.append(posterior.logits(x).softmax(-1)[:, :, 1])
    assert apart(*predictive).abs().max() < MOST
    assert predictive[0].mean(0).std() > 0.1
    assert apart(chain.positions, theirs).abs().max() < MOST
    assert apart(chain.positions**2, theirs**2).abs().max() < MOST


def apart(one, other):
    """Return the distance of the means of two chains in standard errors."""
    error = (standard_error(one, chain=True) ** 2 + standard_error(other, chain=True) ** 2).sqrt()
    return (one.mean(0) - other.mean(0)) / error


RUN = textwrap.dedent("""
    import sys, time, torch
    from relevance import inference, networks
    from relevance.datasets import Dataset
    from relevance.inference import checkpoint, hamiltonian
    checkpoint.SECONDS = 0.0
    quick = hamiltonian.transition
    # A tenth of a second for a draw: time to be killed in.
    hamiltonian.transition = lambda *given: time.sleep(0.1) or quick(*given)
    generator = torch.Generator().manual_seed(2)
    x, y = torch.rand((30, 1, 4, 4), generator=generator), torch.arange(30) % 3
    data = Dataset("tiny", x, y, x, y, ("a", "b", "c"), "tiny")
    network = networks.fully_connected((1, 4, 4), hidden=8, n_classes=3)
    posterior = inference.hmc(network, data, n_samples=10, warmup=3, n_steps=3, n_chains=2, prior_scale=0.5,
                              progress=False, checkpoint=sys.argv[1] if len(sys.argv) > 2 else None)
    posterior.save(sys.argv[-1])
""")


@pytest.mark.slow
def test_a_chain_that_is_killed_three_times_gives_the_samples_of_an_unbroken_one(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(RUN)
    command = [sys.executable, str(script)]
    environment = {**os.environ, "RELEVANCE_DEVICE": "cpu", "RELEVANCE_PROGRESS": "0", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path / "whole.safetensors")], check=True, env=environment)
    folder, kills = tmp_path / "chain", 0
    generator = torch.Generator().manual_seed(int(time.time()))
    while kills < 3:
        files = len(list(folder.glob("*"))) if folder.exists() else 0
        process = subprocess.Popen([*command, str(folder), str(tmp_path / "broken.safetensors")], env=environment)
        while process.poll() is None:  # wait for some progress, then a random moment more
            if folder.exists() and len(list(folder.glob("*"))) > files + 1:
                break
            time.sleep(0.005)
        time.sleep(0.15 * torch.rand((), generator=generator).item())
        assert process.poll() is None, "the run ended before it could be killed three times"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, str(folder), str(tmp_path / "broken.safetensors")], check=True, env=environment)
    whole, broken = (
        type(random_posterior(nn.Linear(1, 2), 1)).load(tmp_path / f"{name}.safetensors", device="cpu")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(value, broken.samples[name]) for name, value in whole.samples.items())
    assert whole.record["diagnostics"] == broken.record["diagnostics"]
    assert whole.record["history"] == broken.record["history"]


def test_a_checkpoint_of_another_run_or_a_damaged_one_gets_a_sentence(small_network, tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    given = {"n_samples": 3, "warmup": 1, "progress": False, "checkpoint": tmp_path / "run"}
    first = inference.hmc(small_network, tiny_data, **given)
    again = inference.hmc(small_network, tiny_data, **given)  # read, not run
    assert all(torch.equal(value, again.samples[name]) for name, value in first.samples.items())
    with pytest.raises(ValueError, match=r"holds another run \(prior_scale is 0.2, was 0.1\)"):
        inference.hmc(small_network, tiny_data, **given, prior_scale=0.2)
    other = replace(tiny_data, train_images=1 - tiny_data.train_images)
    with pytest.raises(ValueError, match="holds another run .images is"):
        inference.hmc(small_network, other, **given)
    state = tmp_path / "run" / "chain-0.safetensors"
    state.write_bytes(state.read_bytes()[:40])
    with pytest.raises(ValueError, match="is damaged .*; delete the folder to start the run anew"):
        inference.hmc(small_network, tiny_data, **given)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("adversarial", {"epsilon": -1}, "epsilon is -1"),
        ("adversarial", {"norm": "l1"}, "norm is 'l1'; it may be one of: l2, linf"),
        ("adversarial", {"n_steps": 0}, "n_steps is 0"),
        ("adversarial", {"random_start": 1}, "random_start is 1; it must be True or False"),
        ("variational", {"prior_scale": 0}, "prior_scale is 0; it must be a finite number above 0"),
        ("variational", {"start": "zero"}, "start is 'zero'; it may be one of: prior, sgd"),
        ("variational", {"epochs": 2, "kl_epochs": 3}, "kl_epochs is 3; .* at most 2"),
        ("deep_ensemble", {"n_samples": 0}, "n_samples is 0"),
        ("mc_dropout", {"rate": 1}, "rate is 1; it must be a finite number above 0 and at most 0.95"),
        ("swag", {"rank": 11}, "rank is 11; it must be a whole number of at least 2 and at most 10"),
        ("swag", {"rank": 1}, "rank is 1; it must be a whole number of at least 2"),
        ("laplace", {"prior_scale": -1}, "prior_scale is -1"),
        ("sgd", {"learning_rate": 1e30, "epochs": 3}, r"the loss is (nan|inf) in epoch \d, with epochs=3, learning_rate=1e\+30"),
    ],
)  # fmt: skip
def test_bad_settings_get_a_sentence(small_network, tiny_data, method, settings, message):
    with pytest.raises(ValueError, match=message):
        getattr(inference, method)(small_network, tiny_data, progress=False, **settings)


def test_networks_that_a_method_cannot_take_get_a_sentence(tiny_data):
    grouped = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ValueError, match="layer 1 is a convolution in groups"):
        inference.mc_dropout(grouped, tiny_data, progress=False)
    with pytest.raises(ValueError, match="network has 1 dense layers and convolutions; dropout needs at least 2"):
        inference.mc_dropout(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), tiny_data, progress=False)
    ends = nn.Sequential(nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="the last with weights, is a Conv2d; laplace needs a Linear"):
        inference.laplace(ends, tiny_data, progress=False)


def test_nan_in_the_images_gets_a_sentence_from_hmc(small_network, tiny_data):
    spoilt = replace(tiny_data, train_images=tiny_data.train_images * math.nan)
    with pytest.raises(ValueError, match="the energy at the start of the chain is not finite, with prior_scale=0.1"):
        inference.hmc(small_network, spoilt, n_samples=2, start="prior", progress=False)
