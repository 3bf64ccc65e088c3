"""What the tables of the second source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import torch

from relevance.base.environment import default_device, device_name
from relevance.studies import phrases
from relevance.studies.dombrowski.manipulation import MANIPULATED
from relevance.studies.dombrowski.own_models import LOSS
from relevance.studies.dombrowski.smoothing import AWARE, BETA, NONE, POSTERIOR, SMOOTH_GRAD, UNAWARE
from relevance.studies.dombrowski.tables import chosen, differences, summary
from relevance.studies.dombrowski.theorem_1 import ROUNDING
from relevance.studies.dombrowski.theorem_2_deep import EACH, ONE
from relevance.studies.dombrowski.theorem_2_deep import NONE as PLAIN
from relevance.studies.dombrowski.tradeoff import FAITHFULNESS
from relevance.studies.gates import FEWEST
from relevance.studies.names import DETERMINISTIC
from relevance.studies.phrases import sentence


@sentence
def manipulated(runs: Mapping[str, pd.DataFrame], methods: Sequence[str]) -> str:
    """Say of how many images deterministic maps were led to their targets: run -> rows of :func:`tables.summary`."""
    told, most = [], 0.0
    for method in methods:
        shares = {}
        for name, rows in runs.items():
            own = rows[(rows["model"] == DETERMINISTIC) & (rows["method"] == method)]
            shares[name] = float(own["manipulated"].iloc[0])
        most = max(most, *shares.values())
        listed = phrases.join([f"{share:.0%} with {name}" for name, share in shares.items()])
        told.append(f"Of maps by the method *{method}*, {listed} were led to their targets.")
    return f"**{'Yes' if most > 0.5 else 'Not often'}.** {' '.join(told)}"


@sentence
def resists(table: pd.DataFrame, model: str) -> str:
    """Say for which methods a model's maps stayed more like themselves than the deterministic one's, or under noise too."""
    rows = differences(table, DETERMINISTIC, model)
    words = {1: "more like themselves for", -1: "less for", 0: "cannot be told apart for"}
    same = (rows["noise direction"] == rows["direction"])[rows["direction"] != 0]
    also = " Under mere noise of that size it is the same way round." if len(same) and same.all() else ""
    return (
        f"Beside a single network's, the mean maps stayed {phrases.mostly(rows['direction'], words, 'methods')}.{also}"
    )


@sentence
def steadiest(rows: pd.DataFrame, manipulation: str = AWARE) -> str:
    """Say, from :func:`smoothing.steadiness`, which defence keeps maps best against an attacker (:func:`tables.chosen`)."""
    known = rows[rows["manipulation"] == manipulation]
    left = chosen(known)["median"]
    best, attacker = str(left.idxmax()), "knows" if manipulation == AWARE else "does not know"
    told = f"Against an attacker who {attacker} of the defence, "
    if best == NONE:
        return f"{told}no defence helps: without one the map keeps a correlation of {left[NONE]:.2f} with the original."
    few = " (too few images for a verdict)" if known["image"].nunique() < FEWEST else ""
    return (
        f"{told}{best} keeps the map best: it correlates {left[best]:.2f} with the original, and without a defence "
        f"{left[NONE]:.2f}{few}."
    )


@sentence
def smoothing(rows: pd.DataFrame) -> str:
    """Say, from :func:`smoothing.quality`, whether softplus shows what SmoothGrad does, and how much sooner."""
    soft, rest = rows[rows["method"] == BETA], rows[rows["method"] == SMOOTH_GRAD]
    fewest = rest[rest["copies"] == rest["copies"].min()]
    factor = (fewest["time"].to_numpy() / soft["time"].to_numpy()).mean()
    return (
        f"The map under softplus correlates at least {soft['correlation'].min():.3f} with SmoothGrad's. SmoothGrad with "
        f"{int(fewest['copies'].iloc[0])} copies takes {factor:.0f} times as long."
    )


@sentence
def tradeoff(compared: pd.DataFrame, explained: str, n_images: int) -> str:
    """Say how many defences make a map steadier, and how many of these pay with faithfulness (:func:`tradeoff.differences`)."""
    steadier = compared[compared["similarity low"] > 0]
    paid = (steadier[[f"{column} high" for column in FAITHFULNESS]] < 0).any(axis=1)
    price = "none of them is seen to cost faithfulness"
    if paid.any():
        price = f"{'all' if paid.all() else int(paid.sum())} of them cost faithfulness"
    return (
        f"Of {len(compared)} settings of defences, {len(steadier)} make the {explained}'s map steadier under attack; on these "
        f"{n_images} images {price}."
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
    held = f"was broken {broken} times" if broken else "was never broken"
    spare = rows.groupby("beta")["slack"].median()
    return (
        f"On {rows['slack'].count()} paths to manipulated images, of {spare.size} networks that differ in sharpness alone, the "
        f"bound on the map's direction {held}. It is {spare.iloc[0]:.1f} times too high for the softest and "
        f"{spare.iloc[-1]:.0f} times for the sharpest."
    )


@sentence
def deep_networks(rows: pd.DataFrame) -> str:
    """Say of the rows of :func:`theorem_2_deep.compare` how far softplus is from SmoothGrad in the deepest network."""
    part = rows[(rows["beta"] == rows["beta"].min()) & (rows["network"] == rows["network"].iloc[-1])]
    errors = part.set_index("smoothing")["error"]
    return (
        "In the deepest network and the widest noise, the plain map's squared distance from SmoothGrad is "
        f"{errors[PLAIN]:.0%} of SmoothGrad's square; with one beta for all it is {errors[ONE]:.0%}, with a beta for each neuron "
        f"{errors[EACH]:.0%}."
    )


@sentence
def networks(rows: pd.DataFrame) -> str:
    """Say what the recorded table of torchvision's classifiers shows: that there are maps, what they cost, and what they lose."""
    lost = (rows.set_index("network")["arrives"] - 1).abs().sort_values(kind="stable")
    n_finite, conserving = int(rows["finite"].sum()), int((lost <= 0.01).sum())
    farthest = lost.index[-1]
    kept = rows.set_index("network")["kept by"][farthest]
    return (
        f"Of {len(rows)} classifiers with random weights, {n_finite} have a finite map, in {rows['time'].median():.1f} times the "
        f"time of a gradient (median). In {conserving} the pixels get what the logit has, within 1 %. Farthest from it is "
        f"{farthest}, where the layer that keeps the most is {kept.rpartition(' ')[0]}."
    )


