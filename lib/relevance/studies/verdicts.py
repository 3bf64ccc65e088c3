"""Claims and verdicts: what a table of differences says of a sentence in a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from relevance.attacks.named import NOISE
from relevance.studies.differences import comparisons, no_more_than_noise
from relevance.studies.phrases import difference
from relevance.studies.tables import SETTING

HOLDS, FAILS, OPEN, MIXED = "holds", "does not hold", "undecided", "depends"


class Verdict(NamedTuple):
    """What a table says about a claim.

    Attributes:
        verdict: ``"holds"``, ``"does not hold"``, ``"undecided"`` (the intervals hold zero), or ``"depends on ..."``; two of
            them where the score and its scaled form differ; in brackets, what it stands on less firmly than it seems.
        evidence: a sentence with effect sizes and intervals.
    """

    verdict: str
    evidence: str


def is_more_robust(table: pd.DataFrame, first: str, second: str) -> Verdict:
    """Judge the claim that ``second`` has the more robust explanations, in every setting of a table.

    It holds where the 95 % intervals of the paired difference lie above zero, in the score as it is and scaled by the room
    above unrelated maps; where the two differ, the verdict says both. Rows of noise are no setting: an attack is compared
    with them, and where none did more than noise of its size, the verdict says so.
    """
    rows = comparisons(table[table["attack"] != NOISE], first, second)
    by_score, by_room = judged_by(rows, "direction"), judged_by(rows, "scaled_direction")
    verdict = by_score if by_score == by_room else f"{by_score}, by the score; {by_room}, scaled"
    told = f"{_counted(rows, 'direction')}; scaled, {_counted(rows, 'scaled_direction')}. {_range(rows)}"
    weak = no_more_than_noise(table[table["model"].isin([first, second])])
    if not weak.empty:
        settings = weak[SETTING].drop_duplicates()
        verdict += " (attack no stronger than noise)" if len(settings) == len(rows) else ""
        by_model = ", ".join(f"{name} {count}" for name, count in weak["model"].value_counts(sort=False).items())
        told += f" In {len(settings)} of them the attack changed maps no more than noise of its size did ({by_model})."
    return Verdict(verdict, told)


def judged_by(rows: pd.DataFrame, column: str, settings: Sequence[str] = SETTING) -> str:
    """Return the verdict on rows of :func:`comparisons` by the directions in a column, and on which setting it depends."""
    directions = rows[column]
    if (directions == 1).all():
        return HOLDS
    if not (directions == 1).any():
        return FAILS if (directions == -1).any() else OPEN
    for name in settings:
        by_value = rows.groupby(name, sort=False)[column]
        if rows[name].nunique() > 1 and (by_value.nunique() == 1).all():
            good = [str(value) for value, found in by_value.first().items() if found == 1]
            return f"{MIXED} on the {name}: holds for {', '.join(good)}"
    return f"{MIXED} on the setting"


def _counted(rows: pd.DataFrame, column: str) -> str:
    counts = [(rows[column] == way).sum() for way in (1, -1, 0)]
    parts = [f"{count} {word}" for count, word in zip(counts, ("higher", "lower", "not distinguishable"), strict=True)
             if count]  # fmt: skip
    return f"of {len(rows)} settings {', '.join(parts)}"


def _range(rows: pd.DataFrame) -> str:
    low, high = rows.iloc[int(rows["mean"].argmin())], rows.iloc[int(rows["mean"].argmax())]
    if len(rows) == 1:
        return f"Difference {difference(low)}."
    return f"Differences from {difference(low)} ({_where(low)}) to {difference(high)} ({_where(high)})."


def _where(row: pd.Series) -> str:
    return f"{row['attack']}, {row['rule']}, layer {row['layer']}"


class Claim(NamedTuple):
    """One claim of a source.

    Attributes:
        text: in this book's words.
        where: section and figures of the source.
        chapter: label of the chapter that tests it.
        experiment: name of the recorded table that it is judged by.
        judge: table -> verdict.
        attacks: on predictions or explanations, by name, that the claim is about where its table has several.
        datasets: that the claim is about; all if empty.
    """

    text: str
    where: str
    chapter: str
    experiment: str
    judge: Callable[[pd.DataFrame], Verdict]
    attacks: tuple[str, ...] = ("FGSM", "PGD")
    datasets: tuple[str, ...] = ()
