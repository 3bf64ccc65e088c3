"""Hamiltonian Monte Carlo of any energy: leapfrog steps, acceptance, a step that adapts (Neal 2011; Hoffman and Gelman 2014).

The sampler knows neither network nor data: an energy is a function from a position to its terms and its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from relevance.base import checks
from relevance.inference.checkpoint import Checkpoint, Progress


@dataclass(frozen=True)
class Settings(checks.Checked):
    """How the chains are run.

    Without ``n_steps``, the length of a trajectory is ``trajectory`` times ``prior_scale``: a weight that the prior dominates
    swings around 0 with that period over 2 pi, and pi/2 of it, a quarter, is where the next draw does not depend on the last.
    (After L steps of size e their correlation is cos(L e / prior_scale).)

    Attributes:
        n_samples: draws that are kept, of all chains together; a rejected proposal repeats the state before it.
        warmup: draws of each chain before the first one that is kept; the step size and the masses are found in them.
        n_steps: leapfrog steps of a proposal (Carbone et al., Table IV: 10); if None, as many as the trajectory has.
        trajectory: length of a proposal, in units of ``prior_scale``.
        jitter: share by which each trajectory is longer or shorter, drawn anew, so that no direction comes back to where
            it was time after time (Neal 2011, Sec. 3.2).
        most_steps: no proposal has more steps than that where ``n_steps`` is None.
        step_size: of the leapfrog; the first guess where it is adapted. (Table IV has 0.5. A leapfrog is
            stable below twice the smallest standard deviation of the target, and a full batch leaves many weights far less
            than that: no proposal is accepted.)
        adapt: find the step size in the warm-up, by dual averaging (Hoffman and Gelman 2014, Sec. 3.2).
        target_acceptance: acceptance probability that the adaptation aims at.
        mass: ``"curvature"``, for each coordinate what the likelihood bends there, beside the prior
            (:class:`relevance.inference.curvature.Curvature`); or ``"unit"``.
        exact: draw weights that no training image meets from their posterior, which is the prior, and leave them out of the
            chain; see :class:`relevance.inference.energy.Coordinates`.
        rescale: after each transition, draw the scales of hidden units that the likelihood leaves free
            (:class:`relevance.inference.rescaling.Rescaling`).
        prior_scale: standard deviation of the normal prior of every weight and bias.
        start: ``"sgd"``, a solution found by SGD; ``"prior"``, a draw from the prior; ``"both"``, in turn; or ``"uniform"``,
            every parameter anywhere in [-2, 2], which is where Pyro's chains start unless they are told.
        grow: let the power of the likelihood grow from 0 to 1 in the first half of the warm-up of a chain that starts at the
            prior, whose first steps would be tiny otherwise.
        n_chains: independent chains, each from a start of its own; if None, 4, or as many as there are samples.
        jobs: chains side by side, in processes of their own; if None, as many as torch may use threads, and 1 on a GPU.
        seed: of the starts, the momenta and the acceptances.
    """

    n_samples: int = checks.whole(100)
    warmup: int = checks.whole(100, at_least=0)
    n_steps: int | None = checks.whole(None)
    trajectory: float = checks.real(math.pi / 2, above=0)
    jitter: float = checks.real(0.2, at_least=0, at_most=0.9)
    most_steps: int = checks.whole(1000)
    step_size: float = checks.real(0.01, above=0)
    adapt: bool = checks.flag(True)
    target_acceptance: float = checks.real(0.8, above=0, at_most=0.999)
    mass: str = checks.choice("curvature", ("curvature", "unit"))
    exact: bool = checks.flag(True)
    rescale: bool = checks.flag(True)
    prior_scale: float = checks.real(0.1, above=0)
    start: str = checks.choice("sgd", ("sgd", "prior", "both", "uniform"))
    grow: bool = checks.flag(True)
    n_chains: int | None = checks.whole(None)
    jobs: int | None = checks.whole(None)
    seed: int = checks.seeded()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_chains is not None:
            checks.count("n_chains", self.n_chains, at_most=self.n_samples)
        # Each solution of SGD has the seed of its chain's number further on.
        from_sgd = [chain for chain in range(self.chains) if self.start_of(chain) == "sgd"]
        checks.seed("seed", self.seed, after=max(from_sgd, default=0))

    @property
    def chains(self) -> int:
        """How many chains there are."""
        return min(4, self.n_samples) if self.n_chains is None else self.n_chains

    def start_of(self, chain: int) -> str:
        """Return where a chain starts: ``"sgd"``, ``"prior"`` or ``"uniform"``."""
        return ("sgd", "prior")[chain % 2] if self.start == "both" else self.start

    def steps(self, step_size: float, generator: torch.Generator) -> int:
        """Return how many leapfrog steps the next proposal has."""
        if self.n_steps is not None:
            return self.n_steps
        drawn = torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).item()
        length = self.trajectory * self.prior_scale * (1 + self.jitter * (2 * drawn - 1))
        return min(max(1, round(length / step_size)), self.most_steps)


class State(NamedTuple):
    """A point with the terms of its energy and the gradient of their sum."""

    position: Tensor
    terms: Tensor
    gradient: Tensor


class Energy(Protocol):
    """The negative log density of the target, up to a constant, as terms whose sum it is."""

    def __call__(self, position: Tensor) -> State:
        """Return the state at ``position``, a vector [D]."""
        ...


class Draw(NamedTuple):
    """What one transition gave."""

    state: State
    accepted: bool
    acceptance: float
    energy_change: float


def leapfrog(
    energy: Energy, state: State, momentum: Tensor, step_size: float, n_steps: int, mass: Tensor | float = 1.0
) -> tuple[State, Tensor]:
    """Follow Hamilton's equations for ``n_steps`` leapfrog steps (Neal 2011, Eq. 2.28 to 2.30)."""
    for _ in range(n_steps):
        momentum = momentum - 0.5 * step_size * state.gradient
        state = energy(state.position + step_size * momentum / mass)
        momentum = momentum - 0.5 * step_size * state.gradient
    return state, momentum


