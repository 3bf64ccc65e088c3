from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.func import functional_call
from torch.nn import functional

from oracles import MOST, errors_off, moments_off
from relevance import inference, networks
from relevance.inference import common, diagnostics, hamiltonian
from relevance.inference.hamiltonian import Chain, NetworkEnergy, Settings, State, StepSize, run_chain, transition

pytestmark = pytest.mark.stochastic


@pytest.fixture
def small_network():
    return networks.fully_connected((1, 4, 4), hidden=8, n_classes=3)


class Gaussian:
    """A normal target with a known mean and covariance."""

    def __init__(self):
        self.mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        root = torch.tensor([[1.0, 0, 0], [0.6, 0.5, 0], [-0.3, 0.2, 2.0]], dtype=torch.float64)
        self.covariance = root @ root.T
        self.precision = torch.linalg.inv(self.covariance)

    def __call__(self, position):
        gradient = self.precision @ (position - self.mean)
        return State(position, 0.5 * (position - self.mean) * gradient, gradient)


def test_hmc_has_the_moments_of_a_known_target():
    target = Gaussian()
    settings = Settings(warmup=300, n_steps=8, step_size=0.5, target_acceptance=0.8)
    generator = torch.Generator().manual_seed(0)
    chain = run_chain(target, lambda: torch.full((3,), 10.0, dtype=torch.float64), settings, 6000, generator)
    assert moments_off(chain.positions, target.mean, target.covariance, chain=True).abs().max() < MOST
    tried, kept = (torch.tensor([row["acceptance"] for row in rows]) for rows in (chain.warmup[50:], chain.draws))
    # Every error of a step is made up for by the next: from seed to seed the mean has a standard deviation of 0.0012, and it
    # is 0.003 below what is aimed at.
    assert tried.mean().item() == pytest.approx(0.797, abs=MOST * 0.0012)
    # The average of these steps, which is kept, is accepted more often: from seed to seed 0.87, with one of 0.032.
    assert kept.mean().item() == pytest.approx(0.87, abs=MOST * 0.032)


def test_a_step_that_is_not_adapted_is_the_one_that_was_given():
    settings = Settings(warmup=3, n_steps=2, step_size=0.123, adapt=False)
    chain = run_chain(
        Gaussian(), lambda: torch.zeros(3, dtype=torch.float64), settings, 4, torch.Generator().manual_seed(0)
    )
    assert {row["step_size"] for row in chain.warmup + chain.draws} == {0.123}
    assert (len(chain.warmup), len(chain.draws), len(chain.positions)) == (3, 4, 4)


def test_the_energy_error_of_a_leapfrog_falls_with_the_square_of_the_step():
    target = Gaussian()
    state = target(torch.tensor([2.0, -1.0, 1.0], dtype=torch.float64))
    errors = []
    for step_size, n_steps in ((0.05, 8), (0.025, 16)):
        draw = transition(target, state, step_size, n_steps, torch.Generator().manual_seed(3))
        errors.append(abs(draw.energy_change))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_a_rejected_proposal_repeats_the_state():
    settings = Settings(warmup=0, n_steps=10, step_size=100.0, adapt=False)  # far beyond stability
    start = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    chain = run_chain(Gaussian(), lambda: start, settings, 5, torch.Generator().manual_seed(0))
    assert torch.equal(chain.positions, start.expand(5, 3))
    assert [row["accepted"] for row in chain.draws] == [0] * 5


def test_energy_changes_keep_their_digits_in_float32():
    """Large, nearly equal energies: their difference is taken term by term, not from two rounded sums."""

    def energy(position):
        terms = torch.cat([torch.full((1000,), 3e4), 0.5 * position**2])
        return State(position, terms, position)

    position = torch.tensor([0.3], dtype=torch.float32)
    single = transition(energy, energy(position), 0.1, 3, torch.Generator().manual_seed(0))
    momentum = torch.randn((1,), generator=torch.Generator().manual_seed(0)).item()
    q, p = position.item(), momentum
    for _ in range(3):
        p -= 0.05 * q
        q += 0.1 * p
        p -= 0.05 * q
    wanted = 0.5 * (q**2 + p**2) - 0.5 * (position.item() ** 2 + momentum**2)
    assert single.energy_change == pytest.approx(wanted, abs=1e-6)


def test_dual_averaging_finds_the_step_of_a_known_acceptance():
    adaptation = StepSize(first=1.0, target_acceptance=0.8)
    for _ in range(2000):
        adaptation.update(math.exp(-adaptation.now))  # acceptance 0.8 at a step of -log 0.8
    assert adaptation.average == pytest.approx(-math.log(0.8), rel=0.05)


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


def to_double(data):
    from dataclasses import replace

    return replace(data, train_images=data.train_images.double(), test_images=data.test_images.double())


