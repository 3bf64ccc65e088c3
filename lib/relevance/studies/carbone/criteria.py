"""Which switch explains which figure: by criteria that are written down before anything is measured, each with its number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from relevance.attacks.named import NOISE, OBJECTIVES
from relevance.metrics.statistics import asterisks, mann_whitney
from relevance.studies.carbone import why
from relevance.studies.carbone.claims import MODEST, NEGLIGIBLE
from relevance.studies.carbone.recipes import MIXED, ONCE, PER_BATCH, POOLED, SGD, SHORT
from relevance.studies.carbone.why import ALL, CALLED, DESCRIBED, LRP, MARGIN, MATCHED, PREDICTIVE, PRINTED

# Whether a switch does what would explain figures; of those that nobody says more of than that they are there, whether they
# change anything; and of attacks, whether they are the ones that are named.
YES, NO, OPEN, CHANGES, ANOTHER = "yes", "no", "not measured", "changes scores", "another attack"
# Two scores that differ by no more are equivalent; a correlation from here on is one.
SAME, SOME = 0.02, 0.4
# The margin must take that share of a gain away.
TAKEN = 0.8
FGSM, PGD = ({objective: f"{kind}{title}" for objective, title in OBJECTIVES.items()} for kind in ("FGSM", "PGD"))


class Found(NamedTuple):
    """What a criterion gave.

    Attributes:
        number: what decided; NaN where it could not be measured.
        recipe: that it is of.
        explains: :data:`YES`, :data:`NO`, :data:`CHANGES`, :data:`ANOTHER` or :data:`OPEN`.
        effect: change of that recipe's k-LRP when this alone is on; NaN where it is no switch of the table.
    """

    number: float
    recipe: str
    explains: str
    effect: float = np.nan


NOTHING = Found(np.nan, "none", OPEN)


class Table:
    """What the criteria look at.

    Args:
        rows: of :func:`relevance.studies.carbone.why.table`, of attacks on predictions.
        of_recipes: of :func:`relevance.studies.carbone.recipes.of_each`.
        on_explanations: rows of attacks on explanations; none if not given.
        of_residual: of :func:`relevance.studies.carbone.residual.effects`; none if not given.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        of_recipes: pd.DataFrame,
        on_explanations: pd.DataFrame | None = None,
        of_residual: pd.DataFrame | None = None,
    ) -> None:
        self.rows, self.on_explanations = rows, on_explanations
        self.cells = why.summary(rows).set_index(["recipe", "cell", "attack", "size", "rule"])
        self.of_recipes = of_recipes.set_index("recipe")
        self.of_residual = None if of_residual is None else of_residual.set_index("change")["value"]

    def of(
        self, column: str, recipe: str, cell: str = DESCRIBED, objective: str = PRINTED, size: str = "full",
        rule: str = "epsilon", attack: str = "",
    ) -> float:  # fmt: skip
        """Return a number of a cell; NaN where there is no such cell."""
        key = (recipe, cell, attack or FGSM[objective], size, rule)
        return float(self.cells[column].get(key, np.nan))

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes."""
        return list(dict.fromkeys(self.rows["recipe"]))

    def largest(self, of: Callable[[str], float], among: Sequence[str] | None = None) -> tuple[float, str]:
        """Return the number of the largest size, with its sign, and the recipe that has it."""
        found = {name: of(name) for name in (self.recipes if among is None else among)}
        known = {name: value for name, value in found.items() if not np.isnan(value)}
        name = max(known, key=lambda one: abs(known[one]), default="")
        return known.get(name, np.nan), name


def _judged(number: float, recipe: str, *, holds: bool, effect: float = np.nan) -> Found:
    return NOTHING if np.isnan(number) else Found(number, recipe, YES if holds else NO, effect)


def _changed(number: float, recipe: str, effect: float = np.nan) -> Found:
    """Return what is found of a switch of which it is only asked whether it changes something by more than a tenth."""
    return NOTHING if np.isnan(number) else Found(number, recipe, CHANGES if abs(number) > MODEST else NO, effect)


def _start(named: Mapping[str, str]) -> Callable[[Table], Found]:
    """Return a criterion: the share of the gain over SGD that the margin takes away, where most gradients are zero.

    Args:
        named: objective -> the attack along it.
    """

    def taken(table: Table) -> Found:
        chains = [name for name in table.recipes if name in SHORT]
        if SGD not in table.recipes or not chains:
            return NOTHING
        blind, name = table.largest(lambda one: table.of("zero gradients", one), chains)
        gain, left = (
            table.of("k-LRP", name, attack=named[objective]) - table.of("k-LRP", SGD, attack=named[objective])
            for objective in (PRINTED, MARGIN)
        )
        seen = [one for one in table.recipes if one in (*SHORT, SGD)]
        zeros = np.array([table.of("zero gradients", one) for one in seen])
        steady = np.array([table.of("k-LRP", one, attack=named[PRINTED]) for one in seen])
        rises = len(seen) > 2 and bool(stats.kendalltau(zeros, steady).statistic > 0)
        share = 1 - left / gain if gain > MODEST else 0.0
        holds = blind > 0 and rises and share >= TAKEN
        return _judged(share if not np.isnan(gain) else np.nan, name, holds=holds, effect=gain)

    return taken


def _objective(table: Table) -> Found:
    """By how much k-LRP under the printed formula is above that under the predictive's own loss."""
    change, name = table.largest(
        lambda one: table.of("k-LRP", one) - table.of("k-LRP", one, objective=PREDICTIVE)
    )  # fmt: skip
    return _changed(change, name, change)


