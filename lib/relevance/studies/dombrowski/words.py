"""What the tables of the second source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance.base.environment import default_device, device_name
from relevance.metrics.deletion import deletion_area
from relevance.metrics.statistics import Interval
from relevance.studies import phrases
from relevance.studies.dombrowski import curvature
from relevance.studies.dombrowski.manipulation import MANIPULATED, NOISE
from relevance.studies.dombrowski.own_models import LOSS
from relevance.studies.dombrowski.smoothing import AWARE, BETA, NONE, POSTERIOR, SMOOTH_GRAD, UNAWARE
from relevance.studies.dombrowski.tables import differences, summary
from relevance.studies.dombrowski.theorem_1 import ROUNDING, path, planted
from relevance.studies.dombrowski.theorem_2_deep import EACH, ONE
from relevance.studies.dombrowski.theorem_2_deep import NONE as PLAIN
from relevance.studies.dombrowski.tradeoff import FAITHFULNESS
from relevance.studies.names import DETERMINISTIC
from relevance.studies.phrases import sentence

# Maps that came by less than this share of what was missing to a correlation of 1 with their targets were not led anywhere.
HARDLY = 0.1
# Noise counts as being as large as the manipulation from this share of its norm on.
AS_LARGE = 0.95


@sentence
def manipulated(table: pd.DataFrame, model: str) -> str:
    """Say for which methods most images of a model could be manipulated: the source's claim is that all could."""
    rows = summary(table[table["model"] == model])
    ways = phrases.direction(rows["manipulated, low"], rows["manipulated, high"], at=0.5)
    ways.index = pd.Index([f"{row.method} ({row.manipulated:.0%})" for row in rows.itertuples()])
    words = {
        1: "most images were manipulated for",
        -1: "fewer than half were for",
        0: "whether most or fewer than half were, these images do not decide for",
    }
    parts = phrases.by_direction(ways, words, ", ".join)
    # What stayed where it was, says how the search fared, and not what is possible.
    stuck = rows[rows["to target"] - rows["before"] < HARDLY * (1 - rows["before"])]
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


@sentence
def resists(rows: pd.DataFrame, first: str, second: str) -> str:
    """Say, from :func:`tables.differences`, for which methods the second model's maps stayed more like themselves."""
    words = {1: "more for", -1: "less for", 0: "neither more nor less for"}
    parts = phrases.by_direction(rows["direction"], words, ", ".join)
    noise = rows[(rows["noise direction"] == rows["direction"]) & (rows["direction"] != 0)]
    also = (
        f" Under noise of the same size the difference has the same sign for {', '.join(noise.index)}: there it is no "
        "matter of the attack alone."
        if len(noise)
        else ""
    )
    return f"Manipulated maps of {second}, compared with {first}, stayed like the originals {'; '.join(parts)}.{also}"


@sentence
def resisting(table: pd.DataFrame, *others: str) -> str:
    """Say how many images of each model were manipulated, and which models resist better than the deterministic one.

    Args:
        table: of :func:`manipulation.table`.
        others: models; all but the deterministic one if none is given.
    """
    models = [str(name) for name in table["model"].unique()]
    told = [manipulated(table, name) for name in models]
    for other in others or [name for name in models if name != DETERMINISTIC]:
        rows = differences(table, DETERMINISTIC, other)
        told.append(resists(rows, DETERMINISTIC, other))
    if smaller := noise(table):
        told.append(smaller)
    return "\n".join(f"- {line}" for line in told)


@sentence
def noise(table: pd.DataFrame) -> str:
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


@sentence
def helps(rows: pd.DataFrame) -> str:
    """Say, from :func:`tables.defended`, which defences help against whom."""
    lines = []
    words = {1: "steadier than without:", 0: "not distinguishable:", -1: "less steady:"}
    manipulations = [str(name).removesuffix(", direction") for name in rows if str(name).endswith(", direction")]
    for how in manipulations:
        ways = rows[f"{how}, direction"].set_axis([f"{name} {parameter}" for name, parameter in rows.index])
        parts = phrases.by_direction(ways, words, ", ".join)
        lines.append(f"- Manipulations *{how}*: {'; '.join(parts)}.")
    return "\n".join(lines)


@sentence
def smoothing(rows: pd.DataFrame) -> str:
    """Say, from :func:`smoothing.quality`, whether softplus shows what SmoothGrad does, and how much sooner."""
    soft, rest = rows[rows["method"] == BETA], rows[rows["method"] == SMOOTH_GRAD]
    fewest = rest[rest["copies"] == rest["copies"].min()]
    factor = (fewest["time"].to_numpy() / soft["time"].to_numpy()).mean()
    worst, best = (soft.iloc[int(place)] for place in (soft["correlation"].argmin(), soft["correlation"].argmax()))
    nearer = (fewest["correlation"].to_numpy() > soft["correlation"].to_numpy()).sum()
    return (
        f"The map under softplus correlates {best['correlation']:.3f} with that of SmoothGrad at beta {best['beta']:g} and "
        f"{worst['correlation']:.3f} at beta {worst['beta']:g}. It takes {soft['time'].mean():.1f} plain maps, SmoothGrad with "
        f"{int(fewest['copies'].iloc[0])} copies {factor:.0f} times as long, and its maps are nearer to the reference in "
        f"{nearer} of {len(soft)} cases."
    )


