"""The paper's picture of Bayesian explanations: what makes it, and which single change makes it vanish."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from relevance.studies.carbone import why
from relevance.studies.carbone.claims import MODEST, NEGLIGIBLE, STRONG
from relevance.studies.carbone.criteria import FGSM, Table
from relevance.studies.carbone.recipes import ENSEMBLE, FROM_SGD, MIXED, SGD
from relevance.studies.carbone.why import ALL, CALLED, DESCRIBED, MARGIN, MATCHED, ON_PREDICTIONS, PRINTED

# What of the paper's text is looked for: Sec. V-A and V-B.
STEADIER, CORRELATED, SURVIVES, FLAT = "steadier", "correlated", "survives", "SGD is not correlated"
PARTS = (STEADIER, CORRELATED, SURVIVES, FLAT)
# A network that knows no more than twice what chance does is none of the paper's.
ACCURATE = 0.2
SHOWN = ("accuracy", "accuracy under attack", "k-LRP", "median", "rho", "rho, low", "rho, high", "above half",
         "zero gradients", "change")  # fmt: skip
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
        A row for each change, the picture itself first: ``what``, the columns of :data:`SHOWN`, ``k-LRP of SGD``, the parts.
    """
    same = {"recipe": recipe, "cell": cell, "objective": PRINTED, "size": "full"}
    single = {"the picture": same, "the margin followed": same | {"objective": MARGIN}}
    if cell in (CALLED["averaged_images"], ALL):
        single["FGSM of the same mean change"] = same | {"size": MATCHED}
    if cell == ALL:
        single |= {f"without: {name}": same | {"cell": f"all but {name}"} for name in ALONE}
    if cell in ALONE:
        single[f"without: {cell}"] = same | {"cell": DESCRIBED}
    others = [name for name in (MIXED, FROM_SGD) if name in table.recipes and name != recipe]
    single |= {name: same | {"recipe": name} for name in others}
    rows = []
    for change, setting in single.items():
        numbers = {name: table.of(name, **setting) for name in SHOWN}
        beside = table.of("k-LRP", **(setting | {"recipe": SGD}))
        rows.append({"what": change, **numbers, "k-LRP of SGD": beside, **parts(table, **setting)})
    return pd.DataFrame(rows)


def populations(rows: pd.DataFrame, recipe: str, cell: str = DESCRIBED) -> pd.DataFrame:
    """Return the images that an attack cannot move and those that it moves, and the rank correlation in each and in both.

    Args:
        rows: of :func:`relevance.studies.carbone.why.table`.
        recipe, cell: of the printed attack.

    Returns:
        A row for ``"frozen"``, ``"moved"`` and ``"both"``: ``population``, ``images``, ``k-LRP``, ``softmax robustness``,
        ``rho``, ``rho, low``, ``rho, high``; NaN of a population with too few images.
    """
    here = rows[(rows["recipe"] == recipe) & (rows["cell"] == cell) & (rows["attack"] == FGSM[PRINTED])]
    here = here[(here["size"] == "full") & (here["rule"] == "epsilon")]
    moved = here["change"] > 0
    found = []
    for name, part in {"frozen": here[~moved], "moved": here[moved], "both": here}.items():
        rho = why.correlation(part)
        found.append({
            "population": name, "images": len(part), "k-LRP": part[why.LRP].mean(),
            "softmax robustness": part[why.SOFTMAX].mean(), "rho": rho.rho, "rho, low": rho.low, "rho, high": rho.high,
        })  # fmt: skip
    return pd.DataFrame(found)
