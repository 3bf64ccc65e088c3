"""The settings of Carbone et al., as data: their architectures, their training, and what each figure shows.

Numbers are those of the full paper (Sec. V-A, VII-C and VII-G; Tables I to IV; captions of Figures 1 to 16). What the paper
leaves open is said in the tables' last column, with what is done here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from torch import nn

from relevance.base import checks
from relevance.networks import architectures
from relevance.studies.names import RULES

SHAPES = {"mnist": (1, 28, 28), "fashion_mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
HIDDEN = {"mnist": 512, "fashion_mnist": 1024, "cifar10": 16}
LAYERS = {"convolutional": ("0", "3", "7"), "fully_connected": ("1", "3", "5"), "resnet20": ("15",)}
# Settings that differ from figure to figure are in FIGURES; these do not.
EPSILON = 0.2
N_IMAGES = 500
TOP_K = {"step_size": 0.5, "n_steps": 10, "top_percent": 20}  # and target region
TARGET_MAP = {"output_weight": 1.0, "n_steps": 10, "step_size": 0.01}
PLAIN = ("deterministic", "adversarial", "Bayesian")


@dataclass(frozen=True)
class Panel:
    """What one panel of a figure compares.

    Attributes:
        figure: number, with the panel's letter.
        dataset: name for :func:`relevance.datasets.reading.load`.
        architecture: of all networks in it.
        inference: how the Bayesian one is trained: ``"hmc"``, ``"variational"`` or ``""`` where there is none.
        attack: name of the attack.
        shows: what is drawn.
        rules: names of the rules, keys of :data:`RULES`.
        n_samples: of the posterior.
        top_percent: share of the pixels that count as relevant.
        note: where the paper is unclear.
    """

    figure: str
    dataset: str
    architecture: str
    inference: str
    attack: str
    shows: str = "robustness"
    rules: tuple[str, ...] = ("epsilon",)
    n_samples: tuple[int, ...] = (100,)
    top_percent: float = 20
    note: str = ""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the learnable layers that are explained."""
        layers = LAYERS[self.architecture]
        # Fig. 3: the last learnable layer.
        return layers[-1:] if self.figure.startswith("3") else layers

    def network(self) -> architectures.Classifier:
        """Return a fresh network of the paper's size."""
        build = {"convolutional": architectures.convolutional, "fully_connected": architectures.fully_connected}
        shape, hidden = SHAPES[self.dataset], HIDDEN[self.dataset]
        return build.get(self.architecture, architectures.resnet20)(shape, hidden)


def _figures() -> tuple[Panel, ...]:
    mnist, fashion, cifar = "mnist", "fashion_mnist", "cifar10"
    conv, dense, residual = "convolutional", "fully_connected", "resnet20"
    sizes: dict[str, Any] = {"n_samples": (10, 50, 100)}
    rules: dict[str, Any] = {"rules": tuple(RULES)}
    scatter: dict[str, Any] = {"shows": "LRP against softmax robustness", "n_samples": (50, 100)}
    by_rule: dict[str, Any] = {"shows": "robustness by rule", **rules}
    by_layer: dict[str, Any] = {"shows": "robustness by layer", **sizes}
    return (
        Panel("1", mnist, conv, "", "FGSM", "heatmaps by layer", n_samples=(1,), top_percent=30),
        Panel("2a", fashion, conv, "variational", "FGSM", **by_layer),
        Panel("2b", fashion, dense, "hmc", "PGD", **by_layer),
        Panel("3 top", mnist, dense, "hmc", "FGSM", **by_rule),
        Panel("3 middle", fashion, dense, "hmc", "FGSM", **by_rule),
        Panel("3 bottom", cifar, residual, "variational", "FGSM", **by_rule),
        Panel("4a", mnist, conv, "variational", "FGSM", **scatter),
        Panel("4b", mnist, dense, "hmc", "PGD", **scatter),
        Panel("5", fashion, conv, "", "FGSM", "top pixels", n_samples=(1,), note="the network is not named"),
        Panel("6", mnist, dense, "hmc", "FGSM", "heatmaps of a failed attack", top_percent=30),
        Panel("7a", fashion, dense, "hmc", "FGSM", **by_layer),
        Panel("7b", fashion, conv, "variational", "PGD", **by_layer),
        Panel("8a", mnist, conv, "variational", "FGSM", **by_layer),
        Panel("8b", mnist, conv, "variational", "PGD", **by_layer),
        Panel("9a", mnist, dense, "hmc", "FGSM", **by_layer),
        Panel("9b", mnist, dense, "hmc", "PGD", **by_layer),
        Panel("10a", mnist, conv, "variational", "FGSM", **by_rule),
        Panel("10b", mnist, dense, "hmc", "FGSM", **by_rule),
        Panel("11a", fashion, conv, "variational", "FGSM", **by_rule),
        Panel("11b", fashion, dense, "hmc", "FGSM", **by_rule),
        Panel("12a", fashion, conv, "variational", "PGD", **by_rule),
        Panel("12b", fashion, dense, "hmc", "PGD", **by_rule),
        Panel("13", cifar, residual, "variational", "PGD", **by_rule),
        Panel("14a", mnist, conv, "variational", "top-k", **by_rule),
        Panel("14b", fashion, dense, "variational", "target region", **by_rule,
              note="the caption says VI; dense networks have HMC elsewhere"),
        Panel("15", mnist, dense, "hmc", "target map", **by_rule, top_percent=60),
        Panel("16a", fashion, conv, "variational", "FGSM", **scatter),
        Panel("16b", fashion, dense, "hmc", "FGSM", **scatter),
    )  # fmt: skip


