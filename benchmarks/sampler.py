"""What a draw costs: effective draws of margins for a thousand gradients, beside Pyro's NUTS and HMC, in one run.

Every sampler starts at solutions found by SGD, on the same network, data and prior. Gradients of the warm-up are counted apart.
Run by `make bench`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import HMC, MCMC, NUTS
from stamps import stamped
from torch import Tensor, nn

from relevance import inference
from relevance.base.environment import default_device, device_name
from relevance.datasets import reading
from relevance.datasets.dataset import Dataset
from relevance.inference import certificate, training
from relevance.inference.energy import NetworkEnergy
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

RECORD = Path(__file__).parents[1] / "data" / "recorded" / "sampler-cost.csv"
N_IMAGES = 100
# What the sampler did before it found its settings by itself.
BEFORE: dict[str, Any] = {"n_steps": 10, "mass": "unit", "exact": False, "rescale": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours, fixed length": {"jitter": 0.0},
    "ours, all weights in the chain": {"exact": False},
    "ours, scales of hidden units by leapfrog": {"rescale": False},
    "ours, a quarter of the length": {"trajectory": np.pi / 8},
    "ours, unit mass": {"mass": "unit"},
    "before": BEFORE,
}


# Field of a row -> column of the recorded table.
COLUMNS = {
    "warmup_gradients": "warm-up gradients", "effective": "effective draws", "per_thousand": "per 1,000 gradients",
    "rhat": "R-hat",
}  # fmt: skip


class Row(NamedTuple):
    """What one sampler gave.

    Attributes:
        case: network and data.
        sampler: its name.
        gradients: of the full batch, after the warm-up, of all chains.
        warmup_gradients: in it.
        effective: the median effective number of draws over the margins of test images.
        per_thousand: effective draws for a thousand gradients after the warm-up.
        rhat: the 95 % quantile over the margins.
        seconds: in all.
    """

    case: str
    sampler: str
    gradients: int
    warmup_gradients: int
    effective: float
    per_thousand: float
    rhat: float
    seconds: float


def assessed(
    case: str,
    sampler: str,
    posterior: Posterior,
    data: Dataset,
    chains: int,
    gradients: tuple[int, int],
    seconds: float,
) -> Row:
    """Return the row of a posterior whose chains have the same length and follow each other."""
    import arviz

    margins = certificate.built_in(posterior, data.test_images[:N_IMAGES], data.test_labels[:N_IMAGES])["margin"]
    values = margins.double().cpu().numpy().reshape(chains, -1, N_IMAGES)
    dataset = arviz.convert_to_dataset({"margin": values})
    effective = float(np.median(arviz.ess(dataset)["margin"].values))
    rhat = float(np.quantile(arviz.rhat(dataset)["margin"].values, 0.95))
    after, before = gradients
    return Row(case, sampler, after, before, effective, 1000 * effective / after, rhat, seconds)


def ours(case: str, name: str, network: nn.Module, data: Dataset, given: dict[str, Any]) -> Row:
    """Run the library's sampler."""
    posterior = inference.hmc(network, data, progress=False, **given)
    history = posterior.record["history"]
    steps = [[row["n_gradients"] for row in rows] for rows in history]
    warmup = given["warmup"]
    counted = sum(sum(row[warmup:]) for row in steps), sum(sum(row[:warmup]) for row in steps)
    return assessed(case, name, posterior, data, len(history), counted, posterior.record["seconds"])


def theirs(case: str, name: str, network: nn.Module, data: Dataset, given: dict[str, Any]) -> Row:
    """Run Pyro's sampler on the same energy, from the same starts."""
    shell = training.initialised(network, data, 0).eval()
    energy = NetworkEnergy(shell, data, given["prior_scale"])
    size = sum(energy.sizes)
    calls = [0]

    def model() -> None:
        weights = pyro.sample("w", dist.Normal(torch.zeros(size), given["prior_scale"]).to_event(1))
        logits = torch.func.functional_call(shell, energy.unflatten(weights), (data.train_images,))
        calls[0] += 1
        pyro.sample("y", dist.Categorical(logits=logits).to_event(1), obs=data.train_labels)

    kernels: dict[str, Callable[[], HMC]] = {
        "Pyro's NUTS": lambda: NUTS(model, step_size=0.01),
        "Pyro's HMC": lambda: HMC(model, step_size=0.01, trajectory_length=np.pi / 2 * given["prior_scale"]),
    }
    started = time.perf_counter()
    positions: list[Tensor] = []
    gradients, before = 0, 0
    chains = given["n_chains"]
    for chain in range(chains):
        solution = inference.sgd(network, data, seed=chain, progress=False)
        start = energy.flatten({part: value[0] for part, value in solution.samples.items()})
        pyro.set_rng_seed(chain)
        marks: list[int] = []

        def note(kernel: object, samples: object, stage: str, index: int, marks: list[int] = marks) -> None:
            if stage == "Warmup" or not marks:
                marks[:] = [calls[0]]

        calls[0] = 0
        run = MCMC(
            kernels[name](), num_samples=given["n_samples"] // chains, warmup_steps=given["warmup"],
            initial_params={"w": start}, disable_progbar=True, hook_fn=note,
        )  # fmt: skip
        run.run()
        positions.append(run.get_samples()["w"])
        before += marks[0]
        gradients += calls[0] - marks[0]
    posterior = Posterior(shell, energy.unflatten(torch.cat(positions)))
    return assessed(case, name, posterior, data, chains, (gradients, before), time.perf_counter() - started)


def main() -> None:
    """Print the table of every case, and record it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument(
        "--cases", nargs="*", default=["1000x32", "2000x64"], help="images x width of the hidden layers"
    )
    parser.add_argument("--samplers", nargs="*", default=[*VARIANTS, "Pyro's NUTS", "Pyro's HMC"])
    parser.add_argument("--record", action="store_true", help="write data/recorded/sampler-cost.csv")
    given = parser.parse_args()
    print(f"{device_name(default_device())}, torch {torch.__version__}, pyro {pyro.__version__}", flush=True)
    whole = reading.load("mnist-5k")
    rows = []
    for one in given.cases:
        n_images, hidden = map(int, one.split("x"))
        data = whole.smaller(n_images, 0)
        network = architectures.fully_connected(data.image_shape, hidden)
        case = f"dense 784-{hidden}-{hidden}-10, {n_images:,} images"
        settings = {"n_samples": given.samples, "warmup": given.warmup, "n_chains": given.chains, "prior_scale": 0.2}
        for name in given.samplers:
            run = ours if name in VARIANTS else theirs
            rows.append(run(case, name, network, data, settings | VARIANTS.get(name, {})))
            print(rows[-1], flush=True)
            if given.record:  # after each: the next may take an hour
                recorded(rows).to_csv(RECORD, index=False, float_format="%.4g")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4g}".format))


def recorded(rows: list[Row]) -> pd.DataFrame:
    """Return rows as data/recorded has them."""
    return stamped(pd.DataFrame(rows).rename(columns=COLUMNS), pyro=pyro.__version__)


if __name__ == "__main__":
    main()
