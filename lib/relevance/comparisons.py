"""Two models compared, setting by setting: in each attack, rule and layer a paired difference over the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from relevance import checks, experiments, robustness
from relevance.measure import NOISE
from relevance.report import signed
from relevance.robustness import Interval, PairedDifference

SETTING = ["attack", "rule", "layer"]
SCORE = "lrp_robustness"
HOLDS, FAILS, OPEN, MIXED = "holds", "does not hold", "undecided", "depends"
# Shares of images that an attack could not move may differ by so much between two models that are compared.
TOLERATED = 0.05
# Scored by another percentage than noise is, so that the two are not comparable.
SCORED_APART = "target map"


class Verdict(NamedTuple):
    """What a table says about a claim.

    Attributes:
        verdict: ``"holds"``, ``"does not hold"``, ``"undecided"`` (the intervals hold zero), or ``"depends on ..."``; two of
            them where the score and its scaled form differ; in brackets, what it stands on less firmly than it seems.
        evidence: a sentence with effect sizes and intervals.
    """

    verdict: str
    evidence: str


def last_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layer that explains the class."""
    return table[table["layer"].astype(str) == str(table["layer"].astype(str).unique()[-1])]


def comparisons(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Compare two models in every setting of a table of :meth:`relevance.studies.Study.table`.

    Args:
        table: its rows.
        first, second: names of models.

    Returns:
        A row for each attack, rule and layer: the fields of :class:`relevance.robustness.PairedDifference` of ``second``
        minus ``first``, ``direction`` (0 too where the attack could not move many more images of one model than of the other),
        ``scaled``, ``scaled_low``, ``scaled_high`` and ``scaled_direction``, the same for
        :func:`relevance.robustness.scaled_difference`, ``asterisks`` of the paper's test that ``first`` is the lower one
        (Table V), ``zero_gradients`` (the larger share of the two models).
    """
    for name in (first, second):
        checks.one_of("model", name, table["model"].unique())
    rows = []
    for setting, part in table.groupby(SETTING, sort=False):
        by_model = part.pivot(index="image", columns="model", values=SCORE)
        pair = by_model[first].to_numpy(), by_model[second].to_numpy()
        found = robustness.paired_difference(*pair)
        scaled = experiments.scaled_difference(part, first, second)
        blind = part[part["model"].isin([first, second])].groupby("model")["gradient_is_zero"].mean()
        # Where an attack could not move one of the models, its steady maps are no robustness.
        comparable = abs(blind[first] - blind[second]) <= TOLERATED
        rows.append(
            {
                **dict(zip(SETTING, setting, strict=True)),
                **found._asdict(),
                "direction": found.direction if comparable else 0,
                "scaled": scaled.mean,
                "scaled_low": scaled.low,
                "scaled_high": scaled.high,
                "scaled_direction": scaled.direction if comparable else 0,
                "asterisks": robustness.mann_whitney(*pair).asterisks,
                "zero_gradients": blind.max(),
            }
        )
    return pd.DataFrame(rows)


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


def no_more_than_noise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the models and settings whose maps an attack did not change more than random corners of its ball did.

    Returns:
        A row for each: ``model``, ``attack``, ``rule``, ``layer``; of none if the table has no rows of noise. The score that
        an attack left must be lower than noise's, image by image, with the whole 95 % interval.
    """
    noise = table[table["attack"] == NOISE]
    rows = []
    for (model, *setting), part in table.groupby(["model", *SETTING], sort=False):
        attack, rule, layer = setting
        beside = noise[(noise["model"] == model) & (noise["rule"] == rule) & (noise["layer"] == layer)]
        if attack in (NOISE, SCORED_APART) or beside.empty:
            continue
        pair = (one.set_index("image")[SCORE] for one in (part, beside))
        joined = pd.concat(pair, axis=1, join="inner").to_numpy()
        if robustness.paired_difference(joined[:, 0], joined[:, 1]).direction < 1:
            rows.append({"model": model, "attack": attack, "rule": rule, "layer": layer})
    return pd.DataFrame(rows, columns=["model", *SETTING])


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


def difference(row: pd.Series | PairedDifference | Interval) -> str:
    """Return a mean difference with its interval, signed, with three decimals."""
    mean, low, high = (
        row[name] if isinstance(row, pd.Series) else getattr(row, name) for name in ("mean", "low", "high")
    )
    return f"{signed(mean)} [{signed(low)}, {signed(high)}]"
