"""Tables of manipulations and of defences: how many images were manipulated, how well, and which model resisted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from relevance.metrics.statistics import Interval, median_interval, paired_difference, share_interval
from relevance.studies.dombrowski.manipulation import MANIPULATED, NOISE

# Outputs that moved no further than this count as held: the largest change of a class's probability.
TOLERANCE = 0.1
CASE = ["model", "method"]
NO_DEFENCE = "none"


def succeeded(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether the map is more like its target than like the original, with label and outputs held."""
    closer = table["correlation_target"] > table["correlation_origin"]
    return closer & table["label_kept"].astype(bool) & (table["output_change"] <= TOLERANCE)


def farthest(table: pd.DataFrame, model: str, method: str) -> int:
    """Return which image's map was led farthest: the gain in correlation with its target, less what is left of its own map."""
    rows = table[(table["model"] == model) & (table["method"] == method) & (table["change"] == MANIPULATED)]
    return int(rows["image"].iloc[int((rows["correlation_target"] - rows["correlation_origin"]).argmax())])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model and method, of all its images.

    Args:
        table: of :func:`manipulation.table`.

    Returns:
        ``images``; ``manipulated``, the share by :func:`succeeded`; ``closer to target``, that share whatever the outputs did;
        ``to target`` and ``to origin``, medians of the correlations of the manipulated map; ``before``, that of the original map
        with the target; ``under noise``, that of the original map and the map under noise as large; ``outputs``, the median
        of the largest change of a probability; ``labels kept``; ``l2``, the median size, ``l2 / image``, the same as a share of
        the image's norm, and ``noise l2``, the median size of the noise. Those with an interval have ``..., low`` and
        ``..., high``.
    """
    rows = []
    for (model, method), part in table.groupby(CASE, sort=False):
        found, noise = (part[part["change"] == change] for change in (MANIPULATED, NOISE))
        row = {"model": model, "method": method, "images": len(found)}
        row |= _spread("manipulated", share_interval(succeeded(found)))
        row |= {"closer to target": (found["correlation_target"] > found["correlation_origin"]).mean()}
        row |= _spread("to target", median_interval(found["correlation_target"]))
        row |= _spread("to origin", median_interval(found["correlation_origin"]))
        row |= {
            "before": found["before"].median(),
            "under noise": noise["correlation_origin"].median(),
            "outputs": found["output_change"].median(),
            "labels kept": found["label_kept"].mean(),
            "l2": found["l2"].median(),
            # Not in tables that were recorded before it was measured.
            "l2 / image": found["relative"].median() if "relative" in found else np.nan,
            "noise l2": noise["l2"].median(),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _spread(name: str, found: Interval) -> dict[str, float]:
    return {name: found.mean, f"{name}, low": found.low, f"{name}, high": found.high}


def similarities(table: pd.DataFrame) -> pd.DataFrame:
    """Return medians of every similarity of manipulated maps, to the target and to the original, for each model and method."""
    found = table[table["change"] == MANIPULATED]
    names = ["error", "correlation", "rank", "structure", "top_k"]
    columns = [f"{name}_{other}" for name in names for other in ("target", "origin")]
    medians = found.groupby(CASE, sort=False)[columns].median()
    medians.columns = [column.replace("_target", ", target").replace("_origin", ", origin") for column in columns]
    return medians.rename(columns=lambda name: name.replace("top_k", "top pixels"))


def differences(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Compare how alike two models' maps stayed to what they were, image by image.

    Returns:
        A row for each method: ``mean``, ``low``, ``high`` of ``second`` minus ``first`` in the correlation of manipulated and
        original map, ``p_value``, ``n_images`` and ``direction``; and of the same correlation under noise of the same size,
        ``under noise`` and ``noise direction``.
    """
    rows = []
    for method, part in table.groupby("method", sort=False):
        found = {}
        for change, rows_of in part.groupby("change"):
            wide = rows_of.pivot(index="image", columns="model", values="correlation_origin")[[first, second]].dropna()
            found[change] = paired_difference(wide[first].to_numpy(), wide[second].to_numpy())
        moved, noise = found[MANIPULATED], found[NOISE]
        rows.append(
            {
                "method": method,
                "mean": moved.mean,
                "low": moved.low,
                "high": moved.high,
                "p_value": moved.p_value,
                "n_images": moved.n_images,
                "direction": moved.direction,
                "under noise": noise.mean,
                "noise direction": noise.direction,
            }
        )
    return pd.DataFrame(rows).set_index("method")


def smoothed(rows: pd.DataFrame, score: str = "similarity") -> pd.DataFrame:
    """Return medians of a table of :func:`smoothing.steadiness`, with 95 % intervals.

    Args:
        rows: the table.
        score: a column, such as ``"similarity"`` or ``"noise"``.

    Returns:
        A row for each defence, parameter and manipulation: ``median``, ``low``, ``high``.
    """
    found = []
    names = ["defence", "parameter", "manipulation"]
    for setting, part in rows.groupby(names, sort=False):
        known = median_interval(part[score])
        found.append(
            {**dict(zip(names, setting, strict=True)), "median": known.mean, "low": known.low, "high": known.high}
        )
    return pd.DataFrame(found)


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """Return each defence's best setting: chosen on half of the images, and reported on the other half.

    The best of several medians is too good on the images that made it the best. Images are in random order; those at even
    places choose.

    Args:
        rows: of :func:`smoothing.steadiness`, of one manipulation.

    Returns:
        A row for each defence: ``parameter``, ``median``, ``low`` and ``high`` of the similarity on the images at odd places.
    """
    choosing = rows["image"] % 2 == 0
    on_half = smoothed(rows[choosing]).set_index("defence")["median"]
    places = smoothed(rows[choosing]).set_index("defence")["parameter"]
    best = {name: places[[name]].iloc[int(np.argmax(on_half[[name]]))] for name in on_half.index.unique()}
    other = smoothed(rows[~choosing])
    return other[other["parameter"] == other["defence"].map(best)].set_index("defence")


def defended(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare each defence with none, image by image, under an attack that knows of the defence and one that does not.

    Args:
        rows: of :func:`smoothing.steadiness`, with rows of no defence.

    Returns:
        A row for each defence and parameter; for each manipulation the mean difference in similarity from the undefended map,
        with ``..., low``, ``..., high``, ``..., p_value`` and ``..., direction``.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    plain = rows[rows["defence"] == NO_DEFENCE]
    setting: tuple[str, float, str]
    names = ["defence", "parameter", "manipulation"]
    for setting, part in rows[rows["defence"] != NO_DEFENCE].groupby(names, sort=False):  # type: ignore[assignment]
        name, parameter, how = setting
        before = plain[plain["manipulation"] == how].set_index("image")["similarity"]
        both = pd.concat([before, part.set_index("image")["similarity"]], axis=1).dropna().to_numpy()
        one = paired_difference(both[:, 0], both[:, 1])
        row = found.setdefault((name, f"{parameter:g}"), {})
        row |= _spread(how, Interval(one.mean, one.low, one.high))
        row |= {f"{how}, p_value": one.p_value, f"{how}, direction": one.direction}
    index = pd.MultiIndex.from_tuples(found, names=["defence", "parameter"])
    return pd.DataFrame(list(found.values()), index=index)
