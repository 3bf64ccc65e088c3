"""Two models compared, setting by setting: in each attack, rule and layer, over all their runs and the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.metrics import statistics
from relevance.metrics.statistics import EQUIVALENT, HIGHER, CrossedDifference, Interval, PairedDifference, mann_whitney
from relevance.studies.experiment import Gallery
from relevance.studies.gates import FEWEST, why_not
from relevance.studies.tables import SCORE, SETTING, stayed

# Scored by another percentage than noise is, so that the two are not comparable.
SCORED_APART = "target map"
# The score, and the floor and the ceiling between which it lies.
SCALE = ("lrp_robustness", "unrelated_lrp_robustness", "ceiling_lrp_robustness")


def by_run(rows: pd.DataFrame, column: str = SCORE) -> np.ndarray:
    """Return a score of one model in one setting as [R, N]: runs and images; a table without runs is of one."""
    images = rows["image"].to_numpy()
    runs = rows["run"].to_numpy() if "run" in rows else np.zeros_like(images)
    shape = len(np.unique(runs)), len(np.unique(images))
    order = np.lexsort((images, runs))
    if len(rows) != shape[0] * shape[1] or (images[order].reshape(shape) != np.unique(images)).any():
        raise ValueError(
            f"there are {len(rows)} scores of {shape[0]} runs on {shape[1]} images; each run must have one score of each image."
        )
    return rows[column].to_numpy(dtype=np.float64)[order].reshape(shape)


def between(first: np.ndarray, second: np.ndarray) -> CrossedDifference | PairedDifference:
    """Compare scores [R, N] of two models; by images alone, which says nothing of other runs, where one of them has one run."""
    if min(len(first), len(second)) > 1:
        return statistics.crossed_difference(first, second)
    return statistics.paired_difference(first.mean(0), second.mean(0))


def above_zero(scores: np.ndarray) -> CrossedDifference | PairedDifference:
    """Compare scores [R, N] with zero, as :func:`between` does two models."""
    if len(scores) > 1:
        return statistics.crossed_mean(scores)
    return statistics.paired_difference(np.zeros(scores.shape[1]), scores[0])


def comparisons(table: pd.DataFrame, first: str, second: str, *, kept: bool = False) -> pd.DataFrame:
    """Compare two models in every setting of a table of :meth:`relevance.studies.carbone.study.Study.table`.

    Args:
        table: its rows, with ``run`` where models were trained several times.
        first, second: names of models.
        kept: compare on the images whose prediction stayed alone.

    Returns:
        A row for each attack, rule and layer: ``mean``, ``low``, ``high`` and ``p_value`` of the score of ``second`` minus that
        of ``first`` (:func:`relevance.metrics.crossed_difference`, or of one run
        :func:`relevance.metrics.paired_difference`); ``effect``, the rank-biserial correlation over images; ``n_runs``, the
        smaller number of the two; ``n_images``; ``run_share``, of the variance, NaN of one run; ``scaled``, ``scaled_low`` and
        ``scaled_high`` (:func:`relevance.metrics.scaled_difference`); ``asterisks`` of the paper's test that ``first`` is the
        lower one (Table V); ``zero_gradients``, the larger share of the two models; ``as_noise``, the models that the attack did
        no more to than noise of its size, by :func:`beside_noise`; ``reason``, why the setting is not judged, by
        :func:`relevance.studies.gates.why_not`, or nothing.
    """
    for name in (first, second):
        checks.one_of("model", name, table["model"].unique())
    pair = table[table["model"].isin([first, second])]
    noise = _noise(pair)
    rows = []
    for setting, whole in pair.groupby(SETTING, sort=False):
        part = stayed(whole) if kept else whole
        count = part["image"].nunique()
        models = {name: part[part["model"] == name] for name in (first, second)}
        # Nobody asks how large a difference is over the few images that an attack left alone.
        known = count >= (FEWEST if kept else 2)
        weak = [name for name, rows_of in models.items() if known and _as_noise(rows_of, noise) in (EQUIVALENT, HIGHER)]
        rows.append(
            {
                **dict(zip(SETTING, setting, strict=True)),
                **(_compared(*models.values()) if known else UNKNOWN),
                "n_images": count,
                "zero_gradients": whole.groupby("model")["gradient_is_zero"].mean().max(),
                "as_noise": " and ".join(weak),
                "reason": why_not(whole, count),
            }
        )
    return pd.DataFrame(rows)


NUMBERS = ("mean", "low", "high", "p_value", "effect", "run_share", "scaled", "scaled_low", "scaled_high")
UNKNOWN: dict[str, Any] = {**dict.fromkeys(NUMBERS, math.nan), "n_runs": 1, "asterisks": ""}


def _compared(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """Return the numbers of one row of :func:`comparisons`."""
    pair = by_run(first), by_run(second)
    found, scaled = between(*pair), _scaled(first, second)
    averages = [scores.mean(0) for scores in pair]
    paired = found if isinstance(found, PairedDifference) else statistics.paired_difference(averages[0], averages[1])
    return {
        **{name: getattr(found, name) for name in ("mean", "low", "high", "p_value")},
        "effect": paired.effect,
        "n_runs": min(map(len, pair)),
        "run_share": getattr(found, "run_share", math.nan),
        **dict(zip(("scaled", "scaled_low", "scaled_high"), scaled, strict=True)),
        "asterisks": mann_whitney(averages[0], averages[1]).asterisks,
    }


Noise = dict[tuple[Any, ...], pd.DataFrame]


def _noise(table: pd.DataFrame) -> Noise:
    """Return the rows of noise by model, rule and layer."""
    noise = table[table["attack"] == NOISE]
    return dict(iter(noise.groupby(["model", "rule", "layer"], sort=False)))


def _beside(rows: pd.DataFrame, noise: Noise) -> CrossedDifference | PairedDifference | None:
    """Return the score of one model in one setting minus that under noise; None where they are not to be compared."""
    one = rows.iloc[0]
    beside = noise.get((one["model"], one["rule"], one["layer"]))
    if beside is None or one["attack"] in (NOISE, SCORED_APART):
        return None
    both = np.intersect1d(rows["image"], beside["image"])
    if len(both) < 2:
        return None
    return above_zero(by_run(rows[rows["image"].isin(both)]) - by_run(beside[beside["image"].isin(both)]))


def _as_noise(rows: pd.DataFrame, noise: Noise) -> str:
    found = _beside(rows, noise)
    return "" if found is None else statistics.standing(found.low, found.high)


def beside_noise(table: pd.DataFrame) -> pd.DataFrame:
    """Compare what each attack left of the maps with what random corners of its ball left, model by model.

    Returns:
        A row for each model, attack, rule and layer: ``mean``, ``low`` and ``high`` of the score under the attack minus that
        under noise, image by image within each run, and ``standing``: *equivalent* is as noise, *higher* weaker than noise. There
        is none for attacks that are scored otherwise, nor where there is no noise.
    """
    noise, rows, names = _noise(table), [], ["model", *SETTING]
    for setting, part in table.groupby(names, sort=False):
        if (found := _beside(part, noise)) is not None:
            ends = {"mean": found.mean, "low": found.low, "high": found.high}
            standing = statistics.standing(found.low, found.high)
            rows.append({**dict(zip(names, setting, strict=True)), **ends, "standing": standing})
    return pd.DataFrame(rows, columns=[*names, "mean", "low", "high", "standing"])


def beyond_noise(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of attacks with the score minus that under noise of the same size, image by image within each run.

    It is 0 where the attack's direction counted for nothing, and the lower, the more it did; its floor is 0 and its ceiling the
    room of the score, so that it is scaled by the same room. Rows without noise beside them are left out.
    """
    same = [*(["run"] if "run" in table else []), "model", "rule", "layer", "image"]
    noise = table[table["attack"] == NOISE][[*same, SCORE]]
    rows = table[~table["attack"].isin([NOISE, SCORED_APART])].merge(noise, on=same, suffixes=("", " of noise"))
    score, floor, ceiling = SCALE
    rows[score] -= rows.pop(f"{SCORE} of noise")
    rows[ceiling] -= rows[floor]
    return rows.assign(**{floor: 0.0})


