"""The paper's picture of Bayesian explanations: what makes it, and which single change makes it vanish."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from relevance.studies.carbone import why
from relevance.studies.carbone.claims import MODEST, NEGLIGIBLE, STRONG
from relevance.studies.carbone.criteria import FGSM, Table
from relevance.studies.carbone.recipes import ENSEMBLE, FROM_SGD, MIXED, ONCE, SGD
from relevance.studies.carbone.why import ALL, CALLED, DESCRIBED, MARGIN, MATCHED, ON_PREDICTIONS, PRINTED

# What of the paper's text is looked for: Sec. V-A and V-B.
STEADIER, CORRELATED, SURVIVES, FLAT = "steadier", "correlated", "survives", "SGD is not correlated"
PARTS = (STEADIER, CORRELATED, SURVIVES, FLAT)
# What its text and captions report, in this book's words, with the figures: of scores, and of correlations.
REPORTED = {
    "Figures 2 and 3": (
        "LRP robustness of Bayesian networks is considerably higher than that of deterministic ones, for several attacks and "
        "rules; on CIFAR-10 only modestly (Sec. V-A).",
        "The only two scores in words: 0.46 deterministic, 0.68 Bayesian, for one image whose attacks failed, top 30 % "
        "(caption of Fig. 6).",
    ),
    "Figures 4 and 16": (
        "Deterministic: no significant change of LRP robustness between images that are vulnerable and images that are not.",
        "Bayesian: a strong positive correlation, the more so with more samples, and most images above 0.5 in softmax robustness "
        "(Sec. V-B).",
    ),
}
# A network that knows no more than twice what chance does is none of the paper's.
ACCURATE = 0.2
SHOWN = ("accuracy", "accuracy under attack", "k-LRP", "median", "rho", "rho, low", "rho, high", "above half",
         "zero gradients", "mean change")  # fmt: skip
# Posteriors that a described experiment may have, the best first.
OTHERS = (MIXED, FROM_SGD, ONCE)
ALONE = tuple(CALLED[name] for name in ON_PREDICTIONS)
# Cells of attacks on predictions -> how many switches are on.
N_ON = {
    DESCRIBED: 0,
    **dict.fromkeys(ALONE, 1),
    **{f"all but {name}": len(ALONE) - 1 for name in ALONE},
    ALL: len(ALONE),
}


def parts(
    table: Table, recipe: str, cell: str = DESCRIBED, objective: str = PRINTED, size: str = "full"
) -> dict[str, bool]:
    """Return which parts of the picture one cell shows, by name.

    Explanations are considerably steadier than SGD's (k-LRP higher by more than a tenth, scored alike), robustness of explanation
    and of prediction are strongly correlated (rho at least 0.5, its interval above 0), most images keep more than half of the
    softmax robustness, and SGD's rho is within 0.2 of zero.
    """
    setting = {"cell": cell, "objective": objective, "size": size}
    gain = table.of("k-LRP", recipe, **setting) - table.of("k-LRP", SGD, **setting)
    return {
        STEADIER: gain > MODEST,
        CORRELATED: table.of("rho", recipe, **setting) >= STRONG and table.of("rho, low", recipe, **setting) > 0,
        SURVIVES: table.of("above half", recipe, **setting) > 0.5,
        FLAT: abs(table.of("rho", SGD, **setting)) < NEGLIGIBLE,
    }


def halves(table: Table, seed: int = 0) -> tuple[Table, Table]:
    """Return the table of a random half of the images, on which the nearest to the picture is chosen, and that of the other half.

    What is best of many on some images is worse on others; so the one half chooses, and the other tells.
    """
    images = np.unique(table.rows["image"])
    first = table.rows["image"].isin(np.random.default_rng(seed).permutation(images)[: len(images) // 2])
    of_recipes = table.of_recipes.reset_index()
    return Table(table.rows[first], of_recipes), Table(table.rows[~first], of_recipes)


def pictures(table: Table, recipes: Sequence[str] | None = None) -> pd.DataFrame:
    """Return how much of the picture each recipe shows under each set of switches, along the printed gradient.

    Args:
        table: what was measured.
        recipes: all but SGD and the ensemble if not given.

    Returns:
        A row for each, the nearest to the picture first, and of those with as many parts the one with the fewest switches and
        the largest rho: ``recipe``, ``cell``, ``switches`` (how many are on), the parts, ``parts`` (how many of them are there),
        and the columns of :data:`SHOWN`.
    """
    chosen = [name for name in table.recipes if name not in (SGD, ENSEMBLE)] if recipes is None else recipes
    rows = []
    for recipe in chosen:
        for cell, n_on in N_ON.items():
            shown = parts(table, recipe, cell)
            numbers = {name: table.of(name, recipe, cell) for name in SHOWN}
            there = sum(shown.values()) if numbers["accuracy"] > ACCURATE else 0
            rows.append({"recipe": recipe, "cell": cell, "switches": n_on, **shown, "parts": there, **numbers})
    found = pd.DataFrame(rows)
    order = found.assign(few=-found["switches"]).sort_values(["parts", "few", "rho"], ascending=False, kind="stable")
    return order.drop(columns="few").reset_index(drop=True)


def changes(table: Table, recipe: str, cell: str) -> pd.DataFrame:
    """Return what becomes of the picture by single changes of what makes it.

    The changes: the margin is followed in place of the loss; FGSM is shrunk to the same mean change where images are averaged;
    each switch that is on is off; and the same attack meets other posteriors.

    Args:
        table: what was measured.
        recipe, cell: where the picture is, as :func:`pictures` gives it.

    Returns:
        A row for each change, the picture itself first: ``what``, ``recipe``, ``cell``, the columns of :data:`SHOWN`, ``k-LRP of
        SGD``, and the parts.
    """
    same = {"recipe": recipe, "cell": cell, "objective": PRINTED, "size": "full"}
    single = {"the picture": same, "the margin followed": same | {"objective": MARGIN}}
    if cell in (CALLED["averaged_images"], ALL):
        single["FGSM of the same mean change"] = same | {"size": MATCHED}
    if cell == ALL:
        single |= {f"without: {name}": same | {"cell": f"all but {name}"} for name in ALONE}
    if cell in ALONE:
        single[f"without: {cell}"] = same | {"cell": DESCRIBED}
    single |= {name: same | {"recipe": name} for name in OTHERS if name in table.recipes and name != recipe}
    rows = []
    for what, setting in single.items():
        numbers = {name: table.of(name, **setting) for name in SHOWN}
        beside = table.of("k-LRP", **(setting | {"recipe": SGD}))
        place = {"what": what, "recipe": setting["recipe"], "cell": setting["cell"]}
        rows.append({**place, **numbers, "k-LRP of SGD": beside, **parts(table, **setting)})
    return pd.DataFrame(rows)


def shown(changes: pd.DataFrame) -> pd.DataFrame:
    """Return of :func:`changes` what a page shows."""
    return changes.set_index("what")[[*SHOWN[1:5], "k-LRP of SGD", *SHOWN[-3:]]]


def columns(rows: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """Return the images of two measurements: as the paper describes it, and where the picture is.

    Args:
        rows: of :func:`relevance.studies.carbone.why.table`.
        pictures: of :func:`pictures`.

    Returns:
        Rows of SGD and of one Bayesian recipe in each of two cells, with ``column``, the title of the measurement, in front. As
        described are the chains that mix if they are there, or else the first of :data:`OTHERS` that is.
    """
    first = pictures.iloc[0]
    described = next((name for name in OTHERS if name in set(rows["recipe"])), first["recipe"])
    chosen = {f"as described: {described}": (described, DESCRIBED), _title(first): (first["recipe"], first["cell"])}
    found = []
    for title, (recipe, cell) in chosen.items():
        here = rows["recipe"].isin([SGD, recipe]) & (rows["cell"] == cell) & (rows["attack"] == FGSM[PRINTED])
        part = rows[here & (rows["size"] == "full") & (rows["rule"] == "epsilon")]
        found.append(part.assign(column=title))
    table = pd.concat(found, ignore_index=True)
    return table[["column", *table.columns.drop("column")]]


def _title(first: pd.Series) -> str:
    return str(first["recipe"]) if first["cell"] == DESCRIBED else f"{first['recipe']}; released code: {first['cell']}"


def populations(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the images that an attack cannot move and those that it moves, and the rank correlation in each and in both.

    Args:
        rows: of :func:`columns`; the Bayesian ones of the last column are looked at.

    Returns:
        A row for ``"frozen"``, ``"moved"`` and ``"both"``: ``population``, ``images``, ``k-LRP``, ``gain over SGD`` on the same
        images, ``softmax robustness``, ``rho``, ``rho, low``, ``rho, high``; NaN of a population with too few images.
    """
    last = rows[rows["column"] == rows["column"].iloc[-1]]
    beside = last[last["recipe"] == SGD].set_index("image")[why.LRP]
    here = last[last["recipe"] != SGD]
    here = here.assign(gain=here[why.LRP] - here["image"].map(beside))
    moved = here["mean_change"] > 0
    found = []
    for name, part in {"frozen": here[~moved], "moved": here[moved], "both": here}.items():
        rho = why.correlation(part)
        found.append({
            "population": name, "images": len(part), "k-LRP": part[why.LRP].mean(),
            "gain over SGD": part["gain"].mean(), "softmax robustness": part[why.SOFTMAX].mean(),
            "rho": rho.rho, "rho, low": rho.low, "rho, high": rho.high,
        })  # fmt: skip
    return pd.DataFrame(found)
