"""Tables of tables: curves and areas of ROAR with their intervals, beside the source's, and the joint table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from relevance.base import checks
from relevance.metrics.statistics import Interval, spearman, t_interval
from relevance.studies import names
from relevance.studies.zeng.source import TABLE_1, TABLE_1_SHARES, table_1_ranges

RANDOM, SOBEL = "random", "Sobel"
# What relevance.studies.zeng.source.by_steps calls a training by PGD: its norm, epsilon and steps.
NAMED = re.compile(r"PGD-(l2|linf) (\S+), (\d+) steps")
# What recorded tables call the network that is explained, and what the book does.
MODELS = {"(SGD)": f"({names.DETERMINISTIC})", "(PGD)": f"({names.ADVERSARIAL})", "(HMC)": f"({names.BAYESIAN})"}


def with_model_names(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of :func:`roar.roar` with the book's names of models in the names of its attributions."""
    called = table["attribution"]
    for before, after in MODELS.items():
        called = called.str.replace(before, after, regex=False)
    return table.assign(attribution=called)


def accuracies(table: pd.DataFrame, attributions: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the mean accuracy by attribution and share, with its interval over seeds.

    Args:
        table: of :func:`roar.roar`.
        attributions: which of them; all if None.

    Returns:
        A row for each: ``attribution``, ``share``, ``mean``, ``low``, ``high`` (:func:`t_interval`), ``n_seeds``. The interval is
        over retrainings on one data set, not over test images.
    """
    chosen = table if attributions is None else table[table["attribution"].isin(attributions)]
    rows = [
        {"attribution": name, "share": share, **t_interval(part["accuracy"])._asdict(), "n_seeds": len(part)}
        for (name, share), part in chosen.groupby(["attribution", "share"], sort=False)
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


def rises(table: pd.DataFrame) -> pd.DataFrame:
    """Return where accuracy rises as more pixels are removed, by more than its seeds explain.

    More holes leave less of the image. What a network then finds *more* of is in the shape of the holes, unless it overfits
    less to what is left.

    Returns:
        A row for each rise from a share to the next: ``first``, ``second``, ``attribution``, ``gain``. It counts where the whole
        :func:`t_interval` of the paired differences over seeds lies above zero.
    """
    wide = table.pivot(index=["attribution", "seed"], columns="share", values="accuracy")
    found = []
    for first, second in pairwise(wide.columns):
        steps = (wide[second] - wide[first]).unstack("seed").loc[table["attribution"].unique()]
        for name, own in steps.iterrows():
            gain = t_interval(own)
            if gain.direction > 0:
                found.append({"first": first, "second": second, "attribution": str(name), "gain": gain.mean})
    return pd.DataFrame(found, columns=["first", "second", "attribution", "gain"])


def falling(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the shares up to which no curve rises: from there on areas are no measure of what maps had found."""
    found = rises(table)
    return table if found.empty else table[table["share"] <= found["first"].min()]


def differences(table: pd.DataFrame, baselines: Sequence[str] = (RANDOM, SOBEL)) -> pd.DataFrame:
    """Compare the areas of all attributions with those of baselines, seed by seed.

    Args:
        table: of :func:`roar.roar`, with the baselines among its attributions.
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


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`by_share` under the ranges of the source's Table 1, at the shares that both have.

    The source's are of CIFAR-10 and ResNet-18, so that only the shapes of the curves compare.
    """
    source = table_1_ranges()
    source.index = pd.Index([f"source, PGD {norm}" for norm in source.index], name="attribution")
    both = [share for share in source.columns if share in set(table["share"])]
    if not both:
        raise ValueError(f"table has none of the source's shares, {', '.join(map(str, source.columns))}.")
    own = by_share(table[table["share"].isin(both)])
    return pd.concat([_in_percent(source[both]), own])


def table_1(table: pd.DataFrame) -> pd.DataFrame:
    """Return ROAR by PGD setting and share with the source's value of the same setting beside ours, where it has one.

    Args:
        table: of :func:`roar.roar`; trainings named as by :func:`source.by_steps`.

    Returns:
        A row for each attribution: for each share ``... here`` (mean and half the t-interval over seeds) and ``... source``
        (CIFAR-10, ResNet-18; empty where the source has none, and left out where it has none of all).
    """
    own = by_share(table)
    values = {(norm, epsilon, steps): row for (norm, epsilon, steps), row in TABLE_1.items()}
    columns: dict[str, list[str]] = {}
    for share in sorted(set(table["share"]) - {0.0}):
        name = f"{share:.0%} removed"
        columns[f"{name}, here"] = list(own[name])
        source = []
        for attribution in own.index:
            parts = NAMED.fullmatch(str(attribution))
            row = values.get((parts[1], parts[2], int(parts[3]))) if parts else None
            known = row is not None and share in TABLE_1_SHARES
            source.append(f"{row[TABLE_1_SHARES.index(share)] / 100:.3f}" if row is not None and known else "")
        if any(source):
            columns[f"{name}, source"] = source
    return pd.DataFrame(columns, index=own.index)


# What is measured of every model, in the order of the columns; all but the first two have an interval.
SCORES = (
    "accuracy",
    "accuracy under attack",
    "LRP under FGSM",
    "LRP under PGD",
    "LRP under top-k",
    "alignment",
    "ROAR",
)
SPREAD = SCORES[2:]
# ROAR less that of the standard network, seed by seed.
GAIN = "ROAR minus standard"
FGSM, BLIND = "LRP under FGSM", "nothing to follow"
# A model with a larger share of images on which the loss has no gradient is not said to lead where that gradient is followed.
TOLERATED = 0.05
# In a rank correlation a lower ROAR accuracy is the more faithful map.
BETTER_LOW = ("ROAR",)


def joint(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table to be read: a column for each score, those with an interval as text."""
    found = rows[[*SCORES[:2], BLIND]].copy()
    for name in SPREAD:
        parts = zip(rows[name], rows[f"{name}, low"], rows[f"{name}, high"], strict=True)
        found[name] = [f"{value:.2f} [{low:.2f}, {high:.2f}]" for value, low, high in parts]
    return found


def correlations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rank correlation of every pair of scores over the models, with its interval.

    A model whose loss has no gradient on many images is left out where the score is of maps under FGSM, which does nothing to it.

    Returns:
        A row for each pair: ``first``, ``second``, ``rho``, ``low``, ``high``, ``models``; ROAR with its sign turned, so that a
        positive rho is of two scores that are better together.
    """
    found = []
    names = list(SCORES)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            counted = _attacked(rows) if FGSM in (first, second) else rows
            pair = [counted[name] * (-1 if name in BETTER_LOW else 1) for name in (first, second)]
            one = spearman(pair[0].to_numpy(), pair[1].to_numpy())
            found.append({"first": first, "second": second, "rho": one.rho, "low": one.low, "high": one.high,
                          "models": one.n_images})  # fmt: skip
    return pd.DataFrame(found)


def _attacked(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the models whose loss has a gradient, which FGSM can follow."""
    return rows[rows[BLIND] <= TOLERATED]
