from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call

from oracles import LINE_PRIOR, MOST, apart, line_misfit, moments_off, random_posterior, to_double
from relevance import inference
from relevance.datasets.dataset import Dataset
from relevance.inference import certificate, hamiltonian
from relevance.inference import energy as energy_module
from relevance.inference.chain import Settings, run_chain
from relevance.inference.energy import NetworkEnergy

pytestmark = pytest.mark.stochastic


def test_the_energy_of_a_network_is_that_of_its_posterior(small_network, tiny_data):
    network = small_network.double()
    data = to_double(tiny_data)
    energy = NetworkEnergy(network, data, prior_scale=0.3)
    position = torch.randn(sum(energy.sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def potential(at):
        logits = functional_call(network, energy.unflatten(at), (data.train_images,))
        likelihood = torch.distributions.Categorical(logits=logits).log_prob(data.train_labels).sum()
        prior = -0.5 * (at / 0.3).pow(2).sum()
        return -likelihood - prior

    state, other = energy(position), energy(2 * position)
    wanted = torch.autograd.grad(potential(leaf := position.clone().requires_grad_()), leaf)[0]
    assert torch.allclose(state.gradient, wanted, atol=1e-9)
    change = (other.terms - state.terms).sum()
    assert change.item() == pytest.approx((potential(2 * position) - potential(position)).item(), rel=1e-9)


def test_the_gradient_does_not_depend_on_how_images_are_cut(small_network, tiny_data, monkeypatch):
    network, data = small_network.double(), to_double(tiny_data)
    energy = NetworkEnergy(network, data, prior_scale=1.0)
    position = torch.randn(sum(energy.sizes), dtype=torch.float64)
    whole = energy(position)
    monkeypatch.setattr(energy_module, "IMAGES_AT_ONCE", 7)
    cut = NetworkEnergy(network, data, prior_scale=1.0)(position)
    assert torch.allclose(cut.gradient, whole.gradient)
    assert torch.allclose(cut.terms, whole.terms)


def test_hmc_gives_a_posterior_that_predicts(small_network, tiny_data, hmc_settings):
    posterior = inference.hmc(small_network, tiny_data, **hmc_settings)
    assert len(posterior) == 30
    assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.9
    weights = posterior.samples["1.weight"]
    assert not torch.equal(weights[0], weights[-1])
    record = posterior.record
    assert record["method"] == "hmc"
    assert record["dataset"] == "tiny: made up"
    assert record["settings"]["prior_scale"] == 0.5
    assert len(record["history"][0]) == 50
    assert 0.3 < record["diagnostics"]["acceptance_rate"] <= 1
    assert "certificate" not in record["diagnostics"]  # of one chain


def test_hmc_is_the_same_for_the_same_seed_and_leaves_its_network_alone(small_network, tiny_data, hmc_settings):
    before = [value.clone() for value in small_network.parameters()]
    state = torch.get_rng_state()
    short = hmc_settings | {"n_samples": 4, "warmup": 2}
    first, again, other = (
        inference.hmc(small_network, tiny_data, **short, seed=seed).samples["3.weight"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(itertools.starmap(torch.equal, zip(before, small_network.parameters(), strict=True)))
    assert torch.equal(torch.get_rng_state(), state)


def test_chains_start_apart_and_from_where_they_are_told(small_network, tiny_data, hmc_settings):
    given = hmc_settings | {
        "n_samples": 5,
        "warmup": 0,
        "n_chains": 2,
        "step_size": 1e-9,
        "adapt": False,
        "rescale": False,
    }
    prior = inference.hmc(small_network, tiny_data, **given, start="prior").samples["1.weight"]
    assert len(prior) == 5
    assert torch.allclose(prior[0], prior[2], atol=1e-5)  # the first chain has three samples and hardly moves
    assert not torch.allclose(prior[2], prior[3], atol=1e-2)
    # The mean of n squares of standard normal variables has the standard error sqrt(2 / n).
    n = prior[0].numel()
    assert (prior[0] / 0.5).square().mean().item() == pytest.approx(1, abs=MOST * (2 / n) ** 0.5)
    wide = inference.hmc(small_network, tiny_data, **given, exact=False, start="uniform").samples["1.weight"][0]
    assert 1.8 < wide.abs().max() <= 2 + 1e-5
    # A square of a variable that is uniform in [-2, 2] has the mean 4/3 and the variance 64/45.
    assert wide.square().mean().item() == pytest.approx(4 / 3, abs=MOST * (64 / 45 / n) ** 0.5)
    solution = inference.hmc(small_network, tiny_data, **given).samples["1.weight"][0]
    wanted = inference.sgd(small_network, tiny_data, progress=False).samples["1.weight"][0]
    assert torch.allclose(solution, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("train", "settings", "message"),
    [
        (inference.sgd, {"epochs": 0}, "epochs is 0; it must be a whole number of at least 1"),
        (inference.sgd, {"learning_rate": -1}, "learning_rate is -1"),
        (inference.hmc, {"n_samples": 0}, "n_samples is 0"),
        (inference.hmc, {"n_samples": 2, "n_chains": 3}, "n_chains is 3; it must be .* at most 2"),
        (inference.hmc, {"prior_scale": 0}, "prior_scale is 0; it must be a finite number above 0"),
        (inference.hmc, {"start": "zero"}, "start is 'zero'; it may be one of: both, prior, sgd"),
        (inference.hmc, {"seed": -1}, "seed is -1"),
    ],
)
def test_bad_settings_get_a_sentence(small_network, tiny_data, train, settings, message):
    with pytest.raises(ValueError, match=message):
        train(small_network, tiny_data, progress=False, **settings)


def test_every_chain_has_a_solution_of_its_own_to_start_from(small_network, tiny_data, hmc_settings):
    given = hmc_settings | {
        "n_samples": 2,
        "warmup": 0,
        "n_chains": 2,
        "step_size": 1e-9,
        "adapt": False,
        "rescale": False,
    }
    weights = inference.hmc(small_network, tiny_data, **given, seed=4).samples["1.weight"]
    for sample, seed in zip(weights, (4, 5), strict=True):
        wanted = inference.sgd(small_network, tiny_data, progress=False, seed=seed).samples["1.weight"][0]
        assert torch.allclose(sample, wanted, atol=1e-5)


def test_hmc_samples_the_posterior_of_a_linear_regression(regression):
    data, network, mean, precision = regression
    energy = NetworkEnergy(network, data, LINE_PRIOR, line_misfit)
    settings = Settings(warmup=100, n_steps=12, step_size=0.05)
    generator = torch.Generator().manual_seed(1)
    chain = run_chain(energy, lambda: torch.zeros(4, dtype=torch.float64), settings, 800, generator)
    assert moments_off(chain.positions, mean, torch.linalg.inv(precision), chain=True).abs().max() < MOST


@pytest.mark.slow
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
    settings = Settings(warmup=100, n_steps=15, step_size=0.1, prior_scale=2.0)
    chain = run_chain(
        energy, lambda: torch.zeros(size, dtype=torch.float64), settings, 500, torch.Generator().manual_seed(1)
    )

    def model():
        weights = pyro.sample("w", dist.Normal(torch.zeros(size, dtype=torch.float64), 2.0).to_event(1))
        logits = torch.func.functional_call(network, energy.unflatten(weights), (x,))
        pyro.sample("y", dist.Categorical(logits=logits).to_event(1), obs=y)

    pyro.set_rng_seed(2)
    kernel = HMC(model, step_size=0.1, trajectory_length=1.5, adapt_step_size=True, target_accept_prob=0.8)
    run = MCMC(kernel, num_samples=300, warmup_steps=100, disable_progbar=True)
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


def test_a_start_without_a_finite_energy_gets_a_sentence(small_network, tiny_data):
    with pytest.raises(
        ValueError, match=r"the energy at the start of the chain is not finite, with prior_scale=1e\+30"
    ):
        inference.hmc(small_network, tiny_data, n_samples=2, start="prior", prior_scale=1e30, progress=False)


BAD_TEST_IMAGES = {
    "none": (
        {"test_images": torch.zeros(0, 1, 4, 4), "test_labels": torch.zeros(0, dtype=torch.int64)},
        "data.test_images has 0 images; it must have at least 1",
    ),
    "shape": ({"test_images": torch.zeros(30, 1, 5, 5)}, r"data.test_images has shape \[30, 1, 5, 5\]; it must have"),
    "bytes": ({"test_images": torch.full((30, 1, 4, 4), 255.0)}, r"data.test_images .* they must lie in \[0, 1\]"),
    "double": (
        {"test_images": torch.zeros(30, 1, 4, 4).double()},
        "images are torch.float64 on cpu; the posterior comp",
    ),
    "labels": ({"test_labels": torch.full((30,), 3)}, "data.test_labels has classes from 3 to 3; .* between 0 and 2"),
    "few labels": (
        {"test_labels": torch.zeros(9).long()},
        r"data.test_labels has shape \[9\]; it must have shape \[30\]",
    ),
}


@pytest.mark.parametrize("bad", BAD_TEST_IMAGES)
def test_test_images_that_nothing_can_be_said_of_are_refused_before_there_are_draws(
    small_network, tiny_data, bad, monkeypatch
):
    monkeypatch.setattr(hamiltonian, "_chain", lambda *given, **named: pytest.fail("a chain has begun"))
    changes, said = BAD_TEST_IMAGES[bad]
    with pytest.raises(ValueError, match=said):
        inference.hmc(small_network, replace(tiny_data, **changes), n_samples=4, n_chains=2, jobs=1, progress=False)


def test_a_checkpoint_that_is_no_folder_gets_a_sentence(small_network, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (file := Path("file")).write_text("a")
    for given in (file, file / "inside"):
        with pytest.raises(
            ValueError, match="checkpoint is 'file.*', where no folder can be .*; it must be a path of one"
        ):
            inference.hmc(small_network, tiny_data, n_samples=1, checkpoint=given, progress=False)
    assert file.read_text() == "a"


@pytest.mark.parametrize("start", ["both", pytest.param("sgd", marks=pytest.mark.slow)])
def test_the_sampler_finds_its_settings_by_itself(small_network, tiny_data, start):
    posterior = inference.hmc(
        small_network, tiny_data, n_samples=120, warmup=60, prior_scale=0.5, start=start, jobs=1, progress=False
    )
    found = posterior.record["diagnostics"]
    assert 0.6 < found["mean_acceptance"] <= 1
    assert found["certificate"] in certificate.WORDS
    assert found["rhat"] < 1.3
    assert found["ess"] > 20
    assert found["n_gradients"] == sum(row["n_gradients"] for chain in posterior.record["history"] for row in chain)
    assert len(posterior.record["history"]) == 4


@pytest.mark.slow
def test_chains_side_by_side_are_those_one_after_the_other(small_network, tiny_data):
    given = {"n_samples": 9, "warmup": 5, "prior_scale": 0.5, "n_chains": 3, "start": "both", "progress": False}
    alone, together = (inference.hmc(small_network, tiny_data, jobs=jobs, **given) for jobs in (1, 2))
    assert all(torch.equal(value, together.samples[name]) for name, value in alone.samples.items())
    assert alone.record["history"] == together.record["history"]
