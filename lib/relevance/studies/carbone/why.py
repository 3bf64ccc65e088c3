"""Why the authors saw it: the paper's figures with the released code's rows switched on one at a time, and what each explains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from relevance.attacks.named import NOISE, PREDICTION, Attack
from relevance.attacks.prediction import zero_gradients
from relevance.base import balls, checks
from relevance.explanations.rules import Rule
from relevance.metrics.overlap import softmax_robustness
from relevance.metrics.statistics import Correlation, spearman
from relevance.networks.posterior import Posterior
from relevance.studies.carbone import released, source
from relevance.studies.carbone.released import Switches
from relevance.studies.experiment import Settings
from relevance.studies.names import RULES
from relevance.studies.store import kept

OFF = Switches()
# What tables call each switch.
CALLED = {
    "averaged_images": "attacked images averaged", "detached_relevance": "relevance detached",
    "clamped_image": "image clamped", "detached_target": "target detached", "own_class": "own classes",
    "signed_top": "top by sign", "squared_gamma": "gamma squared", "own_slope": "slope in LRP",
}  # fmt: skip
# Those that count under attacks on the prediction, with every rule but gamma.
ON_PREDICTIONS = ("averaged_images", "own_class", "signed_top", "own_slope")
# Those that change what is attacked, and how; and those that change what maps are.
ON_ATTACKS = ("averaged_images", "detached_relevance", "clamped_image", "detached_target")
ON_MAPS = ("detached_target", "own_class", "squared_gamma", "own_slope")
DESCRIBED, ALL, MATCHED = "as described", "all", "matched"
# The formula that the paper prints, the predictive that its text describes, and what does not saturate.
PRINTED, PREDICTIVE, MARGIN = "mean_loss", "cross_entropy", "margin"


@dataclass(frozen=True)
class Cell:
    """One way to attack, explain and score.

    Attributes:
        name: of the switches.
        switches: what is done as the released code does it.
        objective: of attacks on the prediction.
        kind: of attack, one of :data:`relevance.attacks.named.KINDS`.
        matched: shrink FGSM, image by image, until the mean change of a pixel is that of averaged images.
        rule: name in :data:`relevance.studies.names.RULES`; that of the settings if empty.
        seed: of what is random in the attack.
    """

    name: str = DESCRIBED
    switches: Switches = OFF
    objective: str = PRINTED
    kind: str = "FGSM"
    matched: bool = False
    rule: str = ""
    seed: int = 0

    def attack(self, epsilon: float) -> Attack:
        """Return the attack, with the paper's settings for those on explanations (Sec. VII-C)."""
        walk: dict[str, Any] = source.TOP_K if self.kind in ("top-k", "target region") else {}
        if self.kind == "target map":
            walk = {name: source.TARGET_MAP[name] for name in ("n_steps", "step_size")}
        return Attack(self.kind, epsilon, self.objective, seed=self.seed, **walk)


def switched(*names: str) -> Switches:
    """Return switches of which those that are named are on."""
    return Switches(**dict.fromkeys((checks.one_of("switch", name, CALLED) for name in names), True))


def grid(objectives: Sequence[str] = (PRINTED, MARGIN)) -> list[Cell]:
    """Return the cells for attacks on predictions: as described, each switch alone, all, and all but one.

    Under each objective; beside averaged images stand those of FGSM that is shrunk to the same mean change. The last cells are
    those that criteria ask for: PGD, which starts at random, the predictive's own loss, noise, and the gamma rule.
    """
    cells = []
    for objective in objectives:
        cells.append(Cell(objective=objective))
        cells += [Cell(CALLED[name], switched(name), objective) for name in ON_PREDICTIONS]
        cells.append(Cell(ALL, switched(*ON_PREDICTIONS), objective))
        cells += [
            Cell(f"all but {CALLED[name]}", switched(*(other for other in ON_PREDICTIONS if other != name)), objective)
            for name in ON_PREDICTIONS
        ]
        averaged, others = CALLED["averaged_images"], [name for name in ON_PREDICTIONS if name != "averaged_images"]
        cells.append(Cell(averaged, OFF, objective, matched=True))
        cells.append(Cell(ALL, switched(*others), objective, matched=True))
        cells.append(Cell(objective=objective, kind="PGD"))
    cells.append(Cell(objective=PREDICTIVE))
    cells += [Cell(kind=NOISE), Cell(CALLED["own_class"], switched("own_class"), kind=NOISE)]
    gamma = CALLED["squared_gamma"]
    return [*cells, Cell(rule="gamma"), Cell(gamma, switched("squared_gamma"), rule="gamma")]


