"""What the tables of the second source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from relevance.studies import phrases
from relevance.studies.dombrowski.manipulation import MANIPULATED
from relevance.studies.dombrowski.smoothing import AWARE, NONE, POSTERIOR, UNAWARE
from relevance.studies.dombrowski.tables import chosen, differences, summary
from relevance.studies.dombrowski.theorem_1 import ROUNDING
from relevance.studies.dombrowski.tradeoff import FAITHFULNESS
from relevance.studies.gates import FEWEST
from relevance.studies.names import DETERMINISTIC
from relevance.studies.phrases import sentence


@sentence
def manipulated(runs: Mapping[str, pd.DataFrame], methods: Sequence[str]) -> str:
    """Say of how many images deterministic maps were led to their targets: run -> rows of :func:`tables.summary`."""
    plain = {name: rows[rows["model"] == DETERMINISTIC].set_index("method") for name, rows in runs.items()}
    shares = pd.DataFrame({name: rows["manipulated"] for name, rows in plain.items()}).loc[[*methods]]
    listed = shares.apply(lambda row: phrases.join([f"{share:.0%} with {name}" for name, share in row.items()]), axis=1)
    told = [f"by the method *{method}*, {which}" for method, which in listed.items()]
    lead = "Yes" if shares.to_numpy().max() > 0.5 else "Not often"
    return f"**{lead}.** Of single networks' maps so many were led to their targets: {'; '.join(told)}."


@sentence
def resists(table: pd.DataFrame, model: str) -> str:
    """Say for which methods a model's maps stayed more like themselves than the deterministic one's, or under noise too."""
    rows = differences(table, DETERMINISTIC, model)
    ways, words = rows["direction"], {1: "more like themselves for", -1: "less for", 0: "cannot be told apart for"}
    same = (rows["noise direction"] == ways)[ways != 0]
    also = " Mere noise of that size gives the same order." if len(same) and same.all() else ""
    return f"Compared with a single network's, the mean maps stayed {phrases.mostly(ways, words, 'methods')}.{also}"


@sentence
def steadiest(rows: pd.DataFrame, manipulation: str = AWARE) -> str:
    """Say, from :func:`smoothing.steadiness`, which defence keeps maps best against an attacker (:func:`tables.chosen`)."""
    known = rows[rows["manipulation"] == manipulation]
    left = chosen(known)["median"]
    best, knows = str(left.idxmax()), "knows" if manipulation == AWARE else "does not know"
    keeps = "no defence helps: the map" if best == NONE else f"{best} keeps the map best: it"
    beside = "" if best == NONE else f", and without a defence {left[NONE]:.2f}"
    few = " (too few images for a verdict)" if known["image"].nunique() < FEWEST else ""
    return f"Against an attacker who {knows} of the defence, {keeps} correlates {left[best]:.2f} with the original{beside}{few}."


@sentence
def tradeoff(compared: pd.DataFrame, explained: str) -> str:
    """Say how many defences make a map steadier, and how many of these pay with faithfulness (:func:`tradeoff.differences`)."""
    steadier = compared[compared["similarity low"] > 0]
    paid = int((steadier[[f"{column} high" for column in FAITHFULNESS]] < 0).any(axis=1).sum())
    which = {len(steadier): "all", 0: "none"}.get(paid, paid)
    return (
        f"{len(steadier)} of {len(compared)} settings of defences make the {explained}'s map steadier under attack; on these "
        f"images {which} of them are seen to cost faithfulness."
    )


@sentence
def posterior(compared: pd.DataFrame) -> str:
    """Say how the posterior's expected map compares with the network's own (:func:`tradeoff.differences`)."""
    row = compared.loc[[POSTERIOR]].iloc[-1]
    low, high = (pd.Series([row[f"{name} {end}"] for name in ("similarity", *FAITHFULNESS)]) for end in ("low", "high"))
    steady, *ways = phrases.direction(low, high)
    word = {1: "steadier", -1: "less steady", 0: "neither seen to be steadier nor less steady"}[steady]
    told = {1: "more faithful by", -1: "less faithful by", 0: "not seen to be more or less faithful by"}
    judged = phrases.by_direction(pd.Series(ways, ["deletion", "infidelity"]), told)
    return f"The expected map is {word}; it is {phrases.join(judged)}."


@sentence
def theorem_1(rows: pd.DataFrame) -> str:
    """Say of the rows of :func:`theorem_1.sweep` whether the bound for the normal held, and with how much to spare."""
    broken = int((rows["slack"] < 1 - ROUNDING).sum())
    spare = rows.groupby("beta")["slack"].median()
    return (
        f"On {rows['slack'].count()} paths to manipulated images, the bound on the map's direction was "
        f"{f'broken {broken} times' if broken else 'never broken'}. It allows {spare.iloc[0]:.1f} times the turn that happened "
        f"in the softest network (beta {spare.index[0]:g}), and {spare.iloc[-1]:.0f} times in the sharpest ({spare.index[-1]:g})."
    )


@sentence
def networks(rows: pd.DataFrame) -> str:
    """Say of the recorded table of torchvision's classifiers that there are maps, what they cost, and how many conserve."""
    conserving = int(((rows["arrives"] - 1).abs() <= 0.01).sum())
    return (
        f"Of {len(rows)} classifiers with random weights, {int(rows['finite'].sum())} have a finite map; in {conserving} it adds "
        f"up to the logit within 1 %. A map of one small image takes as long as {rows['time'].median():.1f} gradients (median)."
    )