def transition(
    energy: Energy,
    state: State,
    step_size: float,
    n_steps: int,
    generator: torch.Generator,
    mass: Tensor | float = 1.0,
) -> Draw:
    """Make one proposal with ``n_steps`` leapfrog steps and accept or reject it (Neal 2011, Fig. 2).

    Args:
        mass: of each coordinate [D], or of all: the variance of its momentum.
    """
    noise = torch.randn(
        state.position.shape, generator=generator, dtype=state.position.dtype, device=state.position.device
    )
    momentum = noise * mass**0.5
    proposal, moved = leapfrog(energy, state, momentum, step_size, n_steps, mass)
    # Term by term: the energies are large and nearly equal, so the difference of their sums would lose its digits.
    change = (proposal.terms - state.terms).double().sum()
    change = change + 0.5 * ((moved - momentum).double() * (moved + momentum).double() / mass).sum()
    energy_change = change.item() if torch.isfinite(change) else math.inf
    acceptance = math.exp(min(0.0, -energy_change))
    uniform = torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).item()
    accepted = uniform < acceptance
    return Draw(proposal if accepted else state, accepted, acceptance, energy_change)


class StepSize:
    """Dual averaging of the log step size (Hoffman and Gelman 2014, Eq. 6 and Sec. 3.2, with their constants)."""

    def __init__(self, first: float, target_acceptance: float, boldness: float = 10) -> None:
        self.target = target_acceptance
        self.centre = math.log(boldness * first)
        self.error = 0.0
        self.log_average = 0.0
        self.count = 0
        self.now = first

    def update(self, acceptance: float) -> None:
        """Learn from the acceptance probability of one transition."""
        self.count += 1
        weight = 1 / (self.count + 10)
        self.error = (1 - weight) * self.error + weight * (self.target - acceptance)
        log_now = self.centre - math.sqrt(self.count) / 0.05 * self.error
        decay = self.count**-0.75
        self.log_average = decay * log_now + (1 - decay) * self.log_average
        self.now = math.exp(log_now)

    @property
    def average(self) -> float:
        """The step size to keep after the adaptation."""
        return math.exp(self.log_average) if self.count else self.now


