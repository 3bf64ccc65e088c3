"""What the tables of the third source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pandas as pd

from relevance.base import checks
from relevance.metrics import statistics
from relevance.metrics.statistics import HIGHER, LOWER, Interval, PairedDifference, t_interval
from relevance.studies import phrases
from relevance.studies.phrases import sentence, signed
from relevance.studies.zeng import tables
from relevance.studies.zeng.effects import L2, LINF, MARGIN_L2, MARGIN_LINF, QUANTITIES
from relevance.studies.zeng.generator.setting import ALONE, OF_CLASS
from relevance.studies.zeng.generator.setting import STANDARD as STANDARD_MAP
from relevance.studies.zeng.source import DISTILLATION, PGD, STANDARD, Setting
from relevance.studies.zeng.tables import GAIN, NAMED, RANDOM, SOBEL, areas

# What a margin attack has to undo of an accuracy for a verdict, and what an attack of another norm must leave in addition.
CLEARLY = 0.05
CONTROLS = (RANDOM, SOBEL)
SOONER = {-1: "sooner", 1: "**later**", 0: "neither sooner nor later"}


def _way(found: Interval | PairedDifference) -> int:
    """Return 1 or -1 for a difference that counts by the ledger's rule, :func:`relevance.metrics.statistics.standing`, else 0."""
    return {HIGHER: 1, LOWER: -1}.get(statistics.standing(found.low, found.high), 0)


def _sooner(found: Mapping[str, Interval], beside: str, things: str) -> str:
    ways = pd.Series({name: _way(one) for name, one in found.items()})
    told = phrases.mostly(ways, {way: f"{word} for" for way, word in SOONER.items()}, things)
    return f"Compared with {beside}, accuracy falls {told}."


@sentence
def generator_aligned(rows: pd.DataFrame) -> str:
    """Say, from :func:`generator.measures.alignment_with`, whether the generator that stands alone knows more than the class."""
    wide = rows.pivot(index="image", columns="map", values="correlation")
    found = statistics.paired_difference(wide[OF_CLASS].to_numpy(), wide[ALONE].to_numpy())
    word = {1: "nearer", 0: "neither nearer nor farther", -1: "**farther**"}[_way(found)]
    return (
        f"Maps drawn by the generator alone correlate {wide[ALONE].mean():.2f} with the gradient of a network trained under "
        f"attack; the classifier's own gradient has {wide[STANDARD_MAP].mean():.2f}, and the mean map of the class, which knows "
        f"nothing of the image, {wide[OF_CLASS].mean():.2f}: drawn ones are {word}."
    )


@sentence
def generator_faster(rows: pd.DataFrame) -> str:
    """Say what a map of the generator that stands alone costs, from :func:`generator.measures.speed` of several classifiers."""
    found = rows[rows["map"] == ALONE].set_index("classifier")["time"]
    told = [f"{time:.2f} times as long as a gradient of the {name}" for name, time in found.items()]
    return f"A map of the generator alone takes {phrases.join(told)}."


@sentence
def withstood(rows: pd.DataFrame) -> str:
    """Say which training withstands the attack on the margin best, from :func:`effects.compare`."""
    least = rows[[MARGIN_LINF, MARGIN_L2]].min(axis=1)
    return (
        f"Under the worse of two attacks (PGD on the margin, in either norm) the training *{least.idxmax()}* keeps the highest "
        f"accuracy, {least.max():.0%}; standard training keeps {least[STANDARD]:.0%}."
    )


@sentence
def undone(rows: pd.DataFrame) -> str:
    """Say whether what distillation gains under PGD stands against an attack that does not saturate, in the worse norm."""
    if DISTILLATION not in rows.index:
        return ""
    gains = (rows.loc[DISTILLATION] - rows.loc[STANDARD]).astype(float)
    seeming, real = max((gains[a], gains[b]) for a, b in ((LINF, MARGIN_LINF), (L2, MARGIN_L2)))
    if seeming <= CLEARLY:
        return "Distillation gains nothing under PGD on the cross-entropy, so there is nothing to undo."
    verdict = "the gain is **undone**" if real <= max(CLEARLY, seeming / 4) else "the gain stays, wholly or in part"
    return (
        f"Distillation gains {100 * seeming:.0f} points of accuracy under PGD on the cross-entropy, and {100 * real:.0f} on the "
        f"margin: {verdict}."
    )


@sentence
def transfer(rows: pd.DataFrame, chosen: Mapping[str, Setting]) -> str:
    """Say whether PGD training helps against attacks of the norm that was not trained on, from :func:`effects.compare`."""
    least = {"l2": rows[[LINF, MARGIN_LINF]].min(axis=1), "linf": rows[[L2, MARGIN_L2]].min(axis=1)}
    left = {name: least[one.norm] for name, one in chosen.items() if one.method == PGD}
    helped = pd.Series({name: int(own[name] > own[STANDARD] + CLEARLY) for name, own in left.items()})
    words = {1: "It helps against the other norm too in", 0: "It does not help against the other norm in"}
    return f"{phrases.mostly(helped, words, 'trainings under attack')}."


@sentence
def alignment(curve: pd.DataFrame) -> str:
    """Say whether alignment and distance grow with epsilon, from the largest of every norm (:func:`effects.by_epsilon`)."""
    last = curve.sort_values("epsilon").groupby(["quantity", "norm"], sort=False).tail(1)
    ways = phrases.direction(last["gain low"], last["gain high"])
    named = ways.set_axis(last["quantity"].map(QUANTITIES) + " in " + last["norm"])
    words = {1: "As the attack in training grows, so do", -1: "shorter become", 0: "undecided are"}
    about = "how far an image reaches in the direction of its map, and how far it is from the decision boundary, in each norm"
    return f"{phrases.mostly(named, words, 'lengths')}: {about}."


