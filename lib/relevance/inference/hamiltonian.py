"""Hamiltonian Monte Carlo on the full batch (Neal 2011, "MCMC using Hamiltonian dynamics").

The sampler moves one flat vector of parameters. It knows its target only as terms of an energy and their gradient
(:class:`chain.Energy`), so that it is tested on targets whose moments are known.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from relevance.base import checks, processes
from relevance.base.digests import of_tensors
from relevance.base.environment import bar
from relevance.datasets.dataset import Dataset
from relevance.inference import certificate, diagnostics, training
from relevance.inference.chain import Chain, Settings, run_chain
from relevance.inference.checkpoint import Checkpoint
from relevance.inference.curvature import Curvature
from relevance.inference.energy import Coordinates, NetworkEnergy
from relevance.inference.rescaling import Rescaling
from relevance.inference.sgd import sgd
from relevance.networks.posterior import Posterior, fill

# Half the width of the box in which Pyro's chains start.
WIDE = 2.0


def hmc(
    network: nn.Module, data: Dataset, *, progress: bool = True, checkpoint: str | Path | None = None, **settings: Any
) -> Posterior:
    """Sample the posterior over a network's parameters by Hamiltonian Monte Carlo on the full batch.

    The likelihood is the softmax's, the prior normal with standard deviation ``prior_scale``. The same arguments
    give the same samples on the same machine, whatever the number of ``jobs``.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The test images of
    ``data`` serve the diagnostics only.

    Args:
        checkpoint: a folder for the run's state. A run that was killed goes on from it, and ends with the very samples
            of an unbroken one; a finished run is read from it, and goes on where more draws are asked for.

    Returns:
        A posterior of ``n_samples`` samples in the order of the chains. ``record["diagnostics"]`` has what
        :func:`relevance.inference.diagnostics.summary` gives and, of more than one chain, the ``told`` of a certificate
        (:class:`relevance.inference.certificate.Certificate`) on the first test images; ``record["history"]`` has a row for
        each transition.

    Raises:
        ValueError: as there; or the energy at the start is not finite, or the checkpoint is damaged or of another run or no
            folder, or of more than one chain the test images are not what a certificate looks at.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    folder = None if checkpoint is None else checks.path("checkpoint", checkpoint)
    shell = training.initialised(network, data, chosen.seed).eval()
    if chosen.chains > 1:  # what the certificate will ask for, before there are draws to lose
        images = checks.image_batch("data.test_images", data.test_images, data.image_shape)
        checks.some_images("data.test_images", images)
        checks.class_indices("data.test_labels", data.test_labels, len(images), len(data.classes))
        certificate.looked_at(Posterior.of(shell), data, min(certificate.N_IMAGES, len(images)))
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"checkpoint is {checks.shown(str(folder))}, where no folder can be ({type(error).__name__}); it must be a path "
                "of one, or of where it is to be made."
            ) from None
    if chosen.start != "prior" and any(True for _ in shell.buffers()):
        # Batch norm's statistics are constants of the network that is sampled: those of the first solution.
        solution = sgd(network, data, seed=chosen.seed, progress=False)
        fill(shell, dict(solution.network.named_buffers()))
    coordinates = Coordinates(shell, data, turned=chosen.mass == "curvature", exact=chosen.exact)
    energy = NetworkEnergy(shell, data, chosen.prior_scale, coordinates=coordinates)
    masses = Curvature(energy, coordinates, chosen.seed) if chosen.mass == "curvature" else None
    scales = Rescaling(energy, coordinates)
    along = scales if chosen.rescale and scales.layers else None
    run = {
        # A longer chain begins as a shorter one does.
        **{name: value for name, value in asdict(replace(chosen, jobs=None)).items() if name != "n_samples"},
        "data": data.source,
        "images": of_tensors(data.train_images, data.train_labels),
        "network": repr(network),
        "device": str(data.train_images.device),
    }
    lengths = [len(part) for part in torch.arange(chosen.n_samples).tensor_split(chosen.chains)]
    jobs = processes.n_jobs("jobs", chosen.jobs, data.train_images.device)
    calls = [
        (network, energy, masses, along, chosen, index, length, folder, run) for index, length in enumerate(lengths)
    ]
    chains: dict[int, Chain] = {}
    with bar(chosen.n_samples + chosen.chains * chosen.warmup, "HMC", "draw", show=progress) as shown:
        if len(calls) == 1:
            chains[0] = _chain(*calls[0], report=shown.update)
        else:
            for index, chain in processes.side_by_side(_chain, calls, jobs):
                chains[index] = chain
                shown.update(chosen.warmup + lengths[index])
    ordered = [chains[index] for index in range(len(calls))]
    samples = energy.unflatten(torch.cat([chain.positions for chain in ordered]))
    posterior = Posterior(shell, energy.complete(samples, _generator(data, chosen.seed, "unmet")))
    posterior.record.update(
        training.record(
            "hmc",
            data,
            asdict(chosen),
            started,
            diagnostics=diagnostics.summary(ordered),
            history=[chain.warmup + chain.draws for chain in ordered],
        )
    )
    if len(ordered) > 1:
        n_images = min(certificate.N_IMAGES, len(data.test_images))
        posterior.record["diagnostics"] |= certificate.certify(posterior, data, n_images=n_images).told
    return posterior


def _chain(
    network: nn.Module,
    energy: NetworkEnergy,
    masses: Curvature | None,
    along: Rescaling | None,
    settings: Settings,
    index: int,
    length: int,
    folder: Path | None,
    run: dict[str, Any],
    report: Any = lambda count: None,
) -> Chain:
    """Run one chain, in whatever process."""
    generator = _generator(energy.data, settings.seed, str(index))
    start = partial(_start, network, energy, settings, index, generator)
    kept = None if folder is None else Checkpoint(folder, index, run)
    tempered = energy.tempered if settings.grow and settings.start_of(index) == "prior" else None
    return run_chain(energy, start, settings, length, generator, report, kept, masses, tempered, along)


def _generator(data: Dataset, seed: int, use: str) -> torch.Generator:
    """Return the random numbers of one use, apart from those of every other use and seed."""
    mixed = int.from_bytes(hashlib.sha256(f"{seed} {use}".encode()).digest()[:7], "big")
    return torch.Generator(data.train_images.device).manual_seed(mixed)


def _start(
    network: nn.Module, energy: NetworkEnergy, settings: Settings, index: int, generator: torch.Generator
) -> Tensor:
    if settings.start_of(index) == "sgd":
        solution = sgd(network, energy.data, seed=settings.seed + index, progress=False)
        return energy.flatten({name: value[0] for name, value in solution.samples.items()})
    size = sum(energy.sizes)
    kind: dict[str, Any] = {
        "generator": generator,
        "dtype": next(network.parameters()).dtype,
        "device": generator.device,
    }
    if settings.start_of(index) == "uniform":
        drawn = {name: torch.rand(value.shape, **kind) for name, value in network.named_parameters()}
        return energy.flatten({name: WIDE * (2 * value - 1) for name, value in drawn.items()})
    return settings.prior_scale * torch.randn(size, **kind)