class Chain(NamedTuple):
    """A finished chain: positions [S, D] and what each kept transition gave."""

    positions: Tensor
    draws: list[dict[str, float]]
    warmup: list[dict[str, float]]
    step_size: float


# Shares of the warm-up after which the masses are taken anew; the rest of it is the step size's.
REFRESHED = (0.0, 0.1, 0.2, 0.35, 0.5)
# Share of the warm-up in which the likelihood grows.
GROWING = 0.5


def run_chain(
    energy: Energy,
    start: Callable[[], Tensor],
    settings: Settings,
    n_samples: int,
    generator: torch.Generator,
    report: Callable[[int], Any] = lambda count: None,
    checkpoint: Checkpoint | None = None,
    masses: Callable[[Tensor, float], Tensor] | None = None,
    tempered: Callable[[float], Energy] | None = None,
    along: Callable[[Tensor, torch.Generator], Tensor] | None = None,
) -> Chain:
    """Run one chain: ``settings.warmup`` transitions that adapt it, then ``n_samples`` that are kept.

    Args:
        energy: the target.
        start: gives [D], where the chain starts.
        report: called with the number of transitions that were just made.
        checkpoint: where the chain is kept on disk; it goes on from what is found there, which may be more than is asked for.
        masses: of a position and a power of the likelihood, the mass [D]; all are 1 without.
        tempered: of a power of the likelihood, the target; the power grows in the warm-up if it is given.
        along: moves a position as leaves every one of these targets as it is; after each transition.

    Raises:
        ValueError: the energy at the start is not finite.
    """
    progress = checkpoint.load(generator) if checkpoint is not None else None
    if progress is None:
        progress = Progress(start())
    whole = settings.warmup + n_samples
    report(min(progress.index, whole))
    growing = math.ceil(GROWING * settings.warmup) if tempered is not None else 0
    refreshed = {math.floor(share * settings.warmup) for share in REFRESHED} if masses is not None else set()

    def target(index: int) -> tuple[Energy, float]:
        if tempered is None or index >= growing:
            return energy, 1.0
        power = ((index + 1) / (growing + 1)) ** 3
        return tempered(power), power

    state = target(progress.index)[0](progress.position)
    if not torch.isfinite(state.terms).all():
        raise ValueError(
            f"the energy at the start of the chain is not finite, with prior_scale={settings.prior_scale} and "
            f"start={settings.start!r}; with a smaller prior_scale it may be."
        )
    adaptation = StepSize(settings.step_size, settings.target_acceptance)
    vars(adaptation).update(progress.adaptation)
    while progress.index < whole:
        warming = progress.index < settings.warmup
        now, power = target(progress.index)
        if warming and progress.index <= growing:
            state = now(state.position)
        if progress.index in refreshed and masses is not None and (warming or progress.index == 0):
            progress.mass = masses(state.position, power)
            if settings.adapt and progress.index > 0:
                adaptation = StepSize(adaptation.average, settings.target_acceptance, boldness=2)
        step_size = settings.step_size
        if settings.adapt:
            step_size = adaptation.now if warming else adaptation.average
        n_steps = settings.steps(step_size, generator)
        draw = transition(now, state, step_size, n_steps, generator, 1.0 if progress.mass is None else progress.mass)
        state = draw.state if along is None else now(along(draw.state.position, generator))
        if warming and settings.adapt:
            adaptation.update(draw.acceptance)
        progress.rows.append(
            {
                "energy": state.terms.double().sum().item(),
                "acceptance": draw.acceptance,
                "accepted": float(draw.accepted),
                "energy_change": draw.energy_change if math.isfinite(draw.energy_change) else 1e308,
                "step_size": step_size,
                "n_steps": n_steps,
                "n_gradients": n_steps + (along is not None),
            }
        )
        if not warming:
            progress.kept.append(state.position[None])
        progress.position, progress.adaptation = state.position, dict(vars(adaptation))
        progress.index += 1
        report(1)
        if checkpoint is not None:
            checkpoint.save(progress, generator, now=progress.index == whole)
    rows = progress.rows[:whole]
    kept = torch.cat(progress.kept)[:n_samples]
    return Chain(kept, rows[settings.warmup :], rows[: settings.warmup], rows[-1]["step_size"])