def test_the_gradient_does_not_depend_on_how_images_are_cut(small_network, tiny_data, monkeypatch):
    energy = NetworkEnergy(small_network.double(), to_double(tiny_data), prior_scale=1.0)
    position = torch.randn(sum(energy.sizes), dtype=torch.float64)
    whole = energy(position)
    monkeypatch.setattr(hamiltonian, "IMAGES_AT_ONCE", 7)
    cut = energy(position)
    assert torch.allclose(cut.gradient, whole.gradient)
    assert torch.allclose(cut.terms, whole.terms)


@pytest.fixture(scope="module")
def hmc_settings():
    return {"n_samples": 30, "warmup": 20, "n_steps": 10, "step_size": 0.02, "prior_scale": 0.5, "progress": False}


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
    assert record["diagnostics"]["rhat_max"] >= record["diagnostics"]["rhat_median"] > 0.9
    assert isinstance(record["diagnostics"]["converged"], bool)


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
    given = hmc_settings | {"n_samples": 5, "warmup": 0, "n_chains": 2, "step_size": 1e-9, "adapt": False}
    prior = inference.hmc(small_network, tiny_data, **given, start="prior").samples["1.weight"]
    assert len(prior) == 5
    assert torch.allclose(prior[0], prior[2], atol=1e-5)  # the first chain has three samples and hardly moves
    assert not torch.allclose(prior[2], prior[3], atol=1e-2)
    # The mean of n squares of standard normal variables has the standard error sqrt(2 / n).
    n = prior[0].numel()
    assert (prior[0] / 0.5).square().mean().item() == pytest.approx(1, abs=MOST * (2 / n) ** 0.5)
    solution = inference.hmc(small_network, tiny_data, **given).samples["1.weight"][0]
    wanted = inference.sgd(small_network, tiny_data, progress=False).samples["1.weight"][0]
    assert torch.allclose(solution, wanted, atol=1e-5)


def fake_chain(posterior, n_draws):
    row = {"accepted": 1.0, "acceptance": 0.9, "energy_change": -0.2}
    return Chain(torch.zeros(n_draws, 1), [row] * n_draws, [], 0.1)


def test_diagnostics_tell_a_mixed_chain_from_one_that_drifts(small_network, tiny_data):
    from conftest import random_posterior

    mixed = random_posterior(small_network, 200).samples
    drift = {
        name: torch.stack([torch.lerp(value[0], value[1], share / 199) for share in range(200)])
        for name, value in mixed.items()
    }
    found = {}
    for name, samples in (("mixed", mixed), ("drift", drift)):
        posterior = inference.hamiltonian.Posterior(small_network.double(), samples)
        found[name] = diagnostics.summary(posterior, to_double(tiny_data), [fake_chain(posterior, 200)])
    assert found["mixed"]["converged"]
    assert found["mixed"]["ess_median"] > 120
    assert not found["drift"]["converged"]
    assert found["drift"]["rhat_median"] > 1.3
    assert found["drift"]["ess_median"] < 20


def test_too_few_draws_are_not_called_converged(small_network, tiny_data, hmc_settings):
    record = inference.hmc(small_network, tiny_data, **(hmc_settings | {"n_samples": 4})).record
    assert record["diagnostics"]["converged"] is False
    assert record["diagnostics"]["rhat_max"] is None


def test_sgd_learns_and_says_what_it_did(small_network, tiny_data):
    before = [value.clone() for value in small_network.parameters()]
    posterior = inference.sgd(small_network, tiny_data, epochs=40, learning_rate=0.01, progress=False)
    assert len(posterior) == 1
    assert posterior.accuracy(tiny_data.test_images, tiny_data.test_labels) > 0.95
    history = posterior.record["history"]
    assert len(history["loss"]) == 40
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert history["accuracy"][-1] > 0.95
    assert all(itertools.starmap(torch.equal, zip(before, small_network.parameters(), strict=True)))