def _averaged(recipe: str) -> Callable[[Table], Found]:
    """Return a criterion: by how much k-LRP of averaged images is above that under FGSM of the same mean change."""

    def beyond(table: Table) -> Found:
        cell = CALLED["averaged_images"]
        averaged, matched = (table.of("k-LRP", recipe, cell, size=size) for size in ("full", MATCHED))
        gain = averaged - table.of("k-LRP", recipe)
        return _judged(averaged - matched, recipe, holds=gain > SAME and abs(averaged - matched) <= SAME, effect=gain)

    return beyond


def _own_class(table: Table) -> Found:
    """The smaller rho of SGD's, under FGSM and under noise, when every network explains its own class."""
    cell = CALLED["own_class"]
    rhos = [table.of("rho", SGD, cell), table.of("rho", SGD, cell, attack=NOISE)]
    before = [table.of("rho", SGD), table.of("rho", SGD, attack=NOISE)]
    kept = [table.of("rho, class kept", SGD, cell, attack=attack) for attack in ("", NOISE)]
    number = float(np.min(rhos))
    appears = number >= SOME and max(before) < SOME
    gone = bool(np.nanmax(np.abs([*kept, 0.0])) < NEGLIGIBLE)
    effect = table.of("k-LRP", SGD, cell) - table.of("k-LRP", SGD)
    return _judged(number, SGD, holds=appears and gone, effect=effect)


def _divergence(table: Table) -> Found:
    """By how much softmax robustness is higher where every batch is charged the whole divergence.

    The figures show the robustness of explanations, so that it must rise too.
    """
    if not {ONCE, PER_BATCH} <= set(table.recipes):
        return NOTHING
    rises = table.of("softmax robustness", PER_BATCH) - table.of("softmax robustness", ONCE)
    one = table.of_recipes["one draw"]
    effect = table.of("k-LRP", PER_BATCH) - table.of("k-LRP", ONCE)
    holds = rises > SAME and one[PER_BATCH] < one[ONCE] and effect > MODEST
    return _judged(rises, PER_BATCH, holds=holds, effect=effect)


def _effect(cell: str, rule: str = "epsilon") -> Callable[[Table], Found]:
    """Return a criterion: by how much k-LRP changes when one switch is on."""

    def change(table: Table) -> Found:
        number, name = table.largest(
            lambda one: table.of("k-LRP", one, cell, rule=rule) - table.of("k-LRP", one, rule=rule)
        )
        return _changed(number, name, number)

    return change


def _same_attacks(table: Table) -> Found:
    """The largest difference of an image's scores under the top-k attack and under that on a region."""
    return _apart(table, ALL, "attack", ("top-k", "target region"))


def _no_target(table: Table) -> Found:
    """The largest difference of an image's scores under the same attack towards two targets."""
    return _apart(table, CALLED["detached_target"], "seed", (0, 1), attack="target map")