@sentence
def roar(table: pd.DataFrame, baseline: str = RANDOM) -> str:
    """Say how many attributions found more of what the classes are told by than a baseline, by the paired intervals."""
    rows = tables.differences(table, (baseline,)).drop(index=[*CONTROLS], errors="ignore")
    found = {f"*{name}*": tables.compared(row, baseline) for name, row in rows.iterrows()}
    return _sooner(found, "a random order" if baseline == RANDOM else "the image's edges", "maps")


@sentence
def faithful(rows: pd.DataFrame) -> str:
    """Say whether training for robustness, or averaging, gives maps that ROAR calls more faithful than the standard ones."""
    parts = rows.drop(index=STANDARD, errors="ignore")[[f"{GAIN}{end}" for end in ("", ", low", ", high")]]
    found = {str(row[0]): Interval(*row[1:]) for row in parts.itertuples()}
    return _sooner(found, "the standard network's map", "models")


@sentence
def rises(table: pd.DataFrame) -> str:
    """Say for how many attributions the accuracy rises as more pixels are removed (:func:`tables.rises`)."""
    found = tables.rises(table)
    if found.empty:
        return "No curve rises as more is removed by more than its seeds explain."
    count = f"{found['attribution'].nunique()} of {table['attribution'].nunique()}"
    return f"Accuracy **rises** as more than {found['first'].min():.0%} is removed for {count} rankings."


@sentence
def pair(table: pd.DataFrame, first: str, second: str) -> str:
    """Say whether the accuracy of one attribution falls sooner than that of another, by the paired interval of the areas."""
    found = areas(table)
    for name in (first, second):
        checks.one_of("attribution", name, found.index)
    paired = t_interval((found.loc[first] - found.loc[second]).to_numpy(float))
    told = f"the areas differ by {phrases.difference(paired)}"
    return f"The curve of *{first}* falls {SOONER[_way(paired)]} than that of *{second}*: {told}."


def _change(rows: pd.DataFrame, level: str) -> Interval:
    """Return by how much areas change, seed by seed, from the smallest to the largest of a level of their index."""
    means = rows.groupby(level).mean()
    return t_interval(means.iloc[-1] - means.iloc[0])


@sentence
def settings(table: pd.DataFrame) -> str:
    """Say what size and steps of PGD in training do to the areas; only trainings with names by :func:`source.by_steps` count."""
    found = areas(table)
    parts = {name: part.groups() for name in found.index if (part := NAMED.fullmatch(str(name)))}
    keys = [(norm, Fraction(size), int(steps)) for norm, size, steps in parts.values()]
    rows = found.loc[[*parts]].set_axis(pd.MultiIndex.from_tuples(keys, names=["norm", "epsilon", "steps"]))
    gains = {str(norm): _change(own, "epsilon") for norm, own in rows.groupby("norm", sort=False)}
    ways, more = {_way(gain) for gain in gains.values()}, _change(rows, "steps")
    word = "By this score, yes: from" if ways == {-1} else "No, the other way round: from" if ways == {1} else "From"
    told = phrases.join([f"{signed(gain.mean)} in {norm}" for norm, gain in gains.items()])
    open_ = ", no more than seeds explain" if len(rows.columns) > 1 and not more.direction else ""
    return (
        f"{word} the smallest attack in training to the largest the area under the curve (lower: more found) changes by {told}. "
        f"With more steps it changes by {signed(more.mean)}{open_}."
    )


@sentence
def masks(masks: pd.DataFrame, table: pd.DataFrame) -> str:
    """Say how well a network reads the class from a map's mask alone, beside whole images (both of :func:`roar.roar`)."""
    own = masks[~masks["attribution"].isin(CONTROLS)].groupby("attribution", sort=False)["accuracy"].mean()
    return (
        f"From the holes of *{own.idxmax()}* alone, without an image, a network reads the class with an accuracy of "
        f"{own.max():.2f}, and from whole images with {table.loc[table['share'] == 0, 'accuracy'].mean():.2f}."
    )


@sentence
def joint(rows: pd.DataFrame) -> str:
    """Say how many pairs of scores move together over the models; a lower ROAR counts as better."""
    pairs = tables.correlations(rows)
    together, against = (pairs["low"] > 0).sum(), (pairs["high"] < 0).sum()
    return (
        f"Of the {len(pairs)} pairs that can be made of the scores (listed below), {together} improve together over the models, "
        f"and {against} move against each other."
    )


@sentence
def steady_and_true(rows: pd.DataFrame) -> str:
    """Answer whether models with steadier maps have those that ROAR calls more faithful, by rank correlations over the models."""
    pairs = tables.correlations(rows)
    found = pairs[pairs["first"].str.startswith("LRP") & (pairs["second"] == "ROAR")]
    together = int((found["low"] > 0).sum())
    word = "Yes" if together == len(found) else "Partly" if together else "That is not seen"
    return (
        f"{word}, by the ranks of {len(rows)} models: under {together} of {len(found)} attacks, where maps are steadier, "
        "networks retrained without their top pixels also lose more accuracy."
    )


@sentence
def averages(rows: pd.DataFrame, hardened: str) -> str:
    """Say whether an ensemble stands beside one network of its kind or beside the other ensemble, by ROAR."""
    area = rows["ROAR"]
    plain, other = area["ensemble"], area[f"ensemble of {hardened}"]
    own = max(abs(plain - area[STANDARD]), abs(other - area[hardened]))
    word = "beside its own kind" if own < abs(plain - other) else "away from its own kind"
    return f"By removal and retraining, each stands {word}."
