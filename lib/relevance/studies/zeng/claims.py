"""The claims of the third source (Zeng et al. 2021, supplement), and questions that join it to the others, by recorded runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from relevance.metrics.deletion import deletion_area
from relevance.metrics.statistics import EQUIVALENT, HIGHER, LEVEL, LOWER, paired_difference, t_interval
from relevance.studies import records, verdicts
from relevance.studies.gates import CHANCE, FEW, FEWEST, UNMIXED, above_chance
from relevance.studies.phrases import difference
from relevance.studies.verdicts import Claim, Verdict, standings, untold, verdict
from relevance.studies.zeng import source, tables
from relevance.studies.zeng.generator.setting import GENERATED, OF_CLASS
from relevance.studies.zeng.generator.setting import STANDARD as STANDARD_MAP
from relevance.studies.zeng.generator.tables import curves_of

# Table -> the recorded runs that have it.
RUNS = {
    **dict.fromkeys(("roar", "trainings"), ("mnist-table-1", "cifar10-trainings")),
    "joint": ("mnist-joint",),
    **dict.fromkeys(("alignment", "deletion"), ("mnist-generator",)),
}
OWN = "this book's question"
# The models of the joint table that average over networks.
AVERAGED = ("HMC", "variational", "ensemble")
# Retrainings of each model of the recorded joint table, over which its intervals of ROAR are.
SEEDS = 3
ONE_SEED = "one seed only"


def _judged(cells: Mapping[str, Mapping[str, Any]], about: str) -> Verdict:
    """Judge settings by name: ``mean``, ``low``, ``high``, ``p_value``, ``reason``."""
    if not cells:
        return untold(f"{about}: none of them is in this table.")
    rows = pd.DataFrame([*cells.values()], index=pd.Index(cells, name="setting"))
    told = "; ".join(f"{name} {difference(row)}" for name, row in rows.iterrows())
    return verdict(standings(rows), f"{about}: {told}.")


def _over_seeds(values: Any) -> dict[str, Any]:
    """Return the mean of differences that are paired by seed, with its t interval and test."""
    numbers = np.asarray(values, dtype=float)
    found = t_interval(numbers)
    if len(numbers) < 2:
        return {**found._asdict(), "p_value": math.nan, "reason": ONE_SEED}
    constant = bool((numbers == numbers[0]).all())
    p_value = float(numbers[0] == 0) if constant else float(stats.ttest_1samp(numbers, 0).pvalue)
    return {**found._asdict(), "p_value": p_value, "reason": ""}


def _of_interval(mean: float, error: float, degrees: float) -> dict[str, Any]:
    """Return a mean with the t interval and the test that its standard error and its degrees of freedom give."""
    half = float(stats.t.ppf(1 - LEVEL / 2, degrees)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, degrees)) if error else float(mean == 0)
    return {"mean": mean, "low": mean - half, "high": mean + half, "p_value": p_value, "reason": ""}


def _error(row: pd.Series, name: str, degrees: float) -> float:
    """Return the standard error that a 95 % interval of a row stands for."""
    return float((row[f"{name}, high"] - row[f"{name}, low"]) / 2 / stats.t.ppf(1 - LEVEL / 2, degrees))


def _over_images(first: Any, second: Any) -> dict[str, Any]:
    """Return by how much the second scores are higher, image by image."""
    found = paired_difference(np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    numbers = {name: getattr(found, name) for name in ("mean", "low", "high", "p_value")}
    return {**numbers, "n_images": found.n_images, "reason": "" if found.n_images >= FEWEST else FEW}


def _areas(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return the areas of all attributions, those of trainings by PGD, and over which shares they are taken."""
    shown = tables.falling(table)
    found = tables.areas(shown)
    hardened = found[[tables.NAMED.fullmatch(str(name)) is not None for name in found.index]]
    return found, hardened, f"up to {shown['share'].max():.0%} of the pixels removed, where no curve rises yet"


def _of_defence(defence: str, table: pd.DataFrame) -> Verdict:
    found, hardened, shares = _areas(table)
    compared = [source.STANDARD] if defence == source.DISTILLATION else list(hardened.index)
    cells = {f"{defence} less {name}": _over_seeds(found.loc[defence] - found.loc[name]) for name in compared}
    return _judged(cells, f"Area under the curve, {shares}")


def pgd_is_more_faithful(table: pd.DataFrame) -> Verdict:
    """After removal by the maps of networks trained by PGD, accuracy falls sooner than by the standard network's: *lower*."""
    found, hardened, shares = _areas(table)
    cells = {str(name): _over_seeds(own - found.loc[source.STANDARD]) for name, own in hardened.iterrows()}
    return _judged(cells, f"Area under the curve less that of standard training, {shares}")


def distillation_is_as_standard(table: pd.DataFrame) -> Verdict:
    """The curve of distillation is close to that of standard training: *equivalent*."""
    return _of_defence(source.DISTILLATION, table)


def jacobian_is_worse_than_pgd(table: pd.DataFrame) -> Verdict:
    """The curve of Jacobian regularisation falls a little later than those of PGD: *higher*."""
    return _of_defence(source.JACOBIAN, table)


