"""How time and memory of a study grow: with samples, images, width, and workers. Writes data/recorded/growth.csv.

One piece of a study, a posterior attacked by FGSM, explained before and after by the epsilon rule at every layer, and scored, is
made at growing sizes, each in a process of its own: seconds of processor, and memory beyond what the imports took. Workers are
counted from the seconds that the pieces of a recording took, given to whoever is free, the longest first; for one and two the
recording's pieces can be made, too (``--measured``).

    python benchmarks/growth.py --pieces _build/plans/digits-small/experiments.layers.txt
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from stamps import stamped

from relevance.attacks.named import Attack
from relevance.explanations.rules import Epsilon
from relevance.networks.architectures import fully_connected
from relevance.networks.posterior import Posterior
from relevance.studies import experiment, records

BASE = {"samples": 50, "images": 100, "width": 128}
SIZES = {"samples": (10, 25, 50, 100, 200, 400), "images": (50, 100, 200, 500, 1000, 2000),
         "width": (32, 64, 128, 256, 512, 1024)}  # fmt: skip
WORKERS = (1, 2, 4, 8, 16, 32, 64)
SHAPE = (1, 28, 28)


def piece(samples: int, images: int, width: int) -> tuple[float, float]:
    """Make a piece of a study, and return its seconds of processor and its MiB of memory."""
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    network = fully_connected(SHAPE, hidden=width)
    weights = {
        name: value + 0.1 * torch.randn((samples, *value.shape), generator=draw) / max(1, value[0].numel()) ** 0.5
        for name, value in network.state_dict().items()
    }
    posterior = Posterior(network, weights)
    shown, labels = torch.rand((images, *SHAPE), generator=draw), torch.arange(images) % 10
    layers = [name for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    before, started = _peak(), time.process_time()
    experiment.rows(
        posterior, shown, labels, attack=Attack("FGSM", 0.1), rules={"epsilon": Epsilon(0.1)}, layers=layers
    )
    return time.process_time() - started, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def makespan(seconds: Sequence[float], n_workers: int) -> float:
    """Return when the last worker is done, of pieces that go to whoever is free, the longest first (Graham 1969, Sec. 5)."""
    free = [0.0] * n_workers
    for spent in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + spent)
    return max(free)


def apart(**sizes: int) -> tuple[float, float]:
    """Return :func:`piece` in a process of its own, with a store of its own."""
    with tempfile.TemporaryDirectory() as store:
        done = subprocess.run(
            [sys.executable, __file__, "--piece", json.dumps(sizes)], env={**os.environ, "RELEVANCE_STORE": store},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    spent, memory = json.loads(done.stdout.splitlines()[-1])
    return spent, memory


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--piece", help=argparse.SUPPRESS)
    parser.add_argument("--pieces", type=Path, help="what a recording left in _build/plans")
    given = parser.parse_args()
    if given.piece:
        print(json.dumps(piece(**json.loads(given.piece))))
        return
    rows = []
    for quantity, sizes in SIZES.items():
        for size in sizes:
            spent, memory = apart(**{**BASE, quantity: size})
            rows.append({"quantity": quantity, "size": size, "seconds": spent, "memory": memory})
            print(rows[-1], flush=True)
    if given.pieces:
        seconds = [float(line.split()[1]) for line in given.pieces.read_text("utf-8").splitlines()[1:]]
        for n_workers in WORKERS:
            rows.append({"quantity": "workers", "size": n_workers, "seconds": makespan(seconds, n_workers)})
    table = stamped(pd.DataFrame(rows))
    table.to_csv(records.folder() / "growth.csv", index=False, float_format="%.5g")
    print(table.to_string())


if __name__ == "__main__":
    main()