def test_sgd_is_the_same_for_the_same_seed(small_network, tiny_data):
    first, again, other = (
        inference.sgd(small_network, tiny_data, epochs=2, seed=seed, progress=False).samples["1.weight"]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sgd_takes_the_steps_of_adam_on_the_cross_entropy(small_network, tiny_data):
    posterior = inference.sgd(small_network, tiny_data, epochs=3, batch_size=90, learning_rate=0.01, progress=False)
    model = common.initialised(small_network, tiny_data, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(3):  # a batch of all images, whose order does not count
        optimiser.zero_grad()
        functional.cross_entropy(model(tiny_data.train_images), tiny_data.train_labels).backward()
        optimiser.step()
    for name, value in model.named_parameters():
        assert torch.allclose(posterior.samples[name][0], value, atol=1e-5)


def test_the_initial_parameters_are_those_of_the_seed(small_network, tiny_data):
    first, again, other = (common.initialised(small_network, tiny_data, seed=seed)[1].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, small_network[1].weight)


@pytest.mark.parametrize(
    ("train", "settings", "message"),
    [
        (inference.sgd, {"epochs": 0}, "epochs is 0; it must be a whole number of at least 1"),
        (inference.sgd, {"learning_rate": -1}, "learning_rate is -1"),
        (inference.hmc, {"n_samples": 0}, "n_samples is 0"),
        (inference.hmc, {"n_samples": 2, "n_chains": 3}, "n_chains is 3; it must be .* at most 2"),
        (inference.hmc, {"prior_scale": 0}, "prior_scale is 0; it must be a finite number above 0"),
        (inference.hmc, {"start": "zero"}, "start is 'zero'; it may be one of: prior, sgd"),
        (inference.hmc, {"seed": -1}, "seed is -1"),
    ],
)
def test_bad_settings_get_a_sentence(small_network, tiny_data, train, settings, message):
    with pytest.raises(ValueError, match=message):
        train(small_network, tiny_data, progress=False, **settings)


def test_a_network_that_does_not_fit_gets_a_sentence(tiny_data):
    with pytest.raises(ValueError, match=r"does not take images of shape \[1, 4, 4\]"):
        inference.sgd(networks.fully_connected((1, 5, 5), 4, 3), tiny_data, progress=False)
    with pytest.raises(ValueError, match=r"it must give \[2, 3\]"):
        inference.sgd(networks.fully_connected((1, 4, 4), 4, 2), tiny_data, progress=False)


def test_acceptance_is_drawn_not_decided():
    """From one state, a proposal of acceptance a is accepted in a share a of many tries."""

    def energy(position):
        return State(position, 0.5 * position**2, position)

    state = energy(torch.tensor([1.0], dtype=torch.float64))
    generator = torch.Generator().manual_seed(0)
    draws = [transition(energy, state, 1.9, 1, generator) for _ in range(4000)]
    accepted = torch.tensor([draw.accepted for draw in draws]).double()
    expected = torch.tensor([draw.acceptance for draw in draws])
    middle = (expected > 0.3) & (expected < 0.7)
    assert middle.sum() > 200
    # Whether one is accepted is the only chance in the differences, which so have a mean of zero.
    for some in (accepted - expected, (accepted - expected)[middle]):
        assert errors_off(some, 0.0).abs() < MOST


def test_every_chain_has_a_solution_of_its_own_to_start_from(small_network, tiny_data, hmc_settings):
    given = hmc_settings | {"n_samples": 2, "warmup": 0, "n_chains": 2, "step_size": 1e-9, "adapt": False}
    weights = inference.hmc(small_network, tiny_data, **given, seed=4).samples["1.weight"]
    for sample, seed in zip(weights, (4, 5), strict=True):
        wanted = inference.sgd(small_network, tiny_data, progress=False, seed=seed).samples["1.weight"][0]
        assert torch.allclose(sample, wanted, atol=1e-5)


def test_training_with_dropout_is_reproducible_and_keeps_torch_s_state(tiny_data):
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 3)
    )
    state = torch.get_rng_state()
    first, again = (inference.sgd(network, tiny_data, epochs=2, progress=False).samples["1.weight"] for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


def test_sgd_shuffles(small_network, tiny_data):
    from dataclasses import replace

    order = torch.arange(90).flip(0)
    turned = replace(tiny_data, train_images=tiny_data.train_images[order], train_labels=tiny_data.train_labels[order])
    seen = []
    for data in (tiny_data, turned):
        history = inference.sgd(small_network, data, epochs=1, batch_size=10, progress=False).record["history"]
        seen.append(history["loss"][0])
    # Without shuffling, one set would be the other backwards; with it, both are only other random orders. Either way
    # the losses differ, so what is asked is that the batches are not the file's own.
    model = common.initialised(small_network, tiny_data, seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    total = 0.0
    for images, labels in zip(tiny_data.train_images.split(10), tiny_data.train_labels.split(10), strict=True):
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        total += loss.item() / 9
    assert abs(seen[0] - total) > 1e-5
    assert seen[0] != seen[1]


def test_the_convergence_check_is_the_one_that_the_book_states():
    assert diagnostics.RHAT_LIMIT == 1.05


def test_an_unknown_setting_lists_the_known_ones(small_network, tiny_data):
    with pytest.raises(ValueError, match="'epoch' is not a setting here; it may be one of: epochs, learning_rate"):
        inference.sgd(small_network, tiny_data, epoch=3)
    with pytest.raises(ValueError, match="adapt is 'no'; it must be True or False"):
        inference.hmc(small_network, tiny_data, adapt="no")