@sentence
def large_networks(rows: pd.DataFrame) -> str:
    """Say what a recorded epsilon map of large networks costs in input gradients, beside other libraries.

    Args:
        rows: ``network``, ``map``, and ``time`` and ``memory`` in units of bare autograd.
    """
    told = {}
    for name, map_ in (("ours", "epsilon LRP"), ("zennit", "epsilon LRP, zennit"), ("captum", "epsilon LRP, captum")):
        times = [f"{time:.1f}" for time in sorted(rows.loc[rows["map"] == map_, "time"])]
        told[name] = " to ".join(dict.fromkeys(times[:1] + times[-1:])) or "no number of"
    (most,) = rows.loc[rows["map"] == "epsilon LRP", "memory"].nlargest(1)
    return (
        f"On {rows['network'].nunique()} networks with images of 224 pixels a map by the epsilon rule takes the time of "
        f"{told['ours']} input gradients of bare autograd, and {most:.0%} of its memory at most; zennit's takes that of "
        f"{told['zennit']}, captum's that of {told['captum']}, where they run."
    )


@sentence
def own_models(rows: pd.DataFrame) -> str:
    """Say what rows of :func:`own_models.compare` stand on and show, and where published weights would be if one is missing."""
    nearer = list(rows.index[rows[LOSS] < 1])
    if not nearer:
        text = "One step brought no network's map nearer to its target."
    elif len(nearer) == len(rows):
        text = f"One step brought the maps of all {len(rows)} networks nearer to their targets."
    else:
        text = f"One step brought the map nearer to its target for {phrases.join(nearer)}, and not for the others."
    random = [str(name) for name, weights in rows["weights"].items() if str(weights).startswith("random")]
    if random:
        text += (
            f" The weights of {phrases.join(random)} are random, since their published files are not on this machine: they are "
            f"looked for in {phrases.join([f'`{place}`' for place in _places()])}, and `pretrained.load` downloads them where "
            "there is a network. What such a network says of an image means nothing; that the same calls go through does."
        )
    today = datetime.now(UTC).date().isoformat()
    return f"*This build.* {today}, {device_name(default_device())}, torch {torch.__version__}. {text}"


