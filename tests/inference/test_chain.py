from __future__ import annotations

import itertools
import math

import pytest
import torch

from oracles import LINE_PRIOR, MOST, errors_off, line_misfit, moments_off
from relevance.inference import chain
from relevance.inference.chain import Settings, State, StepSize, run_chain, transition
from relevance.inference.energy import NetworkEnergy

pytestmark = pytest.mark.stochastic


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


def test_the_leapfrog_goes_back_where_it_came_from(regression):
    """Reversibility: with the momentum turned round, the same steps lead back."""
    data, network, _, _ = regression
    energy = NetworkEnergy(network, data, LINE_PRIOR, line_misfit)
    position = torch.tensor([0.3, -0.2, 0.1, 0.5], dtype=torch.float64)
    momentum = torch.tensor([1.0, -0.5, 0.2, 0.7], dtype=torch.float64)

    end, pushed = chain.leapfrog(energy, energy(position), momentum, 0.03, 15)
    back, turned = chain.leapfrog(energy, end, -pushed, 0.03, 15)
    assert (end.position - position).abs().max() > 0.1
    assert torch.allclose(back.position, position, atol=1e-12)
    assert torch.allclose(-turned, momentum, atol=1e-12)


def test_hmc_is_in_detailed_balance_on_a_grid():
    """Of a normal target, one leapfrog step of a large size: the chain's flow from left to right equals that back."""

    def energy(position):
        return State(position, 0.5 * position**2, position)

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


def test_masses_meet_a_target_of_condition_number_1000():
    """Standard deviations from 1 to 1/sqrt(1000): a trajectory that fits the widest, and steps that all coordinates allow."""
    precisions = torch.logspace(0, 3, 20, dtype=torch.float64)

    def energy(position):
        return State(position, 0.5 * precisions * position**2, precisions * position)

    settings = Settings(warmup=100, step_size=0.3, prior_scale=1.0)
    for masses, most in ((lambda position, power: precisions, 8), (None, 200)):
        found = run_chain(
            energy, lambda: torch.ones(20, dtype=torch.float64), settings, 500, torch.Generator().manual_seed(0),
            masses=masses,
        )  # fmt: skip
        off = moments_off(found.positions, torch.zeros(20).double(), torch.diag(1 / precisions), chain=True)
        # 420 numbers are looked at, of which the largest lies above 4.5 in one of 300 tries.
        assert off.abs().max() < MOST + 1
        assert sum(row["n_steps"] for row in found.draws) / 500 < most


def test_trajectories_are_as_long_as_they_are_said_to_be_and_jittered():
    settings = Settings(prior_scale=0.2, jitter=0.2)
    generator = torch.Generator().manual_seed(0)
    lengths = [settings.steps(0.001, generator) * 0.001 for _ in range(200)]
    assert 0.8 * math.pi / 2 * 0.2 - 0.001 <= min(lengths) < 0.82 * math.pi / 2 * 0.2
    assert 1.18 * math.pi / 2 * 0.2 < max(lengths) <= 1.2 * math.pi / 2 * 0.2 + 0.001
    assert settings.steps(1e-9, generator) == settings.most_steps
    assert settings.steps(9.0, generator) == 1
    before = generator.get_state()
    assert Settings(n_steps=7).steps(0.001, generator) == 7
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize(("length", "step_size"), [(10, 0.0014), (112, 0.0014)])
def test_a_weight_of_the_prior_has_the_autocorrelation_of_its_angle(length, step_size):
    """cos(L e / sigma): 0.990 for the recorded chains of before, whose 100 draws were worth 4; 0 for a quarter of a turn."""
    scale = 0.1

    def energy(position):
        return State(position, 0.5 * position**2 / scale**2, position / scale**2)

    settings = Settings(n_steps=length, step_size=step_size, adapt=False, warmup=0, prior_scale=scale)
    generator = torch.Generator().manual_seed(0)
    start = scale * torch.randn(4000, generator=generator, dtype=torch.float64)
    positions = run_chain(energy, lambda: start, settings, 3, generator).positions
    products = (positions[1:] * positions[:-1]).flatten()[:, None] / scale**2
    # 8,000 coordinates that know nothing of each other, but all are accepted or rejected at once; here all are accepted.
    assert errors_off(products, math.cos(length * step_size / scale)).abs().max() < MOST


def test_a_power_of_the_likelihood_grows_in_the_warm_up_and_is_1_for_what_is_kept():
    powers = []

    def tempered(power):
        powers.append(power)
        return lambda position: State(position, 0.5 * power * position**2, power * position)

    settings = Settings(warmup=40, step_size=0.5, prior_scale=1.0)
    found = run_chain(
        tempered(1.0), lambda: torch.zeros(5, dtype=torch.float64), settings, 1500, torch.Generator().manual_seed(0),
        tempered=tempered,
    )  # fmt: skip
    grown = powers[1:]
    assert grown == sorted(grown)
    assert 0 < grown[0] < 0.001
    assert 0.8 < grown[-1] < 1
    assert moments_off(found.positions, torch.zeros(5).double(), torch.eye(5).double(), chain=True).abs().max() < MOST


def test_jittered_trajectories_are_in_detailed_balance():
    def energy(position):
        return State(position, 0.5 * position**2, position)

    settings = Settings(warmup=0, trajectory=3.0, jitter=0.9, prior_scale=1.0, step_size=1.2, adapt=False)
    generator = torch.Generator().manual_seed(0)
    found = run_chain(energy, lambda: torch.zeros(1, dtype=torch.float64), settings, 10000, generator)
    assert {row["n_steps"] for row in found.draws} == {1, 2, 3, 4, 5}
    at = torch.bucketize(found.positions.squeeze(1), torch.tensor([-0.8, 0.0, 0.8], dtype=torch.float64))
    flow = torch.zeros(4, 4)
    for before, after in itertools.pairwise(at):
        flow[before, after] += 1
    gap = (flow - flow.T).abs() / (flow + flow.T).clamp(min=1).sqrt()
    assert gap.max() < 4  # standard deviations of the counts
