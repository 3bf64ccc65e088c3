"""Hamiltonian Monte Carlo on the full batch (Neal 2011, "MCMC using Hamiltonian dynamics").

The sampler moves one flat vector of parameters. It knows its target only as terms of an energy and their gradient
(:class:`Energy`), so that it is tested on targets whose moments are known.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from relevance import checks
from relevance.datasets import Dataset
from relevance.digests import of_tensors
from relevance.inference import common, diagnostics
from relevance.inference.checkpoint import Checkpoint, Progress
from relevance.inference.common import Loss, cross_entropy
from relevance.inference.sgd import sgd
from relevance.posterior import Posterior
from relevance.progress import bar

IMAGES_AT_ONCE = 10_000


@dataclass(frozen=True)
class Settings:
    """How the chains are run.

    Attributes:
        n_samples: draws that are kept, of all chains together; a rejected proposal repeats the state before it.
        warmup: draws of each chain before the first one that is kept; the step size is adapted in them.
        n_steps: leapfrog steps of a proposal (Carbone et al., Table IV: 10).
        step_size: of the leapfrog; the first guess where it is adapted. (Table IV has 0.5, at which no proposal
            on a full batch is accepted unless the posterior is as wide as a standard normal.)
        adapt: find the step size in the warm-up, by dual averaging (Hoffman and Gelman 2014, Sec. 3.2).
        target_acceptance: acceptance probability that the adaptation aims at.
        prior_scale: standard deviation of the normal prior of every weight and bias.
        start: ``"sgd"``, a solution found by SGD, or ``"prior"``, a draw from the prior.
        n_chains: independent chains, one after the other, each from a start of its own.
        seed: of the starts, the momenta and the acceptances.
    """

    n_samples: int = 100
    warmup: int = 100
    n_steps: int = 10
    step_size: float = 0.01
    adapt: bool = True
    target_acceptance: float = 0.8
    prior_scale: float = 0.1
    start: str = "sgd"
    n_chains: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        checks.count("n_samples", self.n_samples)
        checks.count("warmup", self.warmup, at_least=0)
        checks.count("n_steps", self.n_steps)
        checks.number("step_size", self.step_size, above=0)
        if not isinstance(self.adapt, bool):
            raise ValueError(f"adapt is {self.adapt!r}; it must be True or False.")
        checks.number("target_acceptance", self.target_acceptance, above=0, at_most=0.999)
        checks.number("prior_scale", self.prior_scale, above=0)
        checks.one_of("start", self.start, ("sgd", "prior"))
        checks.count("n_chains", self.n_chains, at_most=self.n_samples)
        checks.count("seed", self.seed, at_least=0)


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


def leapfrog(energy: Energy, state: State, momentum: Tensor, step_size: float, n_steps: int) -> tuple[State, Tensor]:
    """Follow Hamilton's equations for ``n_steps`` leapfrog steps (Neal 2011, Eq. 2.28 to 2.30)."""
    for _ in range(n_steps):
        momentum = momentum - 0.5 * step_size * state.gradient
        state = energy(state.position + step_size * momentum)
        momentum = momentum - 0.5 * step_size * state.gradient
    return state, momentum


def transition(energy: Energy, state: State, step_size: float, n_steps: int, generator: torch.Generator) -> Draw:
    """Make one proposal with ``n_steps`` leapfrog steps and accept or reject it (Neal 2011, Fig. 2)."""
    momentum = torch.randn(
        state.position.shape, generator=generator, dtype=state.position.dtype, device=state.position.device
    )
    proposal, moved = leapfrog(energy, state, momentum, step_size, n_steps)
    # Term by term: the energies are large and nearly equal, so the difference of their sums would lose its digits.
    change = (proposal.terms - state.terms).double().sum()
    change = change + 0.5 * ((moved - momentum).double() * (moved + momentum).double()).sum()
    energy_change = change.item() if torch.isfinite(change) else math.inf
    acceptance = math.exp(min(0.0, -energy_change))
    uniform = torch.rand((), generator=generator, dtype=torch.float64, device=generator.device).item()
    accepted = uniform < acceptance
    return Draw(proposal if accepted else state, accepted, acceptance, energy_change)