def _places() -> list[str]:
    # In words where they are the same for every reader; a book does not name one machine's folders.
    return ["$RELEVANCE_DATA", "$RELEVANCE_DATA/weights", "$TORCH_HOME/hub/checkpoints"]


def _led(rows: pd.DataFrame) -> pd.Series:
    """Return on how many photographs each method's map came nearer to the target than to itself, by rows of its summary."""
    return (rows["closer to target"] * rows["images"]).round().astype(int)


@sentence
def on_photographs(table: pd.DataFrame) -> str:
    """Answer, from :func:`manipulation.table` of photographs, whether their maps can be led to another photograph's."""
    rows = summary(table).set_index("method")
    farthest = str((rows["to target"] - rows["to origin"]).idxmax())
    size = table.loc[table["change"] == MANIPULATED, "relative"].max()
    n_led, count = int((_led(rows) > 0).sum()), int(rows["images"].iloc[0])
    answer = f"Yes, with the maps of {n_led}" if n_led else "Not in this search, with the maps of any"
    where = f", on at least one of {count} photographs" if n_led else ""
    return (
        f"**{answer} of {len(rows)} methods{where}**, by a change of at most {size:.1%} of the photograph's norm. "
        f"Farthest goes {farthest}: in the median its maps come to correlate {rows['to target'][farthest]:.2f} with the other "
        f"photograph's map and {rows['to origin'][farthest]:.2f} with their own."
    )


@sentence
def photographed(table: pd.DataFrame, again: pd.DataFrame) -> str:
    """Say of two searches among photographs which maps were led, and whether classes and outputs were held.

    Args:
        table: of :func:`manipulation.table`.
        again: the same of a search along another softened network.
    """
    both = pd.concat([table, again])
    found = both[both["change"] == MANIPULATED]
    rows, others = (summary(one).set_index("method") for one in (table, again))
    led, count = _led(rows), int(rows["images"].iloc[0])
    where = {count: "on every photograph", 0: "on none"} | {n: f"on {n} of {count}" for n in range(1, count)}
    by_count = {n: phrases.join([str(one) for one in led.index[led == n]]) for n in sorted(set(led), reverse=True)}
    told = [f"those of {methods} {where[n]}" for n, methods in by_count.items()]
    gain = _led(others).reindex(led.index) - led
    by = {"more": gain > 0, "fewer": gain < 0}
    differ = " and ".join(
        f"{word} by {phrases.join([str(one) for one in led.index[who]])}" for word, who in by.items() if who.any()
    )
    kept = "Every photograph kept its class" if found["label_kept"].all() else "Not every photograph kept its class"
    return (
        f"Where maps were led: {'; '.join(told)}. A second search, along another softened network, leads {differ or 'as many'}. "
        f"{kept}, and no probability moved by more than {found['output_change'].max():.2f}."
    )


@sentence
def averaged(rows: pd.DataFrame) -> str:
    """Say of :func:`smoothing.steadiness` what is left of photographs' maps, with the mean over noisy weights and without."""
    left = rows.groupby(["defence", "manipulation"])["similarity"]
    medians, most = left.median().to_dict(), left.max().to_dict()
    return (
        f"In correlation, {medians[POSTERIOR, UNAWARE]:.2f} of the gradient's map is left where the attacker does not know of "
        f"the averaging, {medians[POSTERIOR, AWARE]:.2f} where he averages too, and {medians[NONE, AWARE]:.2f} without a defence "
        f"(medians of {rows['image'].nunique()} photographs: a case, and no rule). Without a defence the search left no more "
        f"than {most[NONE, AWARE]:.2f} of any map."
    )