def on_explanations() -> list[Cell]:
    """Return the cells for attacks on explanations: with rows 2 and 3, alone and both, and with row 4 towards two targets."""
    both = ("detached_relevance", "clamped_image")
    ways = {DESCRIBED: OFF, **{CALLED[name]: switched(name) for name in both}, ALL: switched(*both)}
    cells = [Cell(name, switches, kind=kind) for kind in ("top-k", "target region") for name, switches in ways.items()]
    target = {DESCRIBED: OFF, CALLED["detached_target"]: switched("detached_target")}
    return cells + [
        Cell(name, switches, kind="target map", seed=seed) for name, switches in target.items() for seed in (0, 1)
    ]


def measured(
    posterior: Posterior, images: Tensor, labels: Tensor, cells: Sequence[Cell], settings: Settings
) -> pd.DataFrame:
    """Attack, explain and score in every cell.

    Args:
        posterior: the model; its own gradients are followed.
        images: [N, C, H, W] in [0, 1].
        labels: [N].
        cells: what is done.
        settings: size of the attacks, rule and top percent.

    Returns:
        A row for each cell and image: ``cell``, ``attack``, ``size`` (``"full"`` or ``"matched"``), ``rule``, ``seed``,
        ``image``, ``label``, ``clean_class``, ``attacked_class``, ``lrp_robustness`` with its floor and ceiling,
        ``softmax_robustness``, ``gradient_is_zero`` of the attacked loss at the clean image, ``mean_change`` of a
        pixel, as a share of that under the paper's printed FGSM (of its size, whole, where that changes nothing).
    """
    probabilities = posterior.predict(images)
    target = probabilities.argmax(1)

    def rule_of(name: str) -> Rule:
        return RULES[name] if name else settings.rule

    @cache
    def moved(attack: Attack, rule: str, switches: Switches) -> Tensor:
        return released.attacked(posterior, images, labels, attack, rule_of(rule), switches)

    @cache
    def explained(some: Tensor, attack: Attack, rule: str, switches: Switches) -> Tensor:
        return released.maps(posterior, some, target, attack, rule_of(rule), switches)

    @cache
    def blind(objective: str) -> Tensor:
        return zero_gradients(posterior, images, labels, objective)

    full = mean_change(images, moved(Attack("FGSM", settings.epsilon, PRINTED), "", OFF))
    whole = full.where(full > 0, settings.epsilon)
    parts = []
    for cell in cells:
        attack, on_prediction = cell.attack(settings.epsilon), cell.kind in PREDICTION
        # An attack on the prediction, and noise, follow no map.
        followed = cell.rule if attack.needs_rule else ""
        found = moved(attack, followed, _only(cell.switches, *ON_ATTACKS))
        if cell.matched:
            averaged = moved(attack, followed, switched("averaged_images"))
            found = shrunk(images, found, mean_change(images, averaged))
        on_maps = _only(cell.switches, *ON_MAPS)
        before, after = (explained(some, attack, cell.rule, on_maps) for some in (images, found))
        columns = {
            "label": labels, "clean_class": target, "attacked_class": (now := posterior.predict(found)).argmax(1),
            **scores(before, after, settings.top_percent, cell.switches),
            "softmax_robustness": softmax_robustness(probabilities, now),
            "gradient_is_zero": blind(cell.objective) if on_prediction else (found == images).flatten(1).all(1),
            "mean_change": mean_change(images, found) / whole,
        }  # fmt: skip
        rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        rows.insert(0, "image", np.arange(len(rows)))
        for name, value in reversed(place_of(cell, attack).items()):
            rows.insert(0, name, [value] * len(rows))
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def place_of(cell: Cell, attack: Attack) -> dict[str, str | int]:
    """Return what the columns of a table say of a cell."""
    size = MATCHED if cell.matched else "full"
    return {
        "cell": cell.name,
        "attack": attack.name,
        "size": size,
        "rule": cell.rule or "epsilon",
        "seed": cell.seed,
    }