class StepSize:
    """Dual averaging of the log step size (Hoffman and Gelman 2014, Eq. 6 and Sec. 3.2, with their constants)."""

    def __init__(self, first: float, target_acceptance: float) -> None:
        self.target = target_acceptance
        self.centre = math.log(10 * first)
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


def run_chain(
    energy: Energy,
    start: Callable[[], Tensor],
    settings: Settings,
    n_samples: int,
    generator: torch.Generator,
    report: Callable[[int], Any] = lambda count: None,
    checkpoint: Checkpoint | None = None,
) -> Chain:
    """Run one chain: ``settings.warmup`` transitions that adapt the step size, then ``n_samples`` that are kept.

    Args:
        energy: the target.
        start: gives [D], where the chain starts.
        report: called with the number of transitions that were just made.
        checkpoint: where the chain is kept on disk; it goes on from what is found there.

    Raises:
        ValueError: the energy at the start is not finite.
    """
    progress = checkpoint.load(generator) if checkpoint is not None else None
    if progress is None:
        progress = Progress(start())
    report(progress.index)
    state = energy(progress.position)
    if not torch.isfinite(state.terms).all():
        raise ValueError(
            f"the energy at the start of the chain is not finite, with prior_scale={settings.prior_scale} and "
            f"start={settings.start!r}; the network or its images have NaN."
        )
    adaptation = StepSize(settings.step_size, settings.target_acceptance)
    vars(adaptation).update(progress.adaptation)
    while progress.index < settings.warmup + n_samples:
        warming = progress.index < settings.warmup
        step_size = settings.step_size
        if settings.adapt:
            step_size = adaptation.now if warming else adaptation.average
        draw = transition(energy, state, step_size, settings.n_steps, generator)
        state = draw.state
        if warming and settings.adapt:
            adaptation.update(draw.acceptance)
        progress.rows.append(
            {
                "energy": state.terms.double().sum().item(),
                "acceptance": draw.acceptance,
                "accepted": float(draw.accepted),
                "energy_change": draw.energy_change if math.isfinite(draw.energy_change) else 1e308,
                "step_size": step_size,
            }
        )
        if not warming:
            progress.kept.append(state.position[None])
        progress.position, progress.adaptation = state.position, dict(vars(adaptation))
        progress.index += 1
        report(1)
        if checkpoint is not None:
            checkpoint.save(progress, generator, now=progress.index == settings.warmup + n_samples)
    rows = progress.rows
    return Chain(torch.cat(progress.kept), rows[settings.warmup :], rows[: settings.warmup], rows[-1]["step_size"])