def paired_differences(table: pd.DataFrame, baseline: str, score: str = "lrp_robustness") -> pd.DataFrame:
    """Compare every model of a :func:`tables.robustness_table` with ``baseline``, image by image.

    Returns:
        A row for each other model: the fields of :class:`relevance.metrics.PairedDifference` and ``direction``.
    """
    checks.one_of("baseline", baseline, table["model"].unique())
    rows = {}
    for name in table["model"].unique():
        if name != baseline:
            difference = paired_difference(table, baseline, name, score)
            rows[name] = {**difference._asdict(), "direction": difference.direction}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def paired_difference(
    table: pd.DataFrame, first: str, second: str, score: str = SCORE
) -> CrossedDifference | PairedDifference:
    """Compare two models by rows of one setting, such as a :func:`tables.robustness_table`: by how much is ``second`` higher?"""
    return between(*(by_run(table[table["model"] == name], score) for name in (first, second)))


def scaled_difference(table: pd.DataFrame, first: str, second: str) -> Interval:
    """Compare two models by their LRP robustness as a share of the room between unrelated maps and the ceiling.

    Args:
        table: rows of one setting, with the score, the floor and the ceiling.
        first, second: models; the difference is that of ``second`` from ``first`` (:func:`relevance.metrics.scaled_difference`).
    """
    return _scaled(*(table[table["model"] == name] for name in (first, second)))


def _scaled(first: pd.DataFrame, second: pd.DataFrame) -> Interval:
    parts = [[by_run(rows, column) for column in SCALE] for rows in (first, second)]
    if min(len(scores[0]) for scores in parts) == 1:
        parts = [[one.mean(0) for one in scores] for scores in parts]
    return statistics.scaled_difference(parts[0], parts[1])


def by_attack(galleries: Mapping[str, Gallery], baseline: str, other: str) -> pd.DataFrame:
    """Compare the overlap of two models under every attack, image by image.

    Returns:
        A row for each attack: the fields of :class:`relevance.metrics.PairedDifference` of ``other`` less
        ``baseline``, over the images for which both scores mean something, and ``direction``.
    """
    for name in (baseline, other):
        checks.one_of("model", name, galleries)
    rows = {}
    for attack in galleries[baseline].attacks:
        pair = [galleries[name].scores(attack)["lrp_robustness"].to_numpy() for name in (baseline, other)]
        known = ~(pd.isna(pair[0]) | pd.isna(pair[1]))
        found: PairedDifference = statistics.paired_difference(pair[0][known], pair[1][known])
        rows[attack] = {**found._asdict(), "direction": found.direction}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("attack")
