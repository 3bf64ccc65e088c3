"""What the tables of the second source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
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
def manipulated(runs: Mapping[str, pd.DataFrame], method: str) -> str:
    """Say of how many images the deterministic map was led to its target: run -> rows of :func:`tables.summary`."""
    shares = {}
    for name, rows in runs.items():
        own = rows[(rows["model"] == DETERMINISTIC) & (rows["method"] == method)]
        shares[name] = float(own["manipulated"].iloc[0])
    listed = phrases.join([f"{share:.0%} of the images with {name}" for name, share in shares.items()])
    return f"{'Yes' if max(shares.values()) > 0.5 else 'Not often'}: by {method}, the map was led to its target for {listed}."


@sentence
def resists(table: pd.DataFrame, model: str) -> str:
    """Say for which methods a model's maps stayed more like themselves than the deterministic one's, or under noise too."""
    rows = differences(table, DETERMINISTIC, model)
    words = {1: "more like themselves for", -1: "less like themselves for", 0: "neither for"}
    same = (rows["noise direction"] == rows["direction"])[rows["direction"] != 0]
    also = " Mere noise of that size shows the same." if len(same) and same.all() else ""
    return f"Maps of the model {model.partition(',')[0]} stayed {phrases.mostly(rows['direction'], words, 'methods')}.{also}"


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


@sentence
def on_photographs(table: pd.DataFrame) -> str:
    """Answer, from :func:`manipulation.table` of photographs, whether their maps can be led to another photograph's."""
    rows = summary(table).set_index("method")
    led = rows.index[rows["closer to target"] > 0]
    farthest = str((rows["to target"] - rows["to origin"]).idxmax())
    size = table.loc[table["change"] == MANIPULATED, "relative"].max()
    answer = "Yes, for" if len(led) else "Not in this search, for any of"
    return (
        f"**{answer} {len(led) or len(rows)} of the six methods**, with a change of at most {size:.1%} of the photograph's norm. "
        f"Farthest goes {farthest}: in the median its maps come to correlate {rows['to target'][farthest]:.2f} with the other "
        f"photograph's map and {rows['to origin'][farthest]:.2f} with their own."
    )


@sentence
def photographed(table: pd.DataFrame) -> str:
    """Say of :func:`manipulation.table` of photographs which maps stood, and whether classes and outputs were held."""
    found = table[table["change"] == MANIPULATED]
    rows = summary(table).set_index("method")
    stood = [str(name) for name in rows.index[rows["to target"] <= rows["to origin"]]]
    kept = "Every photograph kept its class" if found["label_kept"].all() else "Not every photograph kept its class"
    told = f"{kept}, and no probability moved by more than {found['output_change'].max():.2f}."
    if stood:
        told += f" More like their own than like the target stayed, in the median, the maps of {phrases.join(stood)}."
    return told


@sentence
def averaged(rows: pd.DataFrame) -> str:
    """Say of :func:`smoothing.steadiness` whether the mean over noisy weights steadies a photograph's map."""
    left = rows.groupby(["defence", "manipulation"])["similarity"].median().to_dict()
    found: dict[str, str] = {}
    for how, words in ((UNAWARE, "does not know of it"), (AWARE, "does")):
        found[words] = f"{left[NONE, how]:.2f} without and {left[POSTERIOR, how]:.2f} with it"
    word = "steadies" if left[POSTERIOR, AWARE] > left[NONE, AWARE] else "does not steady"
    listed = ", and ".join(f"{told} against an attacker who {words}" for words, told in found.items())
    return (
        f"Averaging over noisy weights {word} the gradient of these {rows['image'].nunique()} photographs when the attacker "
        f"averages too. What is left of the map is, in correlation, {listed}. So few photographs show a case, and no rule."
    )