class NetworkEnergy:
    """-log p(D | w) - log p(w) of a network: the loss of each training image (the cross-entropy) and a normal prior.

    The gradient is summed over chunks of images, so that memory stays flat as the training set grows.
    """

    def __init__(self, network: nn.Module, data: Dataset, prior_scale: float, loss: Loss = cross_entropy) -> None:
        self.network = network
        self.loss = loss
        self.data = data
        self.precision = prior_scale**-2
        self.names, values = zip(*network.named_parameters(), strict=True)
        self.shapes = [value.shape for value in values]
        self.sizes = [value.numel() for value in values]

    def unflatten(self, positions: Tensor) -> dict[str, Tensor]:
        """Split [..., D] into the network's parameters [..., shape]."""
        parts = positions.split(self.sizes, dim=-1)
        leading = positions.shape[:-1]
        return {
            name: part.reshape(*leading, *shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }

    def __call__(self, position: Tensor) -> State:
        """Return the terms of the energy and their gradient at ``position`` [D]."""
        gradient = self.precision * position
        losses = []
        for images, labels in zip(
            self.data.train_images.split(IMAGES_AT_ONCE),
            self.data.train_labels.split(IMAGES_AT_ONCE),
            strict=True,
        ):
            with torch.enable_grad():
                leaf = position.detach().requires_grad_()
                logits = functional_call(self.network, self.unflatten(leaf), (images,))
                loss = self.loss(logits, labels)
                (part,) = torch.autograd.grad(loss.sum(), leaf)
            gradient = gradient + part
            losses.append(loss.detach())
        return State(position, torch.cat([*losses, 0.5 * self.precision * position**2]), gradient)


def hmc(
    network: nn.Module, data: Dataset, *, progress: bool = True, checkpoint: str | Path | None = None, **settings: Any
) -> Posterior:
    """Sample the posterior over a network's parameters by Hamiltonian Monte Carlo on the full batch.

    The likelihood is the softmax's, the prior normal with standard deviation ``prior_scale``. The same arguments
    give the same samples on the same machine; ``network`` is left as it is.

    Args:
        network: the architecture.
        data: its training images and labels are the data D; its test images serve the diagnostics only.
        progress: show a progress bar.
        checkpoint: a folder for the run's state. A run that was killed goes on from it, and ends with the very samples
            of an unbroken one; a finished run is read from it.
        settings: fields of :class:`Settings`.

    Returns:
        A posterior of ``n_samples`` samples in the order of the chains. ``record["diagnostics"]`` has the
        acceptance rate, R-hat and effective sample size (of log-probabilities of test images, not of weights) and
        ``"converged"``; ``record["history"]`` a row for each transition.

    Raises:
        ValueError: a setting is not what it may be, the network does not fit the data, the energy at the start is not
            finite, or the checkpoint is damaged or of another run.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    shell = common.initialised(network, data, chosen.seed).eval()
    if chosen.start == "sgd" and any(True for _ in shell.buffers()):
        # Batch norm's statistics are constants of the network that is sampled: those of the first solution.
        solution = sgd(network, data, seed=chosen.seed, progress=False)
        shell.load_state_dict(dict(solution.network.named_buffers()), strict=False)
    energy = NetworkEnergy(shell, data, chosen.prior_scale)
    generator = torch.Generator(data.train_images.device).manual_seed(chosen.seed)
    lengths = [len(part) for part in torch.arange(chosen.n_samples).tensor_split(chosen.n_chains)]
    chains = []
    run = {
        **asdict(chosen),
        "data": data.source,
        "images": of_tensors(data.train_images, data.train_labels),
        "network": repr(network),
        "device": str(generator.device),
    }
    with bar(chosen.n_samples + chosen.n_chains * chosen.warmup, "HMC", "draw", show=progress) as shown:
        for index, length in enumerate(lengths):
            start = partial(_start, network, data, energy, chosen, index, generator)
            kept = None if checkpoint is None else Checkpoint(Path(checkpoint), index, run)
            chains.append(run_chain(energy, start, chosen, length, generator, shown.update, kept))
    posterior = Posterior(shell, energy.unflatten(torch.cat([chain.positions for chain in chains])))
    posterior.record.update(
        common.record(
            "hmc",
            data,
            asdict(chosen),
            started,
            diagnostics=diagnostics.summary(posterior, data, chains),
            history=[chain.warmup + chain.draws for chain in chains],
        )
    )
    return posterior


def _start(
    network: nn.Module,
    data: Dataset,
    energy: NetworkEnergy,
    settings: Settings,
    index: int,
    generator: torch.Generator,
) -> Tensor:
    if settings.start == "sgd":
        solution = sgd(network, data, seed=settings.seed + index, progress=False)
        return torch.cat([solution.samples[name][0].flatten() for name in energy.names])
    size = sum(energy.sizes)
    return settings.prior_scale * torch.randn(size, generator=generator, device=generator.device)