@sentence
def baselines(found: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Say which map's curve falls fastest under each baseline: title -> :func:`tradeoff.curves`."""
    told = []
    for title, panel in found.items():
        areas = {name: deletion_area(values).mean().item() for name, values in panel.items()}
        told.append(f"{title}: {phrases.ranked(areas)}")
    return f"Areas under the curves, the lowest first. {'; '.join(told)}."


@sentence
def tradeoff(compared: pd.DataFrame) -> str:
    """Say which defences are paid for with faithfulness, and how the posterior stands, from :func:`tradeoff.differences`."""
    lists: dict[str, list[str]] = {"paid": [], "free": [], "nothing": []}
    for defence, row in compared.iterrows():
        costs = any(row[f"{column} high"] < 0 for column in FAITHFULNESS)
        kind = "nothing" if row["similarity low"] <= 0 else "paid" if costs else "free"
        lists[kind].append(f"{defence} ({row['setting']})")
    listed = {kind: phrases.join(names) if names else "none" for kind, names in lists.items()}
    told = [
        f"Steadier under attack than the map without a defence, at a loss of faithfulness by deletion, infidelity or both: "
        f"{listed['paid']}. Steadier, and no such loss to be seen on these images: {listed['free']}. Less steady, or not "
        f"distinguishable: {listed['nothing']}."
    ]
    if POSTERIOR in compared.index:
        row = compared.loc[[POSTERIOR]].iloc[-1]
        parts = []
        for column, called in zip(FAITHFULNESS, ("deletion", "infidelity"), strict=True):
            low, high = row[f"{column} low"], row[f"{column} high"]
            words = "more" if low > 0 else "less" if high < 0 else "not distinguishably more or less"
            parts.append(f"by {called} {words} ({phrases.interval(Interval(row[column], low, high))})")
        told.append(
            f"Is the expected map of {row['setting']} more faithful to its posterior than the network's to the network? "
            f"{phrases.join(parts)[0].upper()}{phrases.join(parts)[1:]}."
        )
    return " ".join(told)


@sentence
def lost(faithful_rows: pd.DataFrame, below: float = 0.05) -> str:
    """Say which map of which smoothing explains less of the logit's changes than without, by more than ``below``."""
    means = faithful_rows.groupby(["defence", "setting", "map"], sort=False)["explained"].mean().reset_index()
    before = means[means["defence"] == NONE].set_index("map")["explained"]
    found = [
        f"{row['map']} under {row['defence']} ({row['setting']}: {row['explained']:.2f} instead of {before[row['map']]:.2f})"
        for row in means[means["defence"].isin([BETA, SMOOTH_GRAD])].to_dict("records")
        if row["explained"] < before[row["map"]] - below
    ]
    listed = phrases.join(found) if found else "no map"
    return f"Of the logit's changes, smoothing loses more than {below:.2f} of what is explained for: {listed}."


@sentence
def theorem_1(rows: pd.DataFrame) -> str:
    """Say of the rows of :func:`theorem_1.sweep` whether the bounds held, with how much to spare, and how curvature grew."""
    n_broken, n_gradient = ((rows[name] < 1 - ROUNDING).sum() for name in ("slack", "gradient slack"))
    n_printed = (rows["as printed"] < 1 - ROUNDING).sum()
    n_empty = (rows["bound"] >= 2).sum()
    steps = rows.groupby("beta")["curvature"].median()
    text = [
        f"Along {rows['slack'].count()} manipulations the bound for the normal was "
        + ("never broken" if not n_broken else f"broken {n_broken} times")
        + f": it exceeds what happened by a factor of {rows['slack'].min():.1f} at least, of {rows['slack'].median():.1f} in "
        f"the median and of {rows['slack'].max():.0f} at most.",
        f"The bound for the gradient itself was {'never broken' if not n_gradient else f'broken {n_gradient} times'} "
        f"(median factor {rows['gradient slack'].median():.1f}).",
        f"Curvature times length, held against the change of the unnormalised gradient, would have been too small "
        f"{n_printed} times.",
        f"{n_empty} of the bounds are above 2, which no two unit vectors can be apart, and say nothing.",
        f"When the number of points was doubled for the last time, no bound moved by more than "
        f"{rows['refinement'].max():.1%}.",
    ]
    if len(steps) > 1:
        logs = np.log(steps.index.to_numpy(float)), np.log(steps.to_numpy())
        power = np.diff(logs[1]) / np.diff(logs[0])
        text.append(
            f"The largest curvature grew from {steps.iloc[0]:.2g} at beta {steps.index[0]:g} to {steps.iloc[-1]:.2g} at beta "
            f"{steps.index[-1]:g}: as beta to the power of {power[0]:.2f} at first and of {power[-1]:.2f} at last, where the "
            "theorem's second inequality allows 1."
        )
    return " ".join(text)


@sentence
def reached(rows: pd.DataFrame) -> str:
    """Say of the rows of :func:`theorem_1.sweep` how far the manipulations got."""
    medians = rows.groupby("beta")[["to target, before", "to target, after"]].median()
    parts = [
        f"from {phrases.signed(before)} to {phrases.signed(after)} at beta {beta:g}"
        for beta, before, after in medians.itertuples()
    ]
    return (
        f"The cosine of map and target map rose, in the median, {phrases.join(parts)}. To be back on the level set of the "
        f"original, the manipulated images were moved by {rows['off the level'].median():.0%} of their distance from it."
    )


@sentence
def counterexample(beta: float = 3.0, reach: float = 1.0) -> str:
    """Say what the bound gives for :func:`planted` from y = -reach to y = reach, in both readings."""
    g = curvature.logit(planted(beta), 0)
    ends = g.coordinates(torch.tensor([[0.0, -reach], [0.0, reach]], dtype=torch.float64))
    walked, _ = path(g.function, ends[0], ends[1])
    return (
        f"Along {walked.length:g} of its level set the largest curvature is {walked.shape.largest.max().item():.1g}; the unit "
        f"normal turns by {walked.turned:.1g}, and the gradient changes by {walked.changed:.3g}, within the "
        f"{walked.gradient_bound:.3g} that the norm of the Hessian allows."
    )


@sentence
def theorem_2(rows: pd.DataFrame) -> str:
    """Say of the rows of :func:`theorem_2.theorem` how well the theorem holds."""
    error, gaussian = rows["quadrature, largest error"].max(), rows["Gaussian noise, largest error"]
    return (
        f"Quadrature and closed form differ by {error:.0e} at most{'' if error < 1e-4 else ', which is too much'}; sampling is "
        f"within {rows['sampling, standard errors'].max():.1f} standard errors of it. Gaussian noise has the slope wrong by up "
        f"to {gaussian.max():.2%} of |w|; over the betas this differs by {gaussian.max() - gaussian.min():.0e}, since beta "
        "only sets the unit of length."
    )


@sentence
def deep_networks(rows: pd.DataFrame) -> str:
    """Say of the rows of :func:`theorem_2_deep.compare` where softplus stands for SmoothGrad, and where it does not."""
    text = []
    widest = rows[rows["beta"] == rows["beta"].min()]
    for network, part in widest.groupby("network", sort=False):
        errors = part.set_index("smoothing")["error"]
        text.append(
            f"With {network} and the widest noise (sigma {part['sigma'].iloc[0]:.2g}), the gradient as it is differs from "
            f"SmoothGrad by {_percent(errors[PLAIN])} of its square, softplus with one beta by {_percent(errors[ONE])}, with "
            f"a beta for each neuron by {_percent(errors[EACH])}; by the noise of SmoothGrad alone it would be "
            f"{_percent(part['error by chance'].iloc[0])}."
        )
    by_case = rows.pivot_table("error", ["network", "beta"], "smoothing", sort=False)
    lowest = rows.groupby("smoothing")["correlation"].min()
    n_better, n_worse = (by_case[EACH] < by_case[ONE]).sum(), (by_case[ONE] > by_case[PLAIN]).sum()
    text.append(
        f"A beta for each neuron is nearer to SmoothGrad than one for all in {n_better} of {len(by_case)} cases; one beta for "
        f"all is farther from it than no smoothing in {n_worse}. As correlations the same differences look small: the lowest "
        f"is {lowest[PLAIN]:.3f} without smoothing, {lowest[ONE]:.3f} with one beta and {lowest[EACH]:.3f} with one for each "
        "neuron."
    )
    return " ".join(text)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"


@sentence
def networks(rows: pd.DataFrame) -> str:
    """Say what the recorded table of torchvision's classifiers shows: that there are maps, what they cost, and what they lose."""
    lost = (rows.set_index("network")["arrives"] - 1).abs().sort_values(kind="stable")
    n_finite, conserving = int(rows["finite"].sum()), int((lost <= 0.01).sum())
    farthest = lost.index[-1]
    kept = rows.set_index("network")["kept by"][farthest]
    return (
        f"Of {len(rows)} classifiers with random weights, {n_finite} have a finite map, for {rows['time'].median():.1f} input "
        f"gradients (median). In {conserving} the pixels get what the logit has, within 1 %. Farthest from it is {farthest}, "
        f"where the layer that keeps the most is {kept.rpartition(' ')[0]}."
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
