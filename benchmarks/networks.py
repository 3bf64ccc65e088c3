"""LRP on every classifier of torchvision: whether there is a map, what it costs, and what conservation loses on its way.

Run by hand: ``python benchmarks/networks.py``, or with some names. Weights are random, images small where the architecture
takes small ones, one image and one thread; a time is that of one map after the first, which also traces the network. The unit
is one input gradient, by plain autograd.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import peers
import torch
from stamps import stamped
from torch import Tensor, nn
from torch.func import functional_call

from relevance import explanations
from relevance.explanations.graph import graph_of
from relevance.explanations.rules import Composite, Epsilon
from relevance.networks import pretrained
from relevance.networks.posterior import Posterior

# By the usual choices; with attention weights as constants, too; and with half of each product for its gate.
EPSILON = Epsilon(1e-6)
READINGS = {
    "usual": EPSILON,
    "constant": Composite(EPSILON, attention="constant"),
    "half": Composite(EPSILON, products="half"),
}
N_CLASSES = 10
RECORD = Path(__file__).parents[1] / "data" / "recorded" / "networks.csv"
# Measured -> what the record calls it.
COLUMNS = {
    "network": "network", "parameters [M]": "millions", "pixels": "pixels", "steps": "steps", "finite": "finite",
    "graph - network": "graph - network", "gradient [s]": "gradient", "usual, time": "time", "usual, arrives": "arrives",
    "usual, most": "kept by",
}  # fmt: skip


def image_shape(name: str) -> tuple[int, int, int]:
    """Return a small shape of images that a classifier takes."""
    if name.startswith("maxvit_"):  # whose windows of 7 pixels fit no smaller image
        return 3, 224, 224
    if name.startswith("vit_"):  # patches of 14, 16 or 32 pixels
        return (3, 56, 56) if name.endswith("_14") else (3, 64, 64)
    return (3, 96, 96) if name == "inception_v3" else (3, 64, 64)


class Case(NamedTuple):
    """A classifier with random weights, one image, and the class that is explained: that of the largest logit in size."""

    posterior: Posterior
    image: Tensor
    target: Tensor
    logit: Tensor


def settle(posterior: Posterior) -> None:
    """Give batch norms the statistics of a few images of noise, and a small factor.

    With random weights, values grow from block to block without the one, and roundings without the other: two images that differ
    in the last bits have other logits after a few dozen blocks. A small factor makes a block with a shortcut do little.
    """
    names = {module: name for name, module in posterior.network.named_modules()}
    norms = [module for module in names if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
        posterior.samples[f"{names[norm]}.weight"].fill_(0.3)
    assert posterior.image_shape is not None
    with torch.no_grad():
        posterior.network(torch.rand((4, *posterior.image_shape), generator=torch.Generator().manual_seed(1)))
    for norm in norms:
        norm.eval()


def case(name: str) -> Case:
    """Return a classifier of torchvision's with random weights and what is explained of it."""
    shape = image_shape(name)
    posterior = pretrained.load(name, None, image_shape=shape, n_classes=N_CLASSES, device="cpu")
    settle(posterior)
    image = torch.rand((1, *shape), generator=torch.Generator().manual_seed(0))
    logits = posterior.logits(image)[0]
    target = logits.abs().argmax(1)
    return Case(posterior, image, target, logits.gather(1, target[:, None])[:, 0])


def gap(given: Case) -> float:
    """Return how far the graph is off the network, as a share of the largest logit, in double precision.

    In single precision, some of these networks are off themselves: EfficientNet V2 M by a quarter of its largest logit.
    """
    graph = graph_of(given.posterior, given.image)
    held = dict(given.posterior.network.named_buffers()) | {
        name: value[0] for name, value in given.posterior.samples.items()
    }
    twice = {name: value.double() if value.is_floating_point() else value for name, value in held.items()}
    with torch.no_grad():
        found = graph.forward(given.image.double(), twice)[graph.output].value
        wanted = functional_call(given.posterior.network, twice, (given.image.double(),))
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def lost(given: Case, rule: Any) -> tuple[float, float, str]:
    """Return the share of the logit that arrives at the pixels, what all layers kept, and which of them kept most."""
    arrived = explanations.lrp(given.posterior, given.image, given.target, rule=rule).sum() / given.logit
    kept = {
        name: (part / given.logit).item()
        for name, part in explanations.kept_by_layer(given.posterior, given.image, given.target, rule=rule).items()
    }
    most = max(kept, key=lambda name: abs(kept[name]))
    return arrived.item(), sum(kept.values()), f"{most.removeprefix('model.')} {kept[most]:.0%}"


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a function."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def gradient(given: Case) -> Tensor:
    """Return the unit: the slope of the logit by plain autograd."""
    leaf = given.image.clone().requires_grad_()
    sample = {name: value[0] for name, value in given.posterior.samples.items()}
    logits = functional_call(given.posterior.network, sample, (leaf,))
    return torch.autograd.grad(logits.gather(1, given.target[:, None]).sum(), leaf)[0]


