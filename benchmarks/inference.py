"""What inference costs: full-batch gradients beside a bare loop, HMC and variational inference beside Pyro's, in one run.

Run by `make bench`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import HMC, MCMC, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from relevance_maps import seconds
from stamps import stamped
from torch.func import functional_call
from torch.nn import functional

from relevance.base.environment import default_device, device_name
from relevance.datasets import reading
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.chain import Settings, run_chain
from relevance.inference.energy import NetworkEnergy
from relevance.inference.variational import Settings as VariationalSettings
from relevance.inference.variational import fit
from relevance.networks import architectures

RECORD = Path(__file__).parents[1] / "data" / "recorded" / "inference-speed.csv"


class Row(NamedTuple):
    """One comparison, in seconds."""

    what: str
    other: str
    ours: float
    theirs: float


def made_up(n_images: int) -> Dataset:
    """Return images of the size of MNIST's, with labels that can be learnt."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((n_images, 1, 28, 28), generator=generator)
    labels = (images.flatten(1) @ torch.randn(784, 10, generator=generator)).argmax(1)
    device = default_device()
    images, labels = images.to(device), labels.to(device)
    classes = tuple(map(str, range(10)))
    return Dataset("made up", images, labels, images[:100], labels[:100], classes, "made up")


def gradients(data: Dataset, hidden: int, repeats: int) -> Row:
    """Compare a full-batch gradient with a bare forward and backward loop."""
    network = training.initialised(architectures.fully_connected(data.image_shape, hidden), data, 0).eval()
    energy = NetworkEnergy(network, data, 0.1)
    position = torch.cat([value.detach().flatten() for value in network.parameters()])

    def bare() -> None:
        network.zero_grad()
        for images, labels in zip(data.train_images.split(10_000), data.train_labels.split(10_000), strict=True):
            functional.cross_entropy(network(images), labels, reduction="sum").backward()

    times = seconds({"ours": lambda: energy(position), "bare": bare}, repeats)
    what = f"gradient on {len(data.train_labels):,} images, dense 784-{hidden}-{hidden}-10"
    return Row(what, "a bare loop", times["ours"], times["bare"])


def leapfrog(n_draws: int) -> Row:
    """Compare a leapfrog step on a tiny network with Pyro's HMC."""
    data = reading.load("digits", device="cpu").smaller(100, 0)
    network = architectures.fully_connected(data.image_shape, 4)
    shell = training.initialised(network, data, 0).eval()
    energy = NetworkEnergy(shell, data, 0.3)
    size, n_steps = sum(energy.sizes), 10
    settings = Settings(warmup=0, n_steps=n_steps, step_size=0.001, adapt=False)
    run_chain(energy, lambda: torch.zeros(size), settings, 3, torch.Generator().manual_seed(0))
    start = time.perf_counter()
    run_chain(energy, lambda: torch.zeros(size), settings, n_draws, torch.Generator().manual_seed(0))
    ours = (time.perf_counter() - start) / n_draws / n_steps

    def model() -> None:
        weights = pyro.sample("w", dist.Normal(torch.zeros(size), 0.3).to_event(1))
        logits = functional_call(shell, energy.unflatten(weights), (data.train_images,))
        pyro.sample("y", dist.Categorical(logits=logits).to_event(1), obs=data.train_labels)

    def pyro_run(n: int) -> float:
        kernel = HMC(model, step_size=0.001, num_steps=n_steps, adapt_step_size=False)
        run = MCMC(kernel, num_samples=n, warmup_steps=0, disable_progbar=True)
        began = time.perf_counter()
        run.run()
        return time.perf_counter() - began

    few = pyro_run(2)  # with what it sets up
    theirs = (pyro_run(2 + n_draws) - few) / n_draws / n_steps
    return Row(f"leapfrog step, {size:,} weights", "Pyro's HMC", ours, theirs)


def epochs(data: Dataset, hidden: int, repeats: int) -> Row:
    """Compare an epoch of variational inference with Pyro's SVI with an independent normal guide."""
    network = training.initialised(architectures.fully_connected(data.image_shape, hidden), data, 0)
    settings = VariationalSettings(n_samples=1, epochs=1)
    n_train, batch = len(data.train_labels), settings.batch_size
    shapes = {name: value.shape for name, value in network.named_parameters()}

    def model(images: torch.Tensor, labels: torch.Tensor) -> None:
        weights = {name: pyro.sample(name, dist.Normal(torch.zeros(shape), 0.1).to_event(len(shape)))
                   for name, shape in shapes.items()}  # fmt: skip
        with pyro.plate("data", n_train, subsample=images):
            pyro.sample("y", dist.Categorical(logits=functional_call(network, weights, (images,))), obs=labels)

    pyro.clear_param_store()
    svi = SVI(model, AutoNormal(model, init_scale=0.01), pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO())

    def theirs() -> None:
        for images, labels in training.batches(data, batch, torch.Generator().manual_seed(0)):
            svi.step(images, labels)

    functions: dict[str, Callable[[], object]] = {
        "ours": lambda: fit(network, data, settings, training.cross_entropy, show=False),
        "theirs": theirs,
    }
    times = seconds(functions, repeats)
    what = f"epoch of VI on {n_train:,} images, dense 784-{hidden}-{hidden}-10"
    return Row(what, "Pyro's SVI", times["ours"], times["theirs"])


def main() -> None:
    """Print the three comparisons, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--record", action="store_true", help="write data/recorded/inference-speed.csv")
    given = parser.parse_args()
    print(f"{device_name(default_device())}, torch {torch.__version__}, pyro {pyro.__version__}")
    data = made_up(given.images)
    rows = [
        gradients(data, given.hidden, given.repeats),
        leapfrog(given.draws),
        epochs(made_up(given.images // 4), given.hidden, given.repeats),
    ]
    found = pd.DataFrame(rows).assign(ratio=lambda table: table["ours"] / table["theirs"])
    print(found.to_string(index=False, float_format="{:.4g}".format))
    if given.record:
        stamped(found, pyro=pyro.__version__).to_csv(RECORD, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