FIGURES = _figures()


def panel(figure: str) -> Panel:
    """Return the panel of a figure, such as ``"2a"``."""
    checks.one_of("figure", figure, [one.figure for one in FIGURES])
    return next(one for one in FIGURES if one.figure == figure)


@dataclass(frozen=True)
class Training:
    """How the paper trains the networks of one architecture on one data set, and how this book does.

    Attributes:
        table: of the paper.
        dataset, architecture, inference: as in :class:`Panel`.
        stated: the paper's settings, in its words' order.
        ours: arguments of the training function where they differ, with why.
    """

    table: str
    dataset: str
    architecture: str
    inference: str
    stated: Mapping[str, float | str]
    ours: Mapping[str, str] = field(default_factory=dict)


_HMC = {"warm-up draws": 100, "leapfrog step": 0.5, "leapfrog steps": 10}
_OURS = {"leapfrog step": "adapted in the warm-up: with 0.5 no proposal on a full batch is accepted"}
_VI = {"prior": "not stated; normal, its scale a setting"}
TRAINING = (
    Training("III", "mnist", "convolutional", "variational", {"epochs": 5, "learning rate": 0.01}, _VI),
    Training("III", "fashion_mnist", "convolutional", "variational", {"epochs": 15, "learning rate": 0.001}, _VI),
    Training("IV", "mnist", "fully_connected", "hmc", _HMC, _OURS),
    Training("IV", "fashion_mnist", "fully_connected", "hmc", _HMC, _OURS),
)


def epochs(dataset: str, architecture: str, inference: str) -> int | None:
    """Return for how many epochs the paper trains; None where it does not say."""
    same = (
        one for one in TRAINING if (one.dataset, one.architecture, one.inference) == (dataset, architecture, inference)
    )
    stated = next((one.stated.get("epochs") for one in same), None)
    return None if stated is None else int(stated)


def layer_table(network: nn.Module) -> pd.DataFrame:
    """Return the layers of a network by their index, as Tables I and II have them, and all that is between.

    Returns:
        A row for each layer: ``index``, ``layer`` with its settings, ``parameters`` (their number), ``learnable``.
    """
    rows = [
        {
            "index": name,
            "layer": type(module).__name__ if list(module.children()) else repr(module),
            "parameters": sum(value.numel() for value in module.parameters()),
            "learnable": isinstance(module, (nn.Conv2d, nn.Linear)),
        }
        for name, module in network.named_children()
    ]
    return pd.DataFrame(rows)


def training_table() -> pd.DataFrame:
    """Return Tables III and IV, with what is different here."""
    return pd.DataFrame(
        [
            {
                "table": one.table,
                "data": one.dataset,
                "architecture": one.architecture.replace("_", " "),
                "hidden": HIDDEN[one.dataset],
                "inference": one.inference,
                "the paper": ", ".join(f"{name} {value}" for name, value in one.stated.items()),
                "here": "; ".join(f"{name}: {value}" for name, value in one.ours.items()),
            }
            for one in TRAINING
        ]
    )


def figure_table() -> pd.DataFrame:
    """Return what every panel of Figures 1 to 16 compares."""
    return pd.DataFrame(
        [
            {
                "figure": one.figure,
                "data": one.dataset,
                "network": "dense" if one.architecture == "fully_connected" else one.architecture,
                "inference": one.inference or "none",
                "attack": one.attack,
                "shows": one.shows,
                "rules": "all" if len(one.rules) == len(RULES) else ", ".join(one.rules),
                "layers": ", ".join(one.layers),
                "samples": ", ".join(map(str, one.n_samples)),
                "top %": f"{one.top_percent:g}",
                "unclear": one.note,
            }
            for one in FIGURES
        ]
    )