def _apart(table: Table, cell: str, by: str, values: tuple[object, object], attack: str = "") -> Found:
    if table.on_explanations is None:
        return NOTHING
    rows = table.on_explanations
    rows = rows[rows["attack"] == attack] if attack else rows

    def largest(name: str) -> tuple[float, str]:
        one, other = (
            rows[(rows["cell"] == name) & (rows[by] == value)].set_index(["recipe", "image"])[LRP] for value in values
        )
        differences = (one - other).abs().groupby("recipe").max()
        return float(differences.max()), str(differences.idxmax())

    number, recipe = largest(cell)
    return Found(number, recipe, ANOTHER if number == 0 and largest(DESCRIBED)[0] > 0 else NO)


def _pooled(table: Table) -> Found:
    """The share of the variance of margins that is between the pooled chains, whose attacked images are averaged."""
    shares = table.of_recipes["between chains"]
    if POOLED not in shares:
        return NOTHING
    gain = table.of("k-LRP", POOLED, CALLED["averaged_images"]) - table.of("k-LRP", SGD)
    holds = shares[POOLED] > 0.5 and not shares.get(MIXED, 0) > 0.5 and gain > MODEST
    return _judged(shares[POOLED], POOLED, holds=holds, effect=gain)


def _residual(name: str, beside: str = "") -> Callable[[Table], Found]:
    """Return a criterion of residual networks: by how much a number is not what it should be."""

    def change(table: Table) -> Found:
        if table.of_residual is None:
            return NOTHING
        number = table.of_residual[name] - (table.of_residual[beside] if beside else 1)
        return _changed(number, "ResNet-20")

    return change


def _unpaired(table: Table) -> Found:
    """The share of recipes for which the asterisks of the unpaired test are not those of the paired one."""
    rows = table.rows[(table.rows["cell"] == DESCRIBED) & (table.rows["attack"] == FGSM[PRINTED])]
    rows = rows[(rows["size"] == "full") & (rows["rule"] == "epsilon")]
    scores = rows.pivot(index="image", columns="recipe", values=LRP)
    others = [name for name in scores if name != SGD]
    if SGD not in scores or not others:
        return NOTHING
    differ = [
        mann_whitney(scores[SGD].to_numpy(), scores[name].to_numpy()).asterisks
        != asterisks(paired_p_value(scores[SGD].to_numpy(), scores[name].to_numpy()))
        for name in others
    ]
    return _judged(float(np.mean(differ)), "all", holds=bool(np.mean(differ) > 0.5))


