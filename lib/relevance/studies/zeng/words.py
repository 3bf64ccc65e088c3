"""What the tables of the third source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pandas as pd
from torch import Tensor

from relevance.base import checks
from relevance.metrics.deletion import deletion_area
from relevance.metrics.statistics import (
    HIGHER,
    LOWER,
    Interval,
    PairedDifference,
    paired_difference,
    standing,
    t_interval,
)
from relevance.studies import phrases
from relevance.studies.phrases import sentence, signed
from relevance.studies.zeng import tables
from relevance.studies.zeng.effects import L2, LINF, MARGIN_L2, MARGIN_LINF, QUANTITIES
from relevance.studies.zeng.generator.setting import ALONE, OF_CLASS
from relevance.studies.zeng.generator.setting import STANDARD as STANDARD_MAP
from relevance.studies.zeng.source import DISTILLATION, PGD, STANDARD, Setting
from relevance.studies.zeng.tables import GAIN, NAMED, RANDOM, SOBEL, areas, compared, correlations, differences

# What a margin attack has to undo of an accuracy for a verdict, and what an attack of another norm must leave in addition.
CLEARLY = 0.05
CONTROLS = (RANDOM, SOBEL)


def _way(found: Interval | PairedDifference) -> int:
    """Return 1 or -1 for a difference that counts by the ledger's rule, :func:`relevance.metrics.statistics.standing`, else 0."""
    return {HIGHER: 1, LOWER: -1}.get(standing(found.low, found.high), 0)


@sentence
def generator_aligned(rows: pd.DataFrame, measure: str = "correlation") -> str:
    """Say, from :func:`generator.measures.alignment_with`, whether the generator that stands alone knows more than the class."""
    wide = rows.pivot(index="image", columns="map", values=measure)
    found = paired_difference(wide[OF_CLASS].to_numpy(), wide[ALONE].to_numpy())
    word = {1: "nearer", 0: "neither nearer nor farther", -1: "**farther**"}[_way(found)]
    average = wide.mean()
    return (
        f"Maps drawn by the generator alone correlate {average[ALONE]:.2f} with the robust network's, and the classifier's own "
        f"gradient {average[STANDARD_MAP]:.2f}. One mean map for each class has {average[OF_CLASS]:.2f}: drawn ones are {word}."
    )


