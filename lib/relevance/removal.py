"""What a table of ROAR says: curves, areas, and which maps know more than a random order or the edges of the image."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from relevance import checks, zeng
from relevance.report import interval, join, signed
from relevance.robustness import Interval

RANDOM, SOBEL = "random", "Sobel"
# So many names are read in a sentence; a table has the rest.
LISTED = 6
# What relevance.robust_training.by_steps calls a training by PGD: its norm, epsilon and steps.
NAMED = re.compile(r"PGD-(l2|linf) (\S+), (\d+) steps")


def t_interval(values: Sequence[float] | np.ndarray | pd.Series) -> Interval:
    """Return the mean of a few numbers with its 95 % interval by Student's t; without width known, NaN, for one number."""
    numbers = np.asarray(values, dtype=np.float64)
    checks.count("the number of values", len(numbers))
    mean = float(numbers.mean())
    if len(numbers) == 1:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / math.sqrt(len(numbers)))
    return Interval(mean, mean - half, mean + half)


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean accuracy by attribution and share, with its interval over seeds.

    Args:
        table: of :func:`relevance.roar.roar`.

    Returns:
        A row for each: ``attribution``, ``share``, ``mean``, ``low``, ``high`` (:func:`t_interval`), ``n_seeds``. The interval is
        over retrainings on one data set, not over test images.
    """
    rows = [
        {"attribution": name, "share": share, **t_interval(part["accuracy"])._asdict(), "n_seeds": len(part)}
        for (name, share), part in table.groupby(["attribution", "share"], sort=False)
    ]
    return pd.DataFrame(rows)


def by_share(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`accuracies` to be read: a row for each attribution, a column for each share, mean and half the interval."""
    found = accuracies(table)
    text = [
        f"{mean:.3f} ± {high - mean:.3f}"
        for mean, high in zip(found["mean"].tolist(), found["high"].tolist(), strict=True)
    ]
    shown = found.assign(text=text).pivot(index="attribution", columns="share", values="text")
    return _in_percent(shown.loc[found["attribution"].unique()])


