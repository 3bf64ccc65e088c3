"""The claims of the second source (Dombrowski et al. 2019), and the question that joins it to the first, by recorded runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from relevance.metrics.statistics import paired_difference
from relevance.studies import records
from relevance.studies.dombrowski import smoothing, tables
from relevance.studies.names import BAYESIAN, DETERMINISTIC
from relevance.studies.phrases import signed
from relevance.studies.verdicts import FAILS, HOLDS, MIXED, OPEN, Claim, Verdict, judged_by

RUNS = ("mnist-manipulation-dense", "mnist-manipulation-residual")


def all_methods(table: pd.DataFrame) -> Verdict:
    """Explanations of all six methods can be manipulated while the outputs are held."""
    rows = tables.summary(table[table["model"] == DETERMINISTIC]).set_index("method")
    most, few = rows["manipulated, low"] > 0.5, rows["manipulated, high"] < 0.5
    told = ", ".join(f"{name} {share:.0%}" for name, share in rows["manipulated"].items())
    verdict = HOLDS if most.all() else FAILS if few.all() else f"{MIXED} on the method"
    if verdict.startswith(MIXED) and most.any():
        verdict += f": holds for {', '.join(rows.index[most])}"
    return Verdict(
        verdict if most.any() or few.any() else OPEN, f"Images manipulated, of {rows['images'].iloc[0]}: {told}."
    )


def posterior_resists(table: pd.DataFrame) -> Verdict:
    """A posterior's expected map is harder to manipulate than a single network's."""
    names = [str(name) for name in table["model"].unique() if str(name).startswith(BAYESIAN)]
    if not names:
        return Verdict("not recorded", "This run has no Bayesian network.")
    largest = max(names, key=lambda name: int(name.rsplit(", ", 1)[1]))
    rows = tables.differences(table, DETERMINISTIC, largest)
    told = ", ".join(f"{name} {signed(row['mean'])}" for name, row in rows.iterrows())
    verdict = judged_by(rows.reset_index(names="method"), "direction", ["method"])
    return Verdict(verdict, f"Difference in correlation with the original map: {told}.")


def smoothing_helps(manipulation: str) -> Callable[[pd.DataFrame], Verdict]:
    """Return the judge of: softplus makes maps steadier, under manipulations of the plain or of the smoothed map."""

    def judge(table: pd.DataFrame) -> Verdict:
        rows = tables.defended(table).xs(smoothing.BETA).rename_axis("beta").reset_index()
        told = ", ".join(f"beta {row['beta']} {signed(row[manipulation])}" for row in rows.to_dict("records"))
        return Verdict(
            judged_by(rows, f"{manipulation}, direction", ["beta"]),
            f"Difference in correlation, manipulations {manipulation}: {told}.",
        )

    return judge


def posterior_beats_smoothing(table: pd.DataFrame) -> Verdict:
    """The posterior's map resists better than that of any smoothing, against who knows of the defence."""
    rows = tables.smoothed(table[table["manipulation"] == smoothing.AWARE]).set_index("defence")
    best = {name: rows.loc[[name]].sort_values("median").iloc[-1] for name in smoothing.NAMES}
    told = ", ".join(f"{name} {row['median']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for name, row in best.items())
    # Image by image: the images are the same for all defences.
    settings = table[table["manipulation"] == smoothing.AWARE].pivot(
        index="image", columns=["defence", "parameter"], values="similarity"
    )
    similar = {name: settings[name, row["parameter"]] for name, row in best.items()}
    mine, directions = similar.pop(smoothing.POSTERIOR), []
    for other in similar.values():
        both = pd.concat([other, mine], axis=1).dropna().to_numpy()
        directions.append(paired_difference(both[:, 0], both[:, 1]).direction)
    verdict = HOLDS if all(way == 1 for way in directions) else FAILS if -1 in directions else OPEN
    return Verdict(verdict, f"Correlation with the original map, at the best setting: {told}.")


CLAIMS = (
    Claim("maps of all six methods can be made to look like another image's, with class and outputs held", "experiments",
          "manipulation", "manipulation", all_methods),
    Claim("softplus in the explanation makes maps steadier, against who does not know of it", "Fig. 4",
          "smoothing", "smoothing", smoothing_helps(smoothing.UNAWARE)),
    Claim("the same, against who knows of it", "not asked there", "smoothing", "smoothing",
          smoothing_helps(smoothing.AWARE)),
    Claim("a posterior's map is harder to manipulate than a single network's", "this book's question",
          "manipulation", "manipulation", posterior_resists),
    Claim("and harder than a smoothed one", "this book's question", "smoothing", "smoothing",
          posterior_beats_smoothing),
)  # fmt: skip


def claimed() -> pd.DataFrame:
    """Return a row for each claim and recorded run that has its table: ``source``, ``run``, ``verdict``, ``evidence``, ..."""
    rows = []
    for claim in CLAIMS:
        for run in RUNS:
            if run not in records.runs(claim.experiment):
                continue
            found = claim.judge(records.read_run(run, claim.experiment))
            rows.append(
                {"item": claim.text, "source": claim.where, "run": run, **found._asdict(), "chapter": claim.chapter}
            )
    columns = ["item", "source", "run", "verdict", "evidence", "chapter"]
    return pd.DataFrame(rows, columns=columns).set_index("item")