@sentence
def generator_deleted(curves: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Say, from :func:`generator.tables.curves_of`, whose order of the pixels each judge finds the most telling."""
    told: list[str] = []
    for judge, panel in curves.items():
        found = pd.Series({name: deletion_area(values).mean().item() for name, values in panel.items()})
        told.append(
            f"the {judge} {'by that' if told else 'loses the class soonest by the map'} of the *{found.idxmin()}*"
        )
    return f"As pixels are deleted, {', and '.join(told)}."


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
    best, before = str(least.idxmax()), f"{least[STANDARD]:.0%}"
    if best == STANDARD:
        return f"None of these trainings withstands both attacks better than the standard one, which keeps {before}."
    return (
        f"Under PGD on the margin, in the norm that does more harm, {best} keeps an accuracy of {least[best]:.0%}; standard "
        f"training keeps {before}."
    )


@sentence
def undone(rows: pd.DataFrame) -> str:
    """Say whether what distillation gains under PGD stands against an attack that does not saturate, in the worse norm."""
    if DISTILLATION not in rows.index:
        return ""
    gains = (rows.loc[DISTILLATION] - rows.loc[STANDARD]).astype(float)
    seeming, real = max(
        ((gains[a], gains[b]) for a, b in ((LINF, MARGIN_LINF), (L2, MARGIN_L2))), key=lambda pair: pair[0]
    )
    verdict = "the gain is **undone**" if real <= max(CLEARLY, seeming / 4) else "the gain stays, wholly or in part"
    if seeming <= CLEARLY:
        return "Distillation gains nothing under PGD on the cross-entropy, so there is nothing to undo."
    points = (
        f"{100 * seeming:.0f} points of accuracy under PGD on the cross-entropy, and {100 * real:.0f} on the margin"
    )
    return f"Distillation gains {points}: {verdict}."


@sentence
def transfer(rows: pd.DataFrame, chosen: Mapping[str, Setting]) -> str:
    """Say whether PGD training helps against attacks of the norm that was not trained on, from :func:`effects.compare`."""
    helped = {}
    for name, setting in chosen.items():
        if setting.method == PGD:
            other = [L2, MARGIN_L2] if setting.norm == "linf" else [LINF, MARGIN_LINF]
            least = {str(training): float(worst) for training, worst in rows[other].min(axis=1).items()}
            helped[name] = int(least[name] > least[STANDARD] + CLEARLY)
    words = {1: "It helps against the other norm too in", 0: "It does not help against the other norm in"}
    return f"{phrases.mostly(pd.Series(helped), words, 'trainings under attack')}."


@sentence
def alignment(curve: pd.DataFrame) -> str:
    """Say whether alignment and distance grow with epsilon, from the largest of every norm (:func:`effects.by_epsilon`)."""
    last = curve.sort_values("epsilon").groupby(["quantity", "norm"], sort=False).tail(1)
    names = [f"{QUANTITIES[one]} in {norm}" for one, norm in zip(last["quantity"], last["norm"], strict=True)]
    ways = phrases.direction(last["gain low"], last["gain high"]).set_axis(names)
    words = {1: "As the attack in training grows, so do", -1: "shorter become", 0: "undecided are"}
    about = "how far a map points along its image, and how far the image is from the decision boundary, in each norm"
    return f"{phrases.mostly(ways, words, 'lengths')}: {about}."


@sentence
def roar(table: pd.DataFrame, baseline: str = RANDOM) -> str:
    """Say how many attributions found more of what the classes are told by than a baseline, by the paired intervals."""
    found = differences(table, (baseline,))
    ways = {f"*{name}*": _way(compared(row, baseline)) for name, row in found.iterrows() if name not in CONTROLS}
    order = "a random order" if baseline == RANDOM else "the image's edges"
    words = {-1: "sooner for", 1: "**later** for", 0: "neither sooner nor later for"}
    return f"Compared with {order}, accuracy falls {phrases.mostly(pd.Series(ways), words, 'maps')}."


@sentence
def rises(table: pd.DataFrame) -> str:
    """Say for how many attributions the accuracy rises as more pixels are removed (:func:`tables.rises`)."""
    found = tables.rises(table)
    if found.empty:
        return "No curve rises as more is removed by more than its seeds explain."
    n_maps = table["attribution"].nunique()
    n_rising, first = found["attribution"].nunique(), found["first"].min()
    return f"Accuracy **rises** as more than {first:.0%} is removed for {n_rising} of {n_maps} rankings."


@sentence
def pair(table: pd.DataFrame, first: str, second: str) -> str:
    """Say whether the accuracy of one attribution falls sooner than that of another, by the paired interval of the areas."""
    found = areas(table)
    for name in (first, second):
        checks.one_of("attribution", name, found.index)
    paired = t_interval(found.loc[first].to_numpy(float) - found.loc[second].to_numpy(float))
    verb = {-1: "falls **sooner** than", 1: "falls **later** than", 0: "falls neither sooner nor later than"}[
        _way(paired)
    ]
    return f"The curve of *{first}* {verb} that of *{second}*: the areas differ by {phrases.difference(paired)}."


@sentence
def settings(table: pd.DataFrame) -> str:
    """Say what the size and the steps of PGD in training do to the areas, by differences that are paired by seed.

    Args:
        table: of :func:`roar.roar` or :func:`source.as_roar`; trainings named as by :func:`source.by_steps`. Others are left out.
    """
    found = areas(table)
    parts = [NAMED.fullmatch(str(name)) for name in found.index]
    rows = found[[part is not None for part in parts]]
    named = [(part[1], Fraction(part[2]), int(part[3])) for part in parts if part]
    rows.index = pd.MultiIndex.from_tuples(named, names=["norm", "epsilon", "steps"])
    told, ways = [], set()
    for norm, own in rows.groupby("norm", sort=False):
        by_size = own.groupby("epsilon").mean()
        if len(by_size) > 1:
            gain = t_interval(by_size.iloc[-1] - by_size.iloc[0])
            told.append(f"{signed(gain.mean)} in {norm}")
            ways.add(_way(gain))
    if not told:
        return "There is one size only."
    word = "Yes, by this score: from" if ways == {-1} else "No, the other way round: from" if ways == {1} else "From"
    said = f"{word} the smallest attack in training to the largest the area under the curve changes by {phrases.join(told)}."
    by_steps = rows.groupby("steps").mean()
    if len(by_steps) > 1:
        gain = t_interval(by_steps.iloc[-1] - by_steps.iloc[0])
        open_ = ", no more than seeds explain" if len(rows.columns) > 1 and not gain.direction else ""
        said += f" With more steps it changes by {signed(gain.mean)}{open_}."
    return said


@sentence
def masks(masks: pd.DataFrame, table: pd.DataFrame, n_classes: int) -> str:
    """Say how well a network reads the class from a map's mask alone, beside what it reaches on whole images.

    Args:
        masks: of :func:`roar.roar` with ``sees="mask"``.
        table: the same of images; what is reached on whole images is taken from it.
        n_classes: of the data, whose inverse is chance.
    """
    own = masks[~masks["attribution"].isin(CONTROLS)].groupby("attribution", sort=False)["accuracy"].mean()
    whole = float(table.loc[table["share"] == 0, "accuracy"].mean())
    return (
        f"From the holes of *{own.idxmax()}* alone, without an image, a network reads the class with an accuracy of "
        f"{own.max():.2f}, and from whole images with {whole:.2f} (chance {1 / n_classes:.2f})."
    )


@sentence
def joint(rows: pd.DataFrame) -> str:
    """Say how many pairs of scores move together over the models; a lower ROAR counts as better."""
    pairs = correlations(rows)
    together, against = int((pairs["low"] > 0).sum()), int((pairs["high"] < 0).sum())
    return f"Of {len(pairs)} pairs of scores, {together} improve together over the models and {against} move against each other."


@sentence
def steady_and_true(rows: pd.DataFrame) -> str:
    """Answer whether models with steadier maps have those that ROAR calls more faithful, by rank correlations over the models."""
    pairs = correlations(rows)
    found = pairs[pairs["first"].str.startswith("LRP") & (pairs["second"] == "ROAR")]
    together = int((found["low"] > 0).sum())
    word = "Yes" if together == len(found) else "Partly" if together else "That is not seen"
    return (
        f"{word}: under {together} of {len(found)} attacks a network retrained without a steadier map's top pixels fails sooner. "
        f"The rank correlations over {len(rows)} models are {found['rho'].min():.2f} to {found['rho'].max():.2f}."
    )


@sentence
def averages(rows: pd.DataFrame, hardened: str) -> str:
    """Say whether an ensemble stands beside one network of its kind or beside the other ensemble, by ROAR."""
    area = rows["ROAR"]
    plain, other = "ensemble", f"ensemble of {hardened}"
    own = max(abs(area[plain] - area[STANDARD]), abs(area[other] - area[hardened]))
    word = "beside its own kind" if own < abs(area[plain] - area[other]) else "away from its own kind"
    return (
        f"By removal and retraining, each stands {word}. The ensemble of standard networks has {area[plain]:.2f}, and one such "
        f"network {area[STANDARD]:.2f}; that of hardened ones has {area[other]:.2f}, and one of them {area[hardened]:.2f}."
    )


@sentence
def faithful(rows: pd.DataFrame) -> str:
    """Answer whether training for robustness, or averaging, gives maps that ROAR calls more faithful than the standard ones."""
    others = rows.drop(index=STANDARD, errors="ignore")
    parts = zip(*(others[f"{GAIN}{end}"] for end in ("", ", low", ", high")), strict=True)
    ways = pd.Series([_way(Interval(*one)) for one in parts], others.index)
    words = {-1: "sooner for", 1: "later for", 0: "neither sooner nor later for"}
    return f"Compared with the standard network's map, accuracy falls {phrases.mostly(ways, words, 'models')}."
