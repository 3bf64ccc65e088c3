"""How time and memory of a study grow: with samples, images, width, and workers. Writes data/recorded/growth.csv.

One piece of a study, a posterior that is attacked by FGSM, explained before and after by the epsilon rule at every layer, and
scored, is made at growing sizes, each in a process of its own: seconds of processor, and memory beyond what was there before. A
whole study is made by one worker and by two; what more would take is counted from the seconds that its pieces took by
themselves, first the models and chains, then the attacks on them, each given to whoever is free, the longest first.

    python benchmarks/growth.py
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import pandas as pd
import torch
from stamps import apart, peak_of, stamped

from relevance.attacks.named import Attack
from relevance.explanations.rules import Epsilon
from relevance.networks.architectures import fully_connected
from relevance.networks.posterior import Posterior
from relevance.studies import experiment, parallel, records
from relevance.studies.carbone import pieces
from relevance.studies.carbone.study import Study
from relevance.studies.parallel import Call

BASE = {"samples": 50, "images": 100, "width": 128}
SIZES = {"samples": (10, 25, 50, 100, 200, 400), "images": (50, 100, 200, 500, 1000, 2000),
         "width": (32, 64, 128, 256, 512, 1024)}  # fmt: skip
WORKERS, MEASURED, TIMES = (1, 2, 4, 8, 16, 32, 64), (1, 2), 3
STUDY = Study(
    "digits",
    n_train=1000,
    n_images=300,
    hidden=128,
    epochs=20,
    n_draws=200,
    n_samples=(50, 100, 200),
    n_members=5,
    inference={"warmup": 20, "n_steps": 20, "n_chains": 4, "prior_scale": 0.2},
    n_runs=1,
)
ATTACKS = ("FGSM", "PGD", "noise", "PGD on the margin")
SHAPE = (1, 28, 28)


def piece(samples: int, images: int, width: int) -> tuple[float, float]:
    """Make a piece of a study, and return its seconds of processor and its MiB of memory."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    os.environ["RELEVANCE_PROGRESS"] = "0"
    network = fully_connected(SHAPE, hidden=width)
    weights = {
        name: value + 0.1 * torch.randn((samples, *value.shape), generator=draw) / max(1, value[0].numel()) ** 0.5
        for name, value in network.state_dict().items()
    }
    posterior = Posterior(network, weights)
    shown, labels = torch.rand((images, *SHAPE), generator=draw), torch.arange(images) % 10
    layers = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    given: dict[str, Any] = {"attack": Attack("FGSM", 0.1), "rules": {"epsilon": Epsilon(0.1)}, "layers": layers}
    started = time.process_time()
    peak = peak_of(lambda: experiment.rows(posterior, shown, labels, **given))
    return time.process_time() - started, peak


def makespan(seconds: Sequence[float], n_workers: int) -> float:
    """Return when the last worker is done, of pieces that go to whoever is free, the longest first (Graham 1969, Sec. 5)."""
    free = [0.0] * n_workers
    for spent in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + spent)
    return max(free)


class Timed(Executor):
    """Makes each call at once, and keeps the seconds of processor that its thread took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **settings: Any) -> Future[Any]:
        """Return what a call gave, as a future."""
        done: Future[Any] = Future()
        started = time.thread_time()
        done.set_result(function(*arguments, **settings))
        self.seconds.append(time.thread_time() - started)
        return done


def pieces_taken() -> list[list[float]]:
    """Make a study here, and return the seconds of each of its pieces: of its models and chains, and of the attacks on them."""
    timed: list[Timed] = [Timed(), Timed()]
    # A study without attacks has models only; the next one finds them.
    for executor, attacks in zip(timed, ((), ATTACKS), strict=True):
        pieces.make([STUDY], attacks, executor=executor)
    return [executor.seconds for executor in timed]


def study() -> float:
    """Make a study with the workers that ``RELEVANCE_CLUSTER`` names, and return its seconds, without those of their start."""
    workers = [Call(time.sleep, (1.0,), is_kept=False)] * (2 * max(MEASURED))
    for _ in parallel.made_elsewhere(workers):
        pass
    started = time.perf_counter()
    pieces.make([STUDY], ATTACKS)
    return time.perf_counter() - started


def here(words: Sequence[str], store: str, cluster: str = "") -> Any:
    """Return what this program gives in a process of its own, with a store and workers."""
    return apart(__file__, words, {"RELEVANCE_STORE": store, "RELEVANCE_CLUSTER": cluster})


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    parser.add_argument("--made", choices=("study", "pieces"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.piece or given.made:
        made = (
            piece(**json.loads(given.piece)) if given.piece else {"study": study, "pieces": pieces_taken}[given.made]()
        )
        print(json.dumps(made))
        return
    rows: list[dict[str, Any]] = []

    def add(what: str, value: float, seconds: float, memory: float | None = None) -> None:
        rows.append({"what": what, "value": value, "seconds": seconds, "peak memory, MB": memory})
        print(rows[-1], flush=True)

    for what, sizes in SIZES.items():
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                add(what, size, *here(["--piece", json.dumps({**BASE, what: size})], folder))
    for n_workers in MEASURED:
        taken = []
        for _ in range(TIMES):
            with tempfile.TemporaryDirectory() as folder:
                taken.append(here(["--made", "study"], folder, f"local:{n_workers}"))
        add("workers, measured", n_workers, statistics.median(taken))
    with tempfile.TemporaryDirectory() as folder:
        phases = here(["--made", "pieces"], folder)
    for n_workers in WORKERS:
        add("workers", n_workers, sum(makespan(seconds, n_workers) for seconds in phases))
    table = stamped(pd.DataFrame(rows))
    table.to_csv(records.folder() / "growth.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
