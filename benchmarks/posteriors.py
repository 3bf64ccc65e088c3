"""Train the paper's posteriors on all of MNIST and record the evidence: `make posteriors RUN=hmc-0.1`.

One run at a time, each kept under `_build/posteriors`, so that what is killed or finished is found again; the table of
all finished runs is written to `data/recorded/mnist-posteriors.csv`. The network is the dense one of Carbone et al.,
Table II.
"""

from __future__ import annotations

import argparse
import resource
from pathlib import Path
from typing import Any

import pandas as pd

from relevance import inference
from relevance.datasets import reading
from relevance.inference import evidence
from relevance.inference.certificate import NOT_CONVERGED
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "_build" / "posteriors"
RECORD = ROOT / "data" / "recorded" / "mnist-posteriors.csv"
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("sgd", {"epochs": 15}),
    "adversarial": ("adversarial", {"epochs": 15, "epsilon": 0.2, "n_steps": 10}),
    "variational": ("variational", {"epochs": 15, "n_samples": 100}),
    "hmc-0.1": ("hmc", {"prior_scale": 0.1}),
    "hmc-0.3": ("hmc", {"prior_scale": 0.3}),
    "hmc-1": ("hmc", {"prior_scale": 1.0}),
}


def train(name: str, given: dict[str, Any]) -> None:
    """Train one posterior and keep it."""
    method, settings = RUNS[name]
    data = reading.load("mnist")
    network = architectures.fully_connected(data.image_shape, 512)
    settings = settings | given
    if method == "hmc":
        settings |= {"checkpoint": KEPT / f"{name}-chain"}
    posterior = getattr(inference, method)(network, data, **settings)
    posterior.record["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    posterior.save(KEPT / f"{name}.safetensors")


def main() -> None:
    """Train what is asked for, then write the table of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", choices=[*RUNS, []], help="which posteriors to train")
    parser.add_argument("--n-samples", type=int)
    parser.add_argument("--warmup", type=int)
    given = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in given.runs:
        hmc = RUNS[name][0] == "hmc"
        train(name, {key: value for key, value in (("n_samples", given.n_samples), ("warmup", given.warmup))
                     if value is not None and hmc})  # fmt: skip
    posteriors = {name: Posterior.load(KEPT / f"{name}.safetensors") for name in RUNS
                  if (KEPT / f"{name}.safetensors").exists()}  # fmt: skip
    data = reading.load("mnist")
    found = evidence.table(posteriors, data.test_images, data.test_labels)
    columns = {
        "n_train": lambda record: record["n_train"],
        "peak memory, MB": lambda record: record["peak_memory_mb"],
        "warmup": lambda record: record["settings"].get("warmup"),
        "leapfrog steps": lambda record: record["settings"]["n_steps"] if record["method"] == "hmc" else None,
        "prior scale": lambda record: record["settings"].get("prior_scale"),
        "step size": lambda record: (record.get("diagnostics", {}).get("step_sizes") or [None])[0],
        "converged": lambda record: (
            record["diagnostics"].get("certificate", NOT_CONVERGED) != NOT_CONVERGED
            if record["method"] == "hmc"
            else None
        ),
        "date": lambda record: record["date"],
        "hardware": lambda record: record["hardware"],
    }
    for title, column in columns.items():
        found[title] = pd.Series({name: column(one.record) for name, one in posteriors.items()})
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    found.to_csv(RECORD, float_format="%.5g")
    print(found.T.to_string())


if __name__ == "__main__":
    main()
