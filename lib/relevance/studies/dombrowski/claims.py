"""The claims of the second source (Dombrowski et al. 2019), and the question that joins it to the first, by recorded runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from scipy import stats

from relevance.metrics.statistics import paired_difference
from relevance.studies import verdicts
from relevance.studies.dombrowski import smoothing, tables
from relevance.studies.gates import FEW, FEWEST
from relevance.studies.names import BAYESIAN, DETERMINISTIC
from relevance.studies.phrases import signed
from relevance.studies.verdicts import Claim, Verdict, standings, untold, verdict

RUNS = ("mnist-manipulation-dense", "mnist-manipulation-residual")


def _judged(rows: pd.DataFrame, n_images: int, evidence: str) -> Verdict:
    """Judge rows with ``mean``, ``low``, ``high`` and ``p_value``, unless they are of too few images."""
    return verdict(standings(rows.assign(reason="" if n_images >= FEWEST else FEW, n_images=n_images)), evidence)


def all_methods(table: pd.DataFrame) -> Verdict:
    """Explanations of all six methods can be manipulated while the outputs are held: *higher* is more than half of the images."""
    rows = tables.summary(table[table["model"] == DETERMINISTIC]).set_index("method")
    n_images, shares = int(rows["images"].iloc[0]), rows["manipulated"]
    cells = pd.DataFrame(
        {
            "mean": shares - 0.5,
            "low": rows["manipulated, low"] - 0.5,
            "high": rows["manipulated, high"] - 0.5,
            "p_value": [stats.binomtest(round(share * n_images), n_images).pvalue for share in shares],
        }
    )
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return _judged(cells, n_images, f"Images manipulated, of {n_images}, beside a half: {told}.")


def posterior_resists(table: pd.DataFrame) -> Verdict:
    """A posterior's expected map is harder to manipulate than a single network's."""
    names = [str(name) for name in table["model"].unique() if str(name).startswith(BAYESIAN)]
    if not names:
        return untold("This run has no Bayesian network.")
    largest = max(names, key=lambda name: int(name.rsplit(", ", 1)[1]))
    rows = tables.differences(table, DETERMINISTIC, largest)
    told = ", ".join(f"{name} {signed(row['mean'])}" for name, row in rows.iterrows())
    return _judged(rows, int(rows["n_images"].min()), f"Difference in correlation with the original map: {told}.")


def smoothing_helps(manipulation: str) -> Callable[[pd.DataFrame], Verdict]:
    """Return the judge of: softplus makes maps steadier, under manipulations of the plain or of the smoothed map."""

    def judge(table: pd.DataFrame) -> Verdict:
        rows = pd.DataFrame(tables.defended(table).xs(smoothing.BETA)).rename_axis("beta")
        names = {manipulation: "mean", **{f"{manipulation}, {name}": name for name in ("low", "high", "p_value")}}
        cells = rows.rename(columns=names)[[*names.values()]]
        told = ", ".join(f"beta {beta} {signed(mean)}" for beta, mean in cells["mean"].items())
        return _judged(
            cells, table["image"].nunique(), f"Difference in correlation, manipulations {manipulation}: {told}."
        )

    return judge


def posterior_beats_smoothing(table: pd.DataFrame) -> Verdict:
    """The posterior's map resists better than that of any smoothing, against who knows of the defence.

    Each with its best setting, which half of the images choose, and the other half judges.
    """
    aware = table[table["manipulation"] == smoothing.AWARE]
    best = tables.chosen(aware)
    told = ", ".join(
        f"{name} {row['median']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" for name, row in best.iterrows()
    )
    # Image by image: the images are the same for all defences.
    judging = aware[aware["image"] % 2 == 1]
    similar = {
        name: judging[(judging["defence"] == name) & (judging["parameter"] == row["parameter"])]
        .set_index("image")["similarity"]
        for name, row in best.iterrows()
    }  # fmt: skip
    mine, rows = similar[smoothing.POSTERIOR], {}
    for name in smoothing.NAMES:
        if name != smoothing.POSTERIOR:
            both = pd.concat([similar[name], mine], axis=1).dropna().to_numpy()
            rows[name] = paired_difference(both[:, 0], both[:, 1])._asdict()
    cells = pd.DataFrame.from_dict(rows, orient="index").rename_axis("defence")
    return _judged(
        cells,
        int(cells["n_images"].min()),
        f"Correlation with the original map, at the best setting of the other half of the images: {told}.",
    )


CLAIMS = (
    Claim("maps of all six methods can be made to look like another image's, with class and outputs held", "experiments",
          "manipulation", "manipulation", all_methods),
    Claim("softplus in the explanation makes maps steadier, against who does not know of it", "Fig. 4",
          "smoothing", "smoothing", smoothing_helps(smoothing.UNAWARE)),
    Claim("the same, against who knows of it", "not asked there", "smoothing", "smoothing",
          smoothing_helps(smoothing.AWARE)),
    Claim("a posterior's map is harder to manipulate than a single network's", "this book's question",
          "manipulation", "manipulation", posterior_resists, of_posterior=True),
    Claim("and harder than a smoothed one", "this book's question", "smoothing", "smoothing",
          posterior_beats_smoothing, of_posterior=True),
)  # fmt: skip


def claimed() -> pd.DataFrame:
    """Return the verdicts on all claims by recorded runs, as :func:`relevance.studies.verdicts.claimed`."""
    return verdicts.claimed((claim, run) for claim in CLAIMS for run in RUNS)