def strength_does_not_matter(table: pd.DataFrame) -> Verdict:
    """Neither the size nor the steps of PGD in training change what its maps find: *equivalent*."""
    _, hardened, shares = _areas(table)
    by_setting = {tables.NAMED.fullmatch(str(name)).groups(): own for name, own in hardened.iterrows()}  # type: ignore[union-attr]
    cells = {}
    for norm in dict.fromkeys(norm for norm, _, _ in by_setting):
        sizes = list(dict.fromkeys(size for one, size, _ in by_setting if one == norm))
        steps = list(dict.fromkeys(count for one, _, count in by_setting if one == norm))
        for count in steps:
            for small, large in pairwise(sizes):
                change = by_setting[norm, large, count] - by_setting[norm, small, count]
                cells[f"{norm}, {small} to {large}, {count} steps"] = _over_seeds(change)
        for size in sizes:
            for few, many in pairwise(steps):
                change = by_setting[norm, size, many] - by_setting[norm, size, few]
                cells[f"{norm} {size}, {few} to {many} steps"] = _over_seeds(change)
    return _judged(cells, f"Change of the area under the curve, {shares}")


def robust_maps_are_aligned(table: pd.DataFrame) -> Verdict:
    """Gradients of networks trained by PGD point along the image more than the standard network's: *higher*.

    Image by image, in units of the pixel range, and not where one of the two networks is at chance.
    """
    lengths = table.pivot(index="image", columns="training", values="alignment")
    right = (table["clean_class"] == table["label"]).groupby(table["training"]).mean()
    enough = above_chance(table["label"].nunique())
    cells = {}
    for name in (training for training in table["training"].unique() if training.startswith(source.PGD)):
        cells[name] = _over_images(lengths[source.STANDARD], lengths[name])
        if right[[source.STANDARD, name]].min() < enough:
            cells[name]["reason"] = CHANCE
    return _judged(cells, "Alignment less that of standard training, image by image")


def averaging_is_more_faithful(table: pd.DataFrame, unmixed: bool | None = None) -> Verdict:
    """After removal by the maps of an average over networks, accuracy falls sooner than by the standard network's: *lower*.

    The table has the t interval of the paired differences over seeds; the test is the one that belongs to it.

    Args:
        table: of :func:`joint.metrics`.
        unmixed: whether HMC's chains have not converged, so that it is not judged; as the recorded run's story says, if None.
    """
    rows = table.set_index("model") if "model" in table else table
    unmixed = records.is_unmixed(RUNS["joint"][0], "joint") if unmixed is None else unmixed
    cells = {
        str(name): _of_interval(float(row[tables.GAIN]), _error(row, tables.GAIN, SEEDS - 1), SEEDS - 1)
        | {"reason": UNMIXED if unmixed and name == "HMC" else ""}
        for name, row in rows[rows.index.isin(AVERAGED)].iterrows()
    }
    return _judged(cells, "Area under the curve less that of the standard network")


def _generated(table: pd.DataFrame, beside: str) -> Verdict:
    wide = table.pivot(index="image", columns="map", values="correlation")
    cells = {name: _over_images(wide[beside], wide[name]) for name in GENERATED}
    return _judged(cells, f"Correlation with the robust network's gradient, less that of the {beside}")


def generated_maps_are_aligned(table: pd.DataFrame) -> Verdict:
    """Generated maps are more like the robust network's than the gradient of the classifier in use is: *higher*."""
    return _generated(table, STANDARD_MAP)


def generated_maps_know_the_image(table: pd.DataFrame) -> Verdict:
    """Generated maps are more like the robust network's than the mean of its maps of the class is: *higher*."""
    return _generated(table, OF_CLASS)


def generated_maps_are_faithful(table: pd.DataFrame) -> Verdict:
    """Deletion by generated maps takes the class from each judge sooner than by the classifier's own gradient: *lower*."""
    cells: dict[str, dict[str, Any]] = {}
    for judge, panel in curves_of(table).items():
        areas = {name: deletion_area(curves).numpy() for name, curves in panel.items()}
        cells |= {f"{name}, {judge}": _over_images(areas[STANDARD_MAP], areas[name]) for name in GENERATED}
    return _judged(cells, f"Area under the deletion curve less that of the {STANDARD_MAP}")


CLAIMS = (
    Claim("maps of networks trained by PGD are more faithful than those of standard training", "suppl., Table 1, Fig. 1",
          "table-1", "roar", pgd_is_more_faithful, says=LOWER),
    Claim("those of distillation are as faithful as those of standard training", "suppl., Fig. 1", "table-1", "roar",
          distillation_is_as_standard, says=EQUIVALENT),
    Claim("those of Jacobian regularisation are slightly less faithful than those of PGD", "suppl., Fig. 1", "table-1", "roar",
          jacobian_is_worse_than_pgd, says=HIGHER),
    Claim("size and steps of PGD do not matter much to that", "suppl., Table 1", "table-1", "roar", strength_does_not_matter,
          says=EQUIVALENT),
    Claim("gradients of networks trained by PGD are more aligned with the image", "suppl., Figs. 2 to 4", "training", "trainings",
          robust_maps_are_aligned),
    Claim("generated maps are aligned with those of a robust network", "abstract, suppl.", "generator", "alignment",
          generated_maps_are_aligned),
    Claim("and more so than one map for each class", OWN, "generator", "alignment", generated_maps_know_the_image),
    Claim("and are more faithful than the classifier's gradient, by deletion", OWN, "generator", "deletion",
          generated_maps_are_faithful, says=LOWER),
    Claim("averaging over networks makes maps more faithful, by removal and retraining", OWN, "joint", "joint",
          averaging_is_more_faithful, says=LOWER),
)  # fmt: skip


def claimed() -> pd.DataFrame:
    """Return the verdicts on all claims by recorded runs, as :func:`relevance.studies.verdicts.claimed`."""
    return verdicts.claimed((claim, run) for claim in CLAIMS for run in RUNS[claim.experiment])
