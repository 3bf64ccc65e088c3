"""What both measurements say together: points of the trade-off, differences from no defence, and sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch import Tensor

from relevance import checks, faithfulness, report, robustness
from relevance.tradeoff.defended import BAYES, BETA, CONSTANT, FAITHFULNESS, NONE, SMOOTH_GRAD


def points(
    faithful_rows: pd.DataFrame, robust_rows: pd.DataFrame, name: str, by: str = "deletion gain"
) -> pd.DataFrame:
    """Return a point for each defence and setting, with 95 % bootstrap intervals over images.

    Args:
        faithful_rows: from :func:`faithful`.
        robust_rows: from :func:`robust`, of the same map.
        name: of the map.
        by: ``"deletion gain"`` or ``"explained"``.

    Returns:
        ``defence``, ``setting``, and of ``robustness`` and ``faithfulness`` the mean, ``low`` and ``high``; the last row is a
        constant map's, whose robustness is 1 by definition.
    """
    checks.one_of("by", by, FAITHFULNESS)
    named = faithful_rows[faithful_rows["map"] == name]
    rows = []
    for (defence, setting), group in robust_rows.groupby(["defence", "setting"], sort=False):
        own = named[(named["defence"] == defence) & (named["setting"] == setting)]
        row = {"defence": defence, "setting": setting}
        for axis, values in (("robustness", group["similarity"]), ("faithfulness", own[by])):
            given = values.dropna().to_numpy()
            found = robustness.paired_difference(np.zeros(len(given)), given)
            row |= {axis: found.mean, f"{axis} low": found.low, f"{axis} high": found.high}
        rows.append(row)
    # It cannot be moved, whatever the attack; a correlation with it is not defined.
    constant = faithful_rows.loc[faithful_rows["map"] == CONSTANT, by].dropna().to_numpy()
    if len(constant):
        found = robustness.paired_difference(np.zeros(len(constant)), constant)
        ends = {"faithfulness": found.mean, "faithfulness low": found.low, "faithfulness high": found.high}
        steady = dict.fromkeys(("robustness", "robustness low", "robustness high"), 1.0)
        rows.append({"defence": "constant map", "setting": "", **steady, **ends})
    return pd.DataFrame(rows)


def summary(faithful_rows: pd.DataFrame) -> pd.DataFrame:
    """Return the means over images of :func:`faithful`, a row for each model and map."""
    columns = ["deletion area", "random area", "deletion gain", "explained"]
    return faithful_rows.groupby(["model", "map"], sort=False)[columns].mean().reset_index("map")


def differences(faithful_rows: pd.DataFrame, robust_rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Compare each defence with none, image by image.

    Args:
        faithful_rows, robust_rows, name: as for :func:`points`.

    Returns:
        A row for each defence and setting, and for each of ``similarity``, ``deletion gain`` and ``explained`` the mean
        difference with its 95 % interval, ``low`` and ``high``.
    """
    named = faithful_rows[faithful_rows["map"] == name]
    rows = []
    for defence, setting in robust_rows[["defence", "setting"]].drop_duplicates().itertuples(index=False):
        if defence == NONE:
            continue
        row = {"defence": defence, "setting": setting}
        for table, column in ((robust_rows, "similarity"), (named, "deletion gain"), (named, "explained")):
            one, other = (
                table[(table["defence"] == way) & (table["setting"] == at)].sort_values("image")[column].to_numpy()
                for way, at in ((NONE, ""), (defence, setting))
            )
            both = np.isfinite(one) & np.isfinite(other)
            found = robustness.paired_difference(one[both], other[both])
            row |= {column: found.mean, f"{column} low": found.low, f"{column} high": found.high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("defence")


def baselines_told(found: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Say which map's curve falls fastest under each baseline: title -> :func:`curves`."""
    told = []
    for title, panel in found.items():
        areas = {name: faithfulness.deletion_area(values).mean().item() for name, values in panel.items()}
        order = sorted(areas, key=areas.__getitem__)
        told.append(f"{title}: {', '.join(f'{name} {areas[name]:.3f}' for name in order)}")
    return f"Areas under the curves, the lowest first. {'; '.join(told)}."


def answer(compared: pd.DataFrame) -> str:
    """Say which defences are paid for with faithfulness, and how the posterior stands, from :func:`differences`."""
    lists: dict[str, list[str]] = {"paid": [], "free": [], "nothing": []}
    for defence, row in compared.iterrows():
        costs = any(row[f"{column} high"] < 0 for column in FAITHFULNESS)
        kind = "nothing" if row["similarity low"] <= 0 else "paid" if costs else "free"
        lists[kind].append(f"{defence} ({row['setting']})")
    listed = {kind: report.join(names) if names else "none" for kind, names in lists.items()}
    told = [
        f"Steadier under attack than the map without a defence, at a loss of faithfulness by deletion, infidelity or both: "
        f"{listed['paid']}. Steadier, and no such loss to be seen on these images: {listed['free']}. Less steady, or not "
        f"distinguishable: {listed['nothing']}."
    ]
    if BAYES in compared.index:
        row = compared.loc[[BAYES]].iloc[-1]
        parts = []
        for column, called in zip(FAITHFULNESS, ("deletion", "infidelity"), strict=True):
            low, high = row[f"{column} low"], row[f"{column} high"]
            words = "more" if low > 0 else "less" if high < 0 else "not distinguishably more or less"
            parts.append(f"by {called} {words} ({report.interval(robustness.Interval(row[column], low, high))})")
        told.append(
            f"Is the expected map of {row['setting']} more faithful to its posterior than the network's to the network? "
            f"{report.join(parts)[0].upper()}{report.join(parts)[1:]}."
        )
    return " ".join(told)


def lost(faithful_rows: pd.DataFrame, below: float = 0.05) -> str:
    """Say which map of which smoothing explains less of the logit's changes than without, by more than ``below``."""
    means = faithful_rows.groupby(["defence", "setting", "map"], sort=False)["explained"].mean().reset_index()
    before = means[means["defence"] == NONE].set_index("map")["explained"]
    found = [
        f"{row['map']} under {row['defence']} ({row['setting']}: {row['explained']:.2f} instead of {before[row['map']]:.2f})"
        for row in means[means["defence"].isin([BETA, SMOOTH_GRAD])].to_dict("records")
        if row["explained"] < before[row["map"]] - below
    ]
    listed = report.join(found) if found else "no map"
    return f"Of the logit's changes, smoothing loses more than {below:.2f} of what is explained for: {listed}."