def _only(switches: Switches, *names: str) -> Switches:
    """Return switches that are off but for those of the names, so that what the others do not concern is done once."""
    return replace(OFF, **{name: getattr(switches, name) for name in names})


def scores(before: Tensor, after: Tensor, top_percent: float, switches: Switches) -> dict[str, Tensor]:
    """Return k-LRP robustness with the score of unrelated maps and the ceiling, all [N], scored as the switches say."""
    pairs = {"": after, "unrelated_": after.roll(1, dims=0), "ceiling_": before}
    return {
        f"{name}lrp_robustness": released.robustness(before, other, top_percent, switches)
        for name, other in pairs.items()
    }


def mean_change(images: Tensor, changed: Tensor) -> Tensor:
    """Return the mean absolute change of a pixel of each image, [N]."""
    return (changed - images).abs().flatten(1).mean(1)


def shrunk(images: Tensor, attacked: Tensor, change: Tensor) -> Tensor:
    """Return attacked images, each drawn back towards the clean one until its mean change is ``change`` [N].

    One that changed less is moved on, as far as [0, 1] allows; one that did not change stays.
    """
    full = mean_change(images, attacked)
    share = (change / full.where(full > 0, 1)).where(full > 0, 1)
    return (images + balls.of_images(share, images) * (attacked - images)).clamp(0, 1)


def table(
    posteriors: Mapping[str, Posterior], images: Tensor, labels: Tensor, cells: Sequence[Cell], settings: Settings
) -> pd.DataFrame:
    """Return :func:`measured` of each posterior, from the store where it is there, with its ``recipe`` in front."""
    parts = [
        kept(measured, one, images, labels, list(cells), settings).assign(recipe=name)
        for name, one in posteriors.items()
    ]
    rows = pd.concat(parts, ignore_index=True)
    return rows[["recipe", *rows.columns.drop("recipe")]]


CELL = ["recipe", "cell", "attack", "size", "rule", "seed"]
LRP, SOFTMAX = "lrp_robustness", "softmax_robustness"


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each recipe and cell of a :func:`table`.

    Returns:
        The columns that name it; ``images``, ``accuracy`` and ``accuracy under attack``; ``k-LRP``, its ``median``, ``floor``
        and ``ceiling``; ``rho`` of k-LRP and softmax robustness with ``rho, low`` and ``rho, high``; ``rho, class kept`` and
        ``rho, moved``, among the images whose predicted class stays and among those that the attack changes; ``softmax
        robustness`` and ``above half``, the share of images with more than 0.5; ``zero gradients``, ``mean change`` and ``class
        changed``.
    """
    found = []
    for names, part in rows.groupby(CELL, sort=False):
        stays = part["clean_class"] == part["attacked_class"]
        rho = correlation(part)
        found.append({
            **dict(zip(CELL, names, strict=True)), "images": len(part),
            "accuracy": (part["clean_class"] == part["label"]).mean(),
            "accuracy under attack": (part["attacked_class"] == part["label"]).mean(),
            "k-LRP": part[LRP].mean(), "median": part[LRP].median(),
            "floor": part["unrelated_lrp_robustness"].mean(), "ceiling": part["ceiling_lrp_robustness"].mean(),
            "rho": rho.rho, "rho, low": rho.low, "rho, high": rho.high,
            "rho, class kept": correlation(part[stays]).rho, "rho, moved": correlation(part[part["mean_change"] > 0]).rho,
            "softmax robustness": part[SOFTMAX].mean(), "above half": (part[SOFTMAX] > 0.5).mean(),
            "zero gradients": part["gradient_is_zero"].mean(), "mean change": part["mean_change"].mean(),
            "class changed": 1 - stays.mean(),
        })  # fmt: skip
    return pd.DataFrame(found)


FEWEST = 10


def correlation(rows: pd.DataFrame) -> Correlation:
    """Return Spearman's rho of k-LRP and softmax robustness over images; NaN of fewer than :data:`FEWEST`."""
    if len(rows) < FEWEST:
        return Correlation(np.nan, np.nan, np.nan, np.nan, len(rows), "too few images")
    return spearman(rows[SOFTMAX].to_numpy(), rows[LRP].to_numpy())