def beside(given: Case, unit: float) -> dict[str, Any]:
    """Return what zennit and captum give for the same: a time and the share that arrives, or the error.

    They are given the model and the normalised image: they know nothing of the layer that normalises.
    """
    row: dict[str, Any] = {}
    whole = peers.network_of(given.posterior)
    network, image = whole.model, whole.normalise(given.image)
    runs: dict[str, Callable[[], Callable[[], Tensor]]] = {
        "zennit": lambda: peers.zennit_map(
            network, peers.zennit_rules(EPSILON.epsilon)["epsilon"](), image, given.target
        ),
        "captum": lambda: peers.captum_map(
            copy.deepcopy(network), peers.captum_rules(EPSILON.epsilon)["epsilon"], image, given.target
        ),
    }
    for library, made in runs.items():
        try:
            run = made()
            found = run().detach()
            row[f"{library}, time"] = seconds(run, 1) / unit
            row[f"{library}, arrives"] = (found.sum() / given.logit).item()
        except Exception as error:  # they raise many kinds
            row[f"{library}, arrives"] = type(error).__name__
    return row


def row(name: str, repeats: int, *, with_peers: bool) -> dict[str, Any]:
    """Return what is measured of one classifier."""
    given = case(name)
    start = time.perf_counter()
    found = explanations.lrp(given.posterior, given.image, given.target, rule=EPSILON)
    first = time.perf_counter() - start
    gradient(given)
    unit = seconds(lambda: gradient(given), repeats)
    measured: dict[str, Any] = {
        "network": name,
        "parameters [M]": sum(value.numel() for value in given.posterior.samples.values()) / 1e6,
        "pixels": given.image.shape[-1],
        "steps": len(graph_of(given.posterior, given.image).steps),
        "finite": bool(found.isfinite().all()) and bool(found.any()),
        "graph - network": gap(given),
        "gradient [s]": unit,
        "first map [s]": first,
    }
    for reading, rule in READINGS.items():
        explanations.lrp(given.posterior, given.image, given.target, rule=rule)
        took = seconds(
            lambda rule=rule: explanations.lrp(given.posterior, given.image, given.target, rule=rule), repeats
        )  # type: ignore[misc]
        arrives, kept, most = lost(given, rule)
        measured |= {
            f"{reading}, time": took / unit,
            f"{reading}, arrives": arrives,
            f"{reading}, kept": kept,
            f"{reading}, most": most,
        }
    return measured | (beside(given, unit) if with_peers else {})


def recorded(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows as data/recorded has them: the usual choices alone, and what zennit and captum give in words."""
    table = rows.rename(columns=COLUMNS)[list(COLUMNS.values())]
    for library in ("zennit", "captum"):
        told = rows.get(f"{library}, arrives", pd.Series("not tried", index=rows.index))
        table[library] = [_in_words(one) for one in told]
    return stamped(table, torch.device("cpu"))


def _in_words(value: Any) -> str:
    """Return a share as text, or the kind of the error that stands in its place."""
    try:
        share = float(value)
    except ValueError:
        return str(value)
    return f"{share:.4g}" if math.isfinite(share) else "not finite"


def main() -> None:
    """Print the table, a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of classifiers; all if none")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", action="store_true", help="also zennit and captum")
    parser.add_argument("--record", action="store_true", help="write data/recorded/networks.csv")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.names or pretrained.classifiers():
        rows.append(row(name, given.repeats, with_peers=given.peers))
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1, float_format="%.3g"), flush=True)
        if given.record:
            recorded(pd.DataFrame(rows)).to_csv(RECORD, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
