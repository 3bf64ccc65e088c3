"""What tables of :mod:`relevance.manipulation` say: how many images were manipulated, how well, and which model resisted."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from relevance import robustness
from relevance.manipulation import MANIPULATED, NOISE
from relevance.robustness import Interval

# Outputs that moved no further than this count as held: the largest change of a class's probability.
TOLERANCE = 0.1
CASE = ["model", "method"]
NO_DEFENCE = "none"
# A map whose correlation with its target rose by less than this, in the median, was not led anywhere.
HARDLY = 0.05
# Noise counts as being as large as the manipulation from this share of its norm on.
AS_LARGE = 0.95


def succeeded(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether the map is more like its target than like the original, with label and outputs held."""
    closer = table["correlation_target"] > table["correlation_origin"]
    return closer & table["label_kept"].astype(bool) & (table["output_change"] <= TOLERANCE)


def median_interval(values: pd.Series, seed: int = 0) -> Interval:
    """Return the median over images with its 95 % bootstrap interval; images without a number are left out."""
    known = values.dropna().to_numpy(dtype=float)
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    resampled = np.median(np.random.default_rng(seed).choice(known, (2000, len(known))), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(float(np.median(known)), float(low), float(high))


def share_interval(truths: pd.Series) -> Interval:
    """Return the share of true values with its 95 % interval (Wilson)."""
    found = stats.binomtest(int(truths.sum()), len(truths)).proportion_ci(method="wilson")
    return Interval(float(truths.mean()), float(found.low), float(found.high))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model and method, of all its images.

    Args:
        table: of :func:`relevance.manipulation.table`.

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


def claim(table: pd.DataFrame, model: str) -> str:
    """Say for which methods most images of a model could be manipulated: the source's claim is that all could."""
    rows = summary(table[table["model"] == model])
    most = rows[rows["manipulated, low"] > 0.5]
    few = rows[rows["manipulated, high"] < 0.5]
    open_ = rows.drop(index=[*most.index, *few.index])
    parts = [
        f"{words} for {', '.join(f'{row.method} ({row.manipulated:.0%})' for row in part.itertuples())}"
        for words, part in (
            ("most images were manipulated", most),
            ("fewer than half were", few),
            ("whether most or fewer than half were, these images do not decide", open_),
        )
        if len(part)
    ]
    # What stayed where it was, says how the search fared, and not what is possible.
    stuck = rows[rows["to target"] - rows["before"] < HARDLY]
    found = [
        f"{method} ({before:.2f} before, {after:.2f} after)"
        for method, before, after in zip(stuck["method"], stuck["before"], stuck["to target"], strict=True)
    ]
    nothing = (
        f" The search hardly came nearer to the target for {', '.join(found)}: what it did not find may still be there."
        if found
        else ""
    )
    return f"**{model[0].upper()}{model[1:]}**: {'; '.join(parts)}.{nothing}"


def differences(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Compare how alike two models' maps stayed to what they were, image by image.

    Returns:
        A row for each method: ``mean``, ``low``, ``high`` of ``second`` minus ``first`` in the correlation of manipulated and
        original map, ``direction``; and of the same correlation under noise of the same size, ``under noise`` and
        ``noise direction``.
    """
    rows = []
    for method, part in table.groupby("method", sort=False):
        found = {}
        for change, rows_of in part.groupby("change"):
            wide = rows_of.pivot(index="image", columns="model", values="correlation_origin")[[first, second]].dropna()
            found[change] = robustness.paired_difference(wide[first].to_numpy(), wide[second].to_numpy())
        moved, noise = found[MANIPULATED], found[NOISE]
        rows.append(
            {
                "method": method,
                "mean": moved.mean,
                "low": moved.low,
                "high": moved.high,
                "direction": moved.direction,
                "under noise": noise.mean,
                "noise direction": noise.direction,
            }
        )
    return pd.DataFrame(rows).set_index("method")


def resists(rows: pd.DataFrame, first: str, second: str) -> str:
    """Say, from :func:`differences`, for which methods the second model's maps stayed more like themselves."""
    words = {1: "more", -1: "less", 0: "neither more nor less"}
    parts = [
        f"{word} for {', '.join(names)}"
        for way, word in words.items()
        if len(names := rows.index[rows["direction"] == way])
    ]
    noise = rows[(rows["noise direction"] == rows["direction"]) & (rows["direction"] != 0)]
    also = (
        f" Under noise of the same size the difference has the same sign for {', '.join(noise.index)}: there it is no "
        "matter of the attack alone."
        if len(noise)
        else ""
    )
    return f"Manipulated maps of {second}, compared with {first}, stayed like the originals {'; '.join(parts)}.{also}"


def control(table: pd.DataFrame) -> str:
    """Say so if the noise of a table is smaller than the manipulations that it is the control of; nothing if it is not.

    Noise was once cut to the pixel range without being drawn out again; tables that were recorded then say so.
    """
    sizes = table.groupby("change")["l2"].median()
    share = sizes[NOISE] / sizes[MANIPULATED] if sizes[MANIPULATED] > 0 else 1.0
    return (
        f"The noise of this table has only {share:.0%} of the norm of the manipulations: its columns show less than noise as "
        "large would do."
        if share < AS_LARGE
        else ""
    )


def smoothed(rows: pd.DataFrame, score: str = "similarity") -> pd.DataFrame:
    """Return medians of a table of :func:`relevance.smoothing.measured`, with 95 % intervals.

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


def defended(rows: pd.DataFrame) -> pd.DataFrame:
    """Compare each defence with none, image by image, under an attack that knows of the defence and one that does not.

    Args:
        rows: of :func:`relevance.smoothing.measured`, with rows of no defence.

    Returns:
        A row for each defence and parameter; for each manipulation the mean difference in similarity from the undefended map,
        with ``..., low``, ``..., high`` and ``..., direction``.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    plain = rows[rows["defence"] == NO_DEFENCE]
    setting: tuple[str, float, str]
    names = ["defence", "parameter", "manipulation"]
    for setting, part in rows[rows["defence"] != NO_DEFENCE].groupby(names, sort=False):  # type: ignore[assignment]
        name, parameter, how = setting
        before = plain[plain["manipulation"] == how].set_index("image")["similarity"]
        both = pd.concat([before, part.set_index("image")["similarity"]], axis=1).dropna().to_numpy()
        one = robustness.paired_difference(both[:, 0], both[:, 1])
        row = found.setdefault((name, f"{parameter:g}"), {})
        row |= _spread(how, Interval(one.mean, one.low, one.high)) | {f"{how}, direction": one.direction}
    index = pd.MultiIndex.from_tuples(found, names=["defence", "parameter"])
    return pd.DataFrame(list(found.values()), index=index)


def helps(rows: pd.DataFrame) -> str:
    """Say, from :func:`defended`, which defences help against whom."""
    lines = []
    manipulations = [str(name).removesuffix(", direction") for name in rows if str(name).endswith(", direction")]
    for how in manipulations:
        parts = []
        for way, words in ((1, "steadier than without"), (0, "not distinguishable"), (-1, "less steady")):
            names = [f"{name} {parameter}" for name, parameter in rows.index[rows[f"{how}, direction"] == way]]
            if names:
                parts.append(f"{words}: {', '.join(names)}")
        lines.append(f"- Manipulations *{how}*: {'; '.join(parts)}.")
    return "\n".join(lines)