def _led(rows: pd.DataFrame) -> pd.Series:
    """Return by method on how many photographs maps came nearer to the target than to themselves, by rows of their summary."""
    return (rows["closer to target"] * rows["images"]).round().astype(int).set_axis(rows["method"])


@sentence
def on_photographs(table: pd.DataFrame) -> str:
    """Answer, from :func:`manipulation.table` of photographs, whether their maps can be led to another photograph's."""
    rows = summary(table).set_index("method", drop=False)
    farthest = str((rows["to target"] - rows["to origin"]).idxmax())
    size, n_led = table.loc[table["change"] == MANIPULATED, "relative"].max(), int((_led(rows) > 0).sum())
    answer = f"Yes, with the maps of {n_led} methods" if n_led else "Not in this search"
    return (
        f"**{answer}**, on {'at least one of ' if n_led else ''}{rows['images'].iloc[0]} photographs, by a change of at most "
        f"{size:.1%} of the photograph's norm. The method *{farthest}* goes farthest: in the median its maps end up correlating "
        f"{rows['to target'][farthest]:.2f} with the other photograph's map and {rows['to origin'][farthest]:.2f} with their own."
    )


@sentence
def photographed(table: pd.DataFrame, again: pd.DataFrame) -> str:
    """Say what a second search among photographs, along another softened network, adds, and whether outputs were held in both."""
    gain = (_led(summary(again)) - _led(summary(table))).clip(-1, 1)
    words = {0: "leads as many maps by", 1: "leads more by", -1: "leads fewer by"}
    found = pd.concat([table, again])[lambda rows: rows["change"] == MANIPULATED]
    kept = "Every photograph kept its class" if found["label_kept"].all() else "Not every photograph kept its class"
    return (
        f"A second search, along another softened network, {phrases.mostly(gain, words, 'methods')}. {kept}, and no probability "
        f"moved by more than {found['output_change'].max():.2f}."
    )


@sentence
def averaged(rows: pd.DataFrame) -> str:
    """Say of :func:`smoothing.steadiness` what is left of photographs' maps, with the mean over noisy weights and without."""
    left = rows.groupby(["defence", "manipulation"])["similarity"]
    median, most = left.median(), left.max()[NONE, AWARE]
    return (
        f"In correlation, {median[POSTERIOR, UNAWARE]:.2f} of the gradient's map is left where the attacker does not know of the "
        f"averaging, {median[POSTERIOR, AWARE]:.2f} where he averages too, and {median[NONE, AWARE]:.2f} without a defence "
        f"(medians of a few photographs). Without a defence the search left no more than {most:.2f} of any map."
    )