def _in_percent(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.rename(columns={share: f"{share:.0%} removed" for share in rows.columns}).rename_axis(columns=None)


def areas(table: pd.DataFrame) -> pd.DataFrame:
    """Return the area under each curve of accuracy, seed by seed, by trapezoids and divided by the range of shares.

    Returns:
        [attributions, seeds], in [0, 1]: the lower, the sooner the accuracy fell. Of one share, its accuracy.
    """
    wide = table.pivot(index=["attribution", "seed"], columns="share", values="accuracy")
    shares = wide.columns.to_numpy(float)
    values = wide.to_numpy(float)
    flat = values[:, 0] if len(shares) == 1 else np.trapezoid(values, shares, axis=1) / (shares[-1] - shares[0])
    return pd.Series(flat, wide.index).unstack("seed").loc[table["attribution"].unique()]


def differences(table: pd.DataFrame, baselines: Sequence[str] = (RANDOM, SOBEL)) -> pd.DataFrame:
    """Compare the areas of all attributions with those of baselines, seed by seed.

    Args:
        table: of :func:`relevance.roar.roar`, with the baselines among its attributions.
        baselines: names of attributions.

    Returns:
        A row for each attribution, the best first: ``area``, the mean over seeds; and for each baseline ``minus NAME``, ``minus
        NAME low``, ``minus NAME high``: the mean paired difference of the areas with its :func:`t_interval` over seeds. Below 0
        the attribution found more than the baseline.
    """
    found = areas(table)
    for name in baselines:
        checks.one_of("baselines", name, found.index)
    rows = {}
    for attribution, own in found.iterrows():
        row = {"area": own.mean()}
        for name in baselines:
            paired = t_interval(own - found.loc[name])
            row |= {f"minus {name}{end}": value for end, value in zip(("", " low", " high"), paired, strict=True)}
        rows[attribution] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("attribution").sort_values("area", kind="stable")


def compared(row: pd.Series, baseline: str) -> Interval:
    """Return the difference from a baseline that a row of :func:`differences` holds."""
    return Interval(*(float(row[f"minus {baseline}{end}"]) for end in ("", " low", " high")))


def told(table: pd.DataFrame, baselines: Sequence[str] = (RANDOM, SOBEL)) -> str:
    """Say which attributions found more of what the classes are told by than each baseline, by the paired intervals.

    A difference counts as one only where its whole 95 % interval (:func:`differences`) lies on one side of zero; with one seed
    none does.
    """
    found = differences(table, baselines)
    n_seeds = table["seed"].nunique()
    parts = []
    for baseline in baselines:
        groups: dict[int, list[str]] = {-1: [], 0: [], 1: []}
        for name, row in found.iterrows():
            if name != baseline:
                paired = compared(row, baseline)
                # Semicolons between the entries, since names have commas of their own.
                groups[paired.direction].append(f"{name} ({signed(paired.mean)})")
        phrases = {
            -1: f"Accuracy falls sooner than in the {baseline} order for",
            1: f"It falls **later** than in the {baseline} order for",
            0: f"Not told apart from the {baseline} order by {n_seeds} seeds:",
        }
        parts += [f"{phrases[key]} {_listed(groups[key])}." for key in (-1, 1, 0) if groups[key]]
    if parts:
        parts.append("(In brackets: the difference of the areas.)")
    own = [str(name) for name in found.index if name not in baselines]
    if len(own) > 1:
        parts.append(f"By the mean area {own[0]} comes first and {own[-1]} last among the explanations.")
    return " ".join(parts)


def _listed(entries: Sequence[str]) -> str:
    """Join entries that have commas of their own; of many, the first ones, their number and the last."""
    if len(entries) <= LISTED:
        return "; ".join(entries)
    first = "; ".join(entries[: LISTED // 2])
    return f"{first}; and {len(entries) - LISTED // 2} more, the last {entries[-1]}"


def told_rises(table: pd.DataFrame) -> str:
    """Say for which attributions the accuracy rises as more pixels are removed.

    More holes leave less of the image. What a network then finds *more* of is in the shape of the holes, unless it overfits
    less to what is left.
    A rise counts where the whole :func:`t_interval` of the paired differences over seeds lies above zero.
    """
    wide = table.pivot(index=["attribution", "seed"], columns="share", values="accuracy")
    rises = []
    for first, second in pairwise(wide.columns):
        steps = (wide[second] - wide[first]).unstack("seed").loc[table["attribution"].unique()]
        gains = {str(name): t_interval(own) for name, own in steps.iterrows()}
        names = [f"{name} ({signed(gain.mean)})" for name, gain in gains.items() if gain.direction > 0]
        rises += [f"from {first:.0%} to {second:.0%} for {_listed(names)}"] if names else []
    if not rises:
        return "No curve rises as more is removed by more than its seeds explain."
    return (
        f"Accuracy **rises** as more is removed, {', and '.join(rises)}. Less of the image is left, so it is most likely the "
        "shape of the holes that tells the class there, and the areas of these curves are no measure of what the maps had found."
    )


def told_by_pair(table: pd.DataFrame, first: str, second: str) -> str:
    """Say whether the accuracy of one attribution falls sooner than that of another, by the paired interval of the areas."""
    found = areas(table)
    for name in (first, second):
        checks.one_of("attribution", name, found.index)
    paired = t_interval(found.loc[first].to_numpy(float) - found.loc[second].to_numpy(float))
    verb = {-1: "falls **sooner** than", 1: "falls **later** than", 0: "cannot be told apart from"}[paired.direction]
    return f"The curve of *{first}* {verb} that of *{second}*: the difference of their areas is {interval(paired)}."


def told_settings(table: pd.DataFrame) -> str:
    """Say what the size, the steps and the norm of PGD in training do to the areas, by differences that are paired by seed.

    Args:
        table: of :func:`relevance.roar.roar` or :func:`relevance.zeng.as_roar`; trainings named as by
            :func:`relevance.robust_training.by_steps`. Others are left out, and so is the share 0, which the source has not.
    """
    found = areas(table[table["share"] > 0])
    parts = [NAMED.fullmatch(str(name)) for name in found.index]
    rows = found[[part is not None for part in parts]]
    rows.index = pd.MultiIndex.from_tuples(
        [(part[1], Fraction(part[2]), int(part[3])) for part in parts if part], names=["norm", "epsilon", "steps"]
    )
    told = []
    for norm, own in rows.groupby("norm", sort=False):
        by_size = own.groupby("epsilon").mean()
        if len(by_size) > 1:
            told.append(
                f"from the smallest to the largest epsilon in {norm} {_changed(by_size.iloc[-1] - by_size.iloc[0])}"
            )
    by_steps = rows.groupby("steps").mean()
    if len(by_steps) > 1:
        steps = f"from {by_steps.index[0]} to {by_steps.index[-1]} steps"
        told.append(f"{steps}, in the mean over sizes, {_changed(by_steps.iloc[-1] - by_steps.iloc[0])}")
    by_norm = rows.groupby("norm").mean()
    if len(by_norm) > 1:
        told.append(
            f"from l2 to linf, in the mean over sizes and steps, {_changed(by_norm.loc['linf'] - by_norm.loc['l2'])}"
        )
    return f"The area under the curve, from the smallest share that is removed on, changes {'; '.join(told)}."


def _changed(values: Any) -> str:
    found = t_interval(values)
    return f"by {interval(found) if len(values) > 1 else signed(found.mean)}"


def told_by_masks(masks: pd.DataFrame, table: pd.DataFrame, n_classes: int) -> str:
    """Say how well a network reads the class from the mask alone, at the share where it does so best.

    Args:
        masks: of :func:`relevance.roar.roar` with ``sees="mask"``.
        table: the same of images; what is reached on whole images is taken from it.
        n_classes: of the data, whose inverse is chance.
    """
    found = accuracies(masks)
    whole = float(table.loc[table["share"] == 0, "accuracy"].mean())
    chance = 1 / n_classes
    parts, telling, better = [], [], []
    for name, part in found.groupby("attribution", sort=False):
        best = part.iloc[int(part["mean"].argmax())]
        where = f" (at {best['share']:.0%})" if found["share"].nunique() > 1 else ""
        parts.append(f"{best['mean']:.3f} for {name}{where}")
        telling += [str(name)] if best["low"] > chance else []
        better += [str(name)] if best["low"] > whole else []
    said = (
        f"Given nothing but the mask, a network reaches a test accuracy of {join(parts)}; chance is {chance:.3f}, and on whole "
        f"images it reaches {whole:.3f}. "
    )
    if better:
        said += f"From the mask of {join(better)} it reads the class **better than from the image**. "
    if not telling:
        return f"{said}No mask tells the class by more than chance, so the curves above show what the images lost."
    return (
        f"{said}Where the mask tells the class by more than chance ({join(telling)}), an image with holes tells it too, and a "
        "curve that stays up does not show that the map had found little."
    )


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`by_share` under the ranges of the source's Table 1, at the shares that both have.

    The source's are of CIFAR-10 and ResNet-18, so that only the shapes of the curves compare.
    """
    source = zeng.table_1_ranges()
    source.index = pd.Index([f"source, PGD {norm}" for norm in source.index], name="attribution")
    both = [share for share in source.columns if share in set(table["share"])]
    if not both:
        raise ValueError(f"table has none of the source's shares, {', '.join(map(str, source.columns))}.")
    own = by_share(table[table["share"].isin(both)])
    return pd.concat([_in_percent(source[both]), own])


def table_1(table: pd.DataFrame) -> pd.DataFrame:
    """Return ROAR by PGD setting and share with the source's value of the same setting beside ours, where it has one.

    Args:
        table: of :func:`relevance.roar.roar`; trainings named as by :func:`relevance.robust_training.by_steps`.

    Returns:
        A row for each attribution: for each share ``... here`` (mean and half the t-interval over seeds) and ``... source``
        (CIFAR-10, ResNet-18; empty where the source has none, and left out where it has none of all).
    """
    own = by_share(table)
    values = {(norm, epsilon, steps): row for (norm, epsilon, steps), row in zeng.TABLE_1.items()}
    columns: dict[str, list[str]] = {}
    for share in sorted(set(table["share"]) - {0.0}):
        name = f"{share:.0%} removed"
        columns[f"{name}, here"] = list(own[name])
        source = []
        for attribution in own.index:
            parts = NAMED.fullmatch(str(attribution))
            row = values.get((parts[1], parts[2], int(parts[3]))) if parts else None
            known = row is not None and share in zeng.TABLE_1_SHARES
            source.append(f"{row[zeng.TABLE_1_SHARES.index(share)] / 100:.3f}" if row is not None and known else "")
        if any(source):
            columns[f"{name}, source"] = source
    return pd.DataFrame(columns, index=own.index)
