"""What maps cost on networks of the size that people use: 8 images of 224 pixels, in input gradients of bare autograd.

Medians of one run in which all take turns, on one thread, beside zennit and captum where they run; and the peak of memory of
each in a process of its own, in that of bare autograd. LXT changes torch's own classes, so it is timed last. Writes
data/recorded/large-networks.csv. Weights are random: what is computed does not depend on them.

    THP_MEM_ALLOC_ENABLE=1 python benchmarks/large.py --record
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import peers
import torch
from relevance_maps import gradients, seconds
from stamps import apart, peak_of, stamped
from torch import Tensor

from networks import settle
from relevance import explanations
from relevance.explanations.rules import Epsilon
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior
from relevance.studies import records

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_lite0", "vit_b_32")
N_IMAGES, PIXELS, N_CLASSES, N_STEPS = 8, 224, 1000, 4
EPSILON = Epsilon(1e-6)
UNIT = "bare autograd"


def case(name: str) -> tuple[Posterior, Tensor, Tensor]:
    """Return a network with random weights, images, and the classes that are explained."""
    draw = torch.Generator().manual_seed(0)
    posterior = pretrained.load(name, None, image_shape=(3, PIXELS, PIXELS), n_classes=N_CLASSES, device="cpu")
    settle(posterior)
    images = torch.rand((N_IMAGES, 3, PIXELS, PIXELS), generator=draw)
    return posterior, images, torch.randint(0, N_CLASSES, (N_IMAGES,), generator=draw)


def maps(name: str, only: str = "") -> dict[str, Callable[[], Any]]:
    """Return what is measured on a network, or only that: what it is called -> a function that makes it once."""
    posterior, images, target = case(name)
    whole = peers.network_of(posterior)
    made: dict[str, Callable[[], Any]] = {
        UNIT: lambda: gradients(posterior, images, target),
        "gradient": lambda: explanations.gradient(posterior, images, target),
        f"integrated gradients, {N_STEPS} steps": lambda: explanations.integrated_gradients(
            posterior, images, target, n_steps=N_STEPS
        ),
        "epsilon LRP": lambda: explanations.lrp(posterior, images, target, rule=EPSILON),
    }
    # The others are given the model alone, and the normalised image.
    model, normalised = whole.model, whole.normalise(images)
    others = {
        "zennit": lambda: peers.zennit_map(
            copy.deepcopy(model), peers.zennit_rules(EPSILON.epsilon)["epsilon"](), normalised, target
        ),
        "captum": lambda: peers.captum_map(
            copy.deepcopy(model), peers.captum_rules(EPSILON.epsilon)["epsilon"], normalised, target
        ),
    }
    for library, prepared in others.items():
        if only and not only.endswith(library):
            continue
        try:
            run = prepared()
            run()
            made[f"epsilon LRP, {library}"] = run
        except Exception as error:  # they raise many kinds
            print(f"{name}: {library} does not run: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
    return made


def lxt(name: str) -> dict[str, Callable[[], Any]]:
    """Return LXT's map by its rules for attention, or nothing where it is not installed; torch's classes are changed."""
    posterior, images, target = case(name)
    whole = peers.network_of(posterior)
    run = peers.lxt_map(whole.model, whole.normalise(images), target)
    return {"LRP, LXT": run} if run else {}


def peak(name: str, what: str) -> float:
    """Return the MiB that a map takes at its peak, beyond what was there before; not the first, which traces the network."""
    run = (lxt(name) if what.endswith("LXT") else maps(name, what))[what]
    run()
    return peak_of(run)


def peak_apart(name: str, what: str) -> float:
    """Return the same, of a process of its own that gives back what it no longer needs."""
    given = {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536", "THP_MEM_ALLOC_ENABLE": "0"}
    return float(apart(__file__, ["--peak", json.dumps([name, what])], given))


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of networks; all if none")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--record", action="store_true", help="write data/recorded/large-networks.csv")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.peak:
        print(peak(*json.loads(given.peak)))
        return
    rows = []
    for name in given.names or NETWORKS:
        made = maps(name)
        took = seconds(made, given.repeats)
        if name.startswith("vit_"):  # the one kind of these that it knows
            last = lxt(name)
            made |= last
            took |= seconds(last, given.repeats)
        peaks = {what: peak_apart(name, what) for what in made}
        for what in made:
            rows.append(
                {
                    "network": name,
                    "map": what,
                    "seconds": took[what],
                    "time": took[what] / took[UNIT],
                    "memory, MiB": peaks[what],
                    "memory": peaks[what] / peaks[UNIT],
                }
            )
        print(pd.DataFrame(rows[-len(made) :]).to_string(index=False, float_format="%.3g"), flush=True)
    if given.record:
        table = stamped(pd.DataFrame(rows), torch.device("cpu"))
        table.to_csv(records.folder() / "large-networks.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
