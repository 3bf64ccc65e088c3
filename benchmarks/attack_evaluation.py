"""Evaluate attacks on the posteriors that `benchmarks/posteriors.py` trained on all of MNIST, and record the table.

Each posterior's rows are kept under `_build/posteriors` as they are done; those of all go to
`data/recorded/attack-evaluation.csv`.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

import pandas as pd
import torch
from posteriors import KEPT, ROOT, RUNS

import relevance
from relevance import attacks
from relevance.base.environment import default_device, device_name
from relevance.datasets import reading
from relevance.inference.certificate import NOT_CONVERGED
from relevance.networks.posterior import Posterior
from relevance.studies.background import doubts

RECORD = ROOT / "data" / "recorded" / "attack-evaluation.csv"


def main() -> None:
    """Evaluate what is asked for, then write the table of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", choices=[*RUNS, []], help="which posteriors to attack")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--epsilon", type=float, default=0.2)
    parser.add_argument("--queries", type=int, default=200)
    given = parser.parse_args()
    data = reading.load("mnist")
    images, labels = data.balanced_test(given.images, seed=0)
    deterministic = Posterior.load(KEPT / "sgd.safetensors")
    for name in given.runs:
        posterior = Posterior.load(KEPT / f"{name}.safetensors")
        posterior = posterior.thinned(min(len(posterior), given.samples))
        started = time.perf_counter()
        surrogate = None if name == "sgd" else deterministic
        found = attacks.evaluate(
            posterior, images, labels, given.epsilon, n_steps=20, n_restarts=1, n_queries=given.queries,
            surrogate=surrogate,
        )  # fmt: skip
        walk = {"n_steps": 20, "progress": False}
        far = attacks.accuracy_by_epsilon(posterior, images, labels, [0.1, 0.5], **walk)
        steps = attacks.loss_by_steps(posterior, images, labels, given.epsilon, n_steps=40, progress=False)
        found["concerns"] = " ".join(doubts.concerns(found, far, steps))
        found.loc["PGD, margin, in a ball of 0.5", "accuracy"] = far["accuracy"].iloc[-1]
        found.insert(0, "posterior", name)
        found["samples"], found["images"], found["epsilon"] = len(posterior), len(images), given.epsilon
        found["total seconds"] = time.perf_counter() - started
        found["PGD steps"], found["queries"] = 20, given.queries
        word = posterior.record.get("diagnostics", {}).get("certificate")
        found["converged"] = "" if word is None else "no" if word == NOT_CONVERGED else "yes"
        found["versions"] = f"relevance {relevance.__version__}, torch {torch.__version__}"
        found["date"] = datetime.now(UTC).date().isoformat()
        found["hardware"] = device_name(default_device())
        found.to_csv(KEPT / f"{name}-attacks.csv", float_format="%.5g")
        print(found.drop(columns=["concerns", "date", "hardware"]).to_string(), found["concerns"].iloc[0], sep="\n")
    done = [KEPT / f"{name}-attacks.csv" for name in RUNS if (KEPT / f"{name}-attacks.csv").exists()]
    if done:
        pd.concat([pd.read_csv(path) for path in done]).to_csv(RECORD, index=False)


if __name__ == "__main__":
    main()
