"""Two models compared, setting by setting: in each attack, rule and layer a paired difference over the same images."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.metrics import statistics
from relevance.metrics.statistics import Interval, PairedDifference, mann_whitney
from relevance.studies.experiment import Gallery
from relevance.studies.tables import SCORE, SETTING

# Shares of images that an attack could not move may differ by so much between two models that are compared.
TOLERATED = 0.05
# Scored by another percentage than noise is, so that the two are not comparable.
SCORED_APART = "target map"


def comparisons(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Compare two models in every setting of a table of :meth:`relevance.studies.carbone.study.Study.table`.

    Args:
        table: its rows.
        first, second: names of models.

    Returns:
        A row for each attack, rule and layer: the fields of :class:`relevance.metrics.PairedDifference` of ``second``
        minus ``first``, ``direction`` (0 too where the attack could not move many more images of one model than of the other),
        ``scaled``, ``scaled_low``, ``scaled_high`` and ``scaled_direction``, the same for
        :func:`relevance.metrics.scaled_difference`, ``asterisks`` of the paper's test that ``first`` is the lower one
        (Table V), ``zero_gradients`` (the larger share of the two models).
    """
    for name in (first, second):
        checks.one_of("model", name, table["model"].unique())
    rows = []
    for setting, part in table.groupby(SETTING, sort=False):
        by_model = part.pivot(index="image", columns="model", values=SCORE)
        pair = by_model[first].to_numpy(), by_model[second].to_numpy()
        found = statistics.paired_difference(*pair)
        scaled = scaled_difference(part, first, second)
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
                "asterisks": mann_whitney(*pair).asterisks,
                "zero_gradients": blind.max(),
            }
        )
    return pd.DataFrame(rows)


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
        if statistics.paired_difference(joined[:, 0], joined[:, 1]).direction < 1:
            rows.append({"model": model, "attack": attack, "rule": rule, "layer": layer})
    return pd.DataFrame(rows, columns=["model", *SETTING])


# The score, and the floor and the ceiling between which it lies.
SCALE = ("lrp_robustness", "unrelated_lrp_robustness", "ceiling_lrp_robustness")


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


def paired_difference(table: pd.DataFrame, first: str, second: str, score: str = "lrp_robustness") -> PairedDifference:
    """Compare two models of a :func:`tables.robustness_table`, image by image: by how much is ``second`` higher?"""
    by_model = table.pivot(index="image", columns="model", values=score)
    return statistics.paired_difference(by_model[first].to_numpy(), by_model[second].to_numpy())


def scaled_difference(table: pd.DataFrame, first: str, second: str) -> Interval:
    """Compare two models by their LRP robustness as a share of the room between unrelated maps and the ceiling.

    Args:
        table: rows of one setting: an image and a model each, with the score, the floor and the ceiling.
        first, second: models; the difference is that of ``second`` from ``first`` (:func:`relevance.metrics.scaled_difference`).
    """
    by_model = table.pivot(index="image", columns="model", values=[*SCALE])
    low, high = ([by_model[column, name].to_numpy() for column in SCALE] for name in (first, second))
    return statistics.scaled_difference(low, high)


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
