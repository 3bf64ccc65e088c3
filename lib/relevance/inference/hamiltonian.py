"""Hamiltonian Monte Carlo on the full batch (Neal 2011, "MCMC using Hamiltonian dynamics").

The sampler moves one flat vector of parameters. It knows its target only as terms of an energy and their gradient
(:class:`chain.Energy`), so that it is tested on targets whose moments are known.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relevance.base import checks, chunks
from relevance.base.digests import of_tensors
from relevance.base.environment import bar
from relevance.datasets.dataset import Dataset
from relevance.inference import diagnostics, training
from relevance.inference.chain import Settings, State, run_chain
from relevance.inference.checkpoint import Checkpoint
from relevance.inference.sgd import sgd
from relevance.inference.training import Loss, cross_entropy
from relevance.networks.posterior import Posterior

IMAGES_AT_ONCE = 10_000


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
                logits = chunks.call(self.network, self.unflatten(leaf), images)
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
    give the same samples on the same machine.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The test images of
    ``data`` serve the diagnostics only.

    Args:
        checkpoint: a folder for the run's state. A run that was killed goes on from it, and ends with the very samples
            of an unbroken one; a finished run is read from it.

    Returns:
        A posterior of ``n_samples`` samples in the order of the chains. ``record["diagnostics"]`` has the
        acceptance rate, R-hat and effective sample size (of log-probabilities of test images, not of weights) and
        ``"converged"``; ``record["history"]`` a row for each transition.

    Raises:
        ValueError: as there; or the energy at the start is not finite, or the checkpoint is damaged or of another run.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    folder = None if checkpoint is None else checks.path("checkpoint", checkpoint)
    shell = training.initialised(network, data, chosen.seed).eval()
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
            kept = None if folder is None else Checkpoint(folder, index, run)
            chains.append(run_chain(energy, start, chosen, length, generator, shown.update, kept))
    posterior = Posterior(shell, energy.unflatten(torch.cat([chain.positions for chain in chains])))
    posterior.record.update(
        training.record(
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
    like = next(network.parameters())
    return settings.prior_scale * torch.randn(size, generator=generator, dtype=like.dtype, device=generator.device)