def paired_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Return the one-sided p-value of the signed-rank test that ``first`` is the lower one, image by image."""
    difference = second - first
    return float(stats.wilcoxon(difference, alternative="greater").pvalue) if difference.any() else 1.0


class Criterion(NamedTuple):
    """When a switch explains figures of the paper.

    Attributes:
        rows: of the table of what the released code does; ``"-"`` of what is not in it.
        switch: what it is called.
        figures: of the paper.
        number: what the number is.
        condition: under which it explains them.
        judge: looks.
    """

    rows: str
    switch: str
    figures: str
    number: str
    condition: str
    judge: Callable[[Table], Found]


# Figures of attacks on predictions; and those of scores, but for residual networks, which have scripts of their own.
ON_PREDICTION, OF_SCORES = "2 to 4, 6 to 13, 16", "2, 3 top, 3 middle, 4, 6 to 12, 14 to 16"
CRITERIA = (
    Criterion("-", "mean of gradients, not the predictive's", ON_PREDICTION, "change of k-LRP", f"beyond {MODEST:g}", _objective),
    Criterion("-", "start and objective", "3 top, 3 middle, 7a, 9a, 10b, 11b, 16b",
              "share of the gain that the margin takes away",
              f"at least {TAKEN:g} of more than {MODEST:g}, and k-LRP rises with zero gradients", _start(FGSM)),
    Criterion("-", "start and objective, PGD", "2b, 4b, 9b, 12b", "share of the gain that the margin takes away",
              f"at least {TAKEN:g} of more than {MODEST:g}, and k-LRP rises with zero gradients", _start(PGD)),
    Criterion("1", f"{CALLED['averaged_images']}, HMC", "2b, 3 top, 3 middle, 7a, 9, 10b, 11b, 12b",
              "k-LRP beyond that of FGSM of the same mean change", f"within {SAME:g}", _averaged(POOLED)),
    Criterion("1", f"{CALLED['averaged_images']}, VI", "2a, 7b, 8, 10a, 11a, 12a",
              "k-LRP beyond that of FGSM of the same mean change", f"within {SAME:g}", _averaged(PER_BATCH)),
    Criterion("2, 3", "relevance detached, image clamped", "14", "largest difference of two attacks' scores", "0", _same_attacks),
    Criterion("4", CALLED["detached_target"], "15", "largest difference of two targets' scores", "0", _no_target),
    Criterion("5", CALLED["own_class"], "4, 16", "rho of SGD, the smaller of FGSM's and noise's",
              f"at least {SOME:g} by it alone, and gone where the class stays", _own_class),
    Criterion("6", CALLED["signed_top"], OF_SCORES, "change of k-LRP", f"beyond {MODEST:g}", _effect(CALLED["signed_top"])),
    Criterion("7", CALLED["squared_gamma"], "3, 10 to 15", "change of k-LRP by the gamma rule", f"beyond {MODEST:g}",
              _effect(CALLED["squared_gamma"], "gamma")),
    Criterion("8", CALLED["own_slope"], OF_SCORES, "change of k-LRP", f"beyond {MODEST:g}", _effect(CALLED["own_slope"])),
    Criterion("9", "convolutions come back plain", "3 bottom, 13", "correlation of maps, less 1", f"beyond {MODEST:g}",
              _residual("convolutions come back plain: correlation of maps")),
    Criterion("10", f"pooled short chains, {CALLED['averaged_images']}", "2b, 3 top, 3 middle, 4b, 7a, 9, 10b, 11b, 12b, 15, 16b",
              "share of the variance that is between chains",
              f"above 0.5, and k-LRP above SGD's by more than {MODEST:g}", _pooled),
    Criterion("11", "KL whole for each batch", "2a, 4a, 7b, 8", "rise of softmax robustness",
              f"above {SAME:g}, one draw is less accurate, and k-LRP higher by more than {MODEST:g}", _divergence),
    Criterion("12", "rule at both ends alone", "3 bottom, 13", "correlation of maps, less 1", f"beyond {MODEST:g}",
              _residual("rule in the first and last layer alone: correlation of maps")),
    Criterion("12", "other draws after the attack", "3 bottom, 13", "change of k-LRP", f"beyond {MODEST:g}",
              _residual("k-LRP, other draws for attacked images", "k-LRP, the same draws")),
    Criterion("12", "clamped after normalising", "3 bottom, 13", "change of a pixel, less FGSM's", f"beyond {MODEST:g}",
              _residual("mean change of a pixel, clamped after normalising", "mean change of a pixel, FGSM")),
    Criterion("13", "unpaired test of pairs, as in the paper", "10 to 15",
              "share of comparisons with other asterisks", "above 0.5", _unpaired),
)  # fmt: skip


def explained(table: Table) -> pd.DataFrame:
    """Return which switch explains which figures: a row for each criterion, with the number that decided.

    Returns:
        ``rows``, ``switch``, ``figures``, ``explains``; ``what`` the ``number`` is, ``if`` it explains them, the ``recipe`` that
        it is of, and ``effect`` on its k-LRP.
    """
    rows = []
    for one in CRITERIA:
        found = one.judge(table)
        rows.append({
            "rows": one.rows, "switch": one.switch, "figures": one.figures, "explains": found.explains, "what": one.number,
            "number": found.number, "if": one.condition, "recipe": found.recipe, "effect": found.effect,
        })  # fmt: skip
    return pd.DataFrame(rows)


def explaining(table: pd.DataFrame, panel: str) -> list[str]:
    """Return the switches that explain a panel of the paper, by a table of :func:`explained`.

    Args:
        table: its rows.
        panel: such as ``"2a"`` or ``"3 top"``.
    """
    found = table[(table["explains"] == YES) & table["figures"].map(lambda figures: _covers(figures, panel))]
    return [str(name) for name in found["switch"]]


def _covers(figures: str, panel: str) -> bool:
    """Return whether a list such as ``"2b, 3, 7 to 9"`` has a panel in it, or its figure."""
    number = re.match(r"\d+", panel)
    assert number is not None
    for part in figures.split(", "):
        first, _, last = part.partition(" to ")
        if last and int(first) <= int(number[0]) <= int(last):
            return True
        if part in (panel, number[0]):
            return True
    return False
