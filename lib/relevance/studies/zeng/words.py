"""What the tables of the third source say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import pandas as pd
from torch import Tensor

from relevance.base import checks
from relevance.metrics.deletion import deletion_area
from relevance.metrics.statistics import Interval, paired_difference, spearman, t_interval
from relevance.studies import phrases
from relevance.studies.phrases import interval, join, sentence, signed
from relevance.studies.zeng import source, tables
from relevance.studies.zeng.effects import CLEAN, L2, LINF, MARGIN_L2, MARGIN_LINF, MEDIAN, NORM, QUANTITIES, ZERO
from relevance.studies.zeng.generator.setting import GENERATED, MEAN, OF_CLASS, OTHER
from relevance.studies.zeng.generator.setting import STANDARD as STANDARD_MAPS
from relevance.studies.zeng.generator.tables import means
from relevance.studies.zeng.source import DISTILLATION, JACOBIAN, PGD, STANDARD, Setting
from relevance.studies.zeng.tables import (
    BETTER_LOW,
    BLIND,
    FGSM,
    GAIN,
    NAMED,
    RANDOM,
    SCORES,
    SOBEL,
    TOLERATED,
    _attacked,
    accuracies,
    areas,
    compared,
    correlations,
    differences,
)


@sentence
def generator_aligned(rows: pd.DataFrame, measure: str = "correlation") -> str:
    """Say, from :func:`generator.measures.alignment_with`, whether generators know more than the mean map of a class."""
    wide = rows.pivot(index="image", columns="map", values=measure)
    told = []
    for name in GENERATED:
        found = paired_difference(wide[OF_CLASS].to_numpy(), wide[name].to_numpy())
        word = {1: "more", 0: "neither more nor less, as far as these images tell,", -1: "less"}[found.direction]
        told.append(f"the {name} knows {word} than the {OF_CLASS}, by {phrases.interval(found)}")
    average = wide.mean()
    text = (
        f"By {measure} with the robust network's saliency, {phrases.join(told)}. One map for all images reaches "
        f"{average[MEAN]:.3f}, the {STANDARD_MAPS} {average[STANDARD_MAPS]:.3f}, another image's robust map {average[OTHER]:.3f}."
    )
    if "beyond the class" in rows:
        rest = means(rows)["beyond the class"]
        text += (
            " Of what is particular to an image, beyond its class, the correlations are "
            f"{phrases.join([f'{rest[name]:.3f} ({name})' for name in (*GENERATED, STANDARD_MAPS)])}."
        )
    return text


@sentence
def generator_deleted(curves: Mapping[str, Mapping[str, Tensor]]) -> str:
    """Say, from :func:`generator.tables.curves_of`, whether generators order pixels better than the class's mean map."""
    told = []
    for title, panel in curves.items():
        areas = {name: deletion_area(values) for name, values in panel.items()}
        parts = [f"{name} {phrases.interval(paired_difference(areas[OF_CLASS], areas[name]))}" for name in GENERATED]
        ranked = phrases.ranked({name: own.mean().item() for name, own in areas.items()})
        told.append(f"Judged by the {title}: {ranked}. Difference from the {OF_CLASS}: {phrases.join(parts)}.")
    return f"Areas under the curves, the lowest (the most telling) first. {' '.join(told)}"


@sentence
def generator_faster(rows: pd.DataFrame) -> str:
    """Say what a generated map costs, from :func:`generator.measures.speed` of one or several classifiers."""
    told = []
    for classifier, part in rows.groupby("classifier", sort=False):
        found = part.set_index("map")["time"]
        times = [f"{found[name]:.2f} times ({name})" for name in GENERATED if name in found]
        told.append(f"{phrases.join(times)} as long as a gradient of the {classifier}")
    return f"A generated map takes {'; '.join(told)}."


@sentence
def generator_steady(rows: pd.DataFrame) -> str:
    """Say, from :func:`generator.measures.steadiness`, which map stays best under each change."""
    averages = means(rows)
    told = [
        f"{change}: {phrases.ranked(averages[change], '.2f', ascending=False)}"
        for change in ("noise", "FGSM", "manipulated")
    ]
    unlike = ", ".join(f"{name!s} {value:.2f}" for name, value in averages["unrelated"].items())
    return f"Overlap of the top pixels, the steadiest first. {'; '.join(told)}. Maps of different images overlap by: {unlike}."


@sentence
def generator_sane(rows: pd.DataFrame) -> str:
    """Say, from :func:`generator.measures.sanity`, which maps notice that the classifier has forgotten everything."""
    table = rows.set_index("random layers")
    last, first = table.iloc[-1], table.iloc[1]
    blind = [str(name) for name in table.columns if last[name] > 1 - 1e-6]
    rest = [f"{name} {phrases.signed(last[name])}" for name in table.columns if name not in blind]
    unmoved = [str(name) for name in table.columns if first[name] > 1 - 1e-6]
    text = f"With every layer of the classifier random, rank correlations with the map before are: {', '.join(rest)}."
    if blind:
        text += (
            f" The map of the {phrases.join(blind)} is **exactly the same**: it fails the check, since it never asks the "
            "classifier."
        )
    if half := [name for name in unmoved if name not in blind]:
        text += f" The map of the {phrases.join(half)} does not notice a random output layer, which it does not read."
    return text


# What a margin attack has to undo of an accuracy for a verdict, and what an attack of another norm must leave in addition.
CLEARLY = 0.05


@sentence
def gradients(rows: pd.DataFrame) -> str:
    """Say what each defence does to gradients, and what the margin attack leaves of it, from :func:`effects.compare`."""
    table = _plain(rows)
    standard = table[STANDARD]
    told = []
    if JACOBIAN in table:
        ratio = table[JACOBIAN][NORM] / standard[NORM]
        told.append(
            f"Jacobian regularisation multiplies the mean norm of the loss's gradient by {ratio:.3g}, so it "
            + ("lowers it" if ratio < 1 else "does **not** lower it")
            + f"; the *median* goes from {standard[MEDIAN]:.3g} to {table[JACOBIAN][MEDIAN]:.3g}."
        )
        if ratio < 1 and table[JACOBIAN][MEDIAN] > standard[MEDIAN]:
            told.append(
                "It takes away the large gradients, of which the penalty is made, and **not** those of most images."
            )
    if DISTILLATION in table:
        row = table[DISTILLATION]
        told.append(
            f"Distillation brings the *median* norm from {standard[MEDIAN]:.3g} to {row[MEDIAN]:.3g}, the *mean* from "
            f"{standard[NORM]:.3g} to {row[NORM]:.3g}; the gradient is exactly zero on {row[ZERO]:.0%} of the images "
            f"(standard: {standard[ZERO]:.0%}). Its accuracy on clean images is {row[CLEAN]:.0%} "
            f"({standard[CLEAN]:.0%}) after as many epochs."
        )
        if row[MEDIAN] < standard[MEDIAN] and row[NORM] > standard[NORM]:
            told.append(
                "So it shrinks for most images and **grows** for the rest: with logits so large, the loss is flat where the "
                "network is right and steep where it is wrong."
            )
        for norm, entropy, margin in (("maximum", LINF, MARGIN_LINF), ("Euclidean", L2, MARGIN_L2)):
            told.append(
                f"In the {norm} norm PGD on the cross-entropy leaves it an accuracy of {row[entropy]:.0%} "
                f"(standard: {standard[entropy]:.0%}), PGD on the margin {row[margin]:.0%} ({standard[margin]:.0%}): "
                + _undone(row[entropy] - standard[entropy], row[margin] - standard[margin])
            )
    return " ".join(told)


def _plain(rows: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Return a table as its rows by name."""
    return {
        str(name): {str(column): float(value) for column, value in row.items()}
        for name, row in rows.to_dict("index").items()
    }


def _undone(seeming: float, real: float) -> str:
    """Say what is left of a gain in accuracy under an attack that does not saturate."""
    if seeming <= CLEARLY:
        return "there was no gain to undo."
    if real <= max(CLEARLY, seeming / 4):
        return "the gain is **undone** by an attack that does not saturate."
    return "the gain is **not** undone, or not wholly, by an attack that does not saturate."


@sentence
def transfer(rows: pd.DataFrame, chosen: Mapping[str, Setting]) -> str:
    """Say whether PGD training helps against attacks of the norm that was not trained on, from :func:`effects.compare`."""
    table = _plain(rows)
    helped: list[str] = []
    failed: list[str] = []
    for name, setting in chosen.items():
        if setting.method != PGD:
            continue
        columns = (L2, MARGIN_L2) if setting.norm == "linf" else (LINF, MARGIN_LINF)
        before, after = (min(table[one][column] for column in columns) for one in (STANDARD, name))
        (helped if after > before + CLEARLY else failed).append(f"{name} (from {before:.0%} to {after:.0%})")
    text = (
        "Accuracy under the stronger of the two PGD attacks in the *other* norm rises by more than "
        f"{100 * CLEARLY:.0f} points for " + (phrases.join(helped) if helped else "**no** training")
    )
    return text + (f"; not for {phrases.join(failed)}." if failed else ".")


@sentence
def alignment(curve: pd.DataFrame) -> str:
    """Say whether alignment and distance grow with epsilon, norm by norm, from :func:`effects.by_epsilon`."""
    told = []
    for norm, part in curve.groupby("norm", sort=False):
        for quantity, called in QUANTITIES.items():
            line = part[part["quantity"] == quantity].sort_values("epsilon")
            first, last = line.iloc[0].to_dict(), line.iloc[-1].to_dict()
            steady = bool((line["mean"].diff().dropna() > 0).all())
            gain = Interval(last["gain"], last["gain low"], last["gain high"])
            verdict = (
                "it grows" + (" from each size to the next." if steady else ", but not from each size to the next.")
                if gain.direction > 0
                else "it **falls**."
                if gain.direction < 0
                else "**not decided** by these images."
            )
            told.append(
                f"From standard training to PGD-{norm} with epsilon {last['epsilon']:.3g}, the {called} goes from "
                f"{first['mean']:.2f} to {last['mean']:.2f}, a difference of {phrases.interval(gain)}: {verdict}"
            )
    return " ".join(told)


@sentence
def bound(told: pd.DataFrame) -> str:
    """Say how much of the bound is the error term, and how much of it is an identity, from :func:`effects.summary`."""
    needed = told["needed"]
    share = told["bias"] / told["alignment"]
    inside = told["rank correlation"]
    parts = [
        f"If rho is as large as its upper bound, the bound needs its error term on {needed.min():.0%} ({needed.idxmin()}) to "
        f"{needed.max():.0%} ({needed.idxmax()}) of the images; its mean is {told['xi'].min():.2f} to {told['xi'].max():.2f}.",
        f"The biases make a difference between alignment and first-order distance of at most {share.max():.1%} of the "
        f"alignment ({share.idxmax()}), in the mean over images.",
        f"From image to image, the rank correlation of alignment and rho is {phrases.signed(inside.min())} "
        f"({inside.idxmin()}) to {phrases.signed(inside.max())} ({inside.idxmax()}).",
    ]
    if len(told) >= 4:
        order = spearman(told["alignment"].to_numpy(), told["rho"].to_numpy())
        said = (
            "both put them in the same order."
            if order.rho == 1
            else f"their rank correlation is {phrases.interval(Interval(order.rho, order.low, order.high))}."
        )
        parts.append(f"Over the means of the {len(told)} trainings, {said}")
    return " ".join(parts)


# So many names are read in a sentence; a table has the rest.
LISTED = 6


@sentence
def roar(table: pd.DataFrame, baselines: Sequence[str] = (RANDOM, SOBEL)) -> str:
    """Say which attributions found more of what the classes are told by than each baseline, by the paired intervals.

    A difference counts as one only where its whole 95 % interval (:func:`differences`) lies on one side of zero; with one seed
    none does.
    """
    found = differences(table, baselines)
    n_seeds = table["seed"].nunique()
    parts = []
    for baseline in baselines:
        paired = {str(name): compared(row, baseline) for name, row in found.iterrows() if name != baseline}
        ways = pd.Series({f"{name} ({signed(one.mean)})": one.direction for name, one in paired.items()})
        words = {
            -1: f"Accuracy falls sooner than in the {baseline} order for",
            1: f"It falls **later** than in the {baseline} order for",
            0: f"Not told apart from the {baseline} order by {n_seeds} seeds:",
        }
        parts += [f"{part}." for part in phrases.by_direction(ways, words, _listed)]
    if parts:
        parts.append("(In brackets: the difference of the areas.)")
    own = [str(name) for name in found.index if name not in baselines]
    if len(own) > 1:
        parts.append(f"By the mean area {own[0]} comes first and {own[-1]} last among the explanations.")
    return " ".join(parts)


def _listed(entries: Sequence[str]) -> str:
    """Join entries that have commas of their own by semicolons; of many, the first ones, their number and the last."""
    if len(entries) <= LISTED:
        return "; ".join(entries)
    first = "; ".join(entries[: LISTED // 2])
    return f"{first}; and {len(entries) - LISTED // 2} more, the last {entries[-1]}"


@sentence
def rises(table: pd.DataFrame) -> str:
    """Say for which attributions the accuracy rises as more pixels are removed (:func:`tables.rises`)."""
    found = tables.rises(table)
    if found.empty:
        return "No curve rises as more is removed by more than its seeds explain."
    told = [
        f"from {first:.0%} to {second:.0%} for "
        + _listed([f"{row['attribution']} ({signed(row['gain'])})" for row in part.to_dict("records")])
        for (first, second), part in found.groupby(["first", "second"], sort=False)
    ]
    return (
        f"Accuracy **rises** as more is removed, {', and '.join(told)}. Less of the image is left, so it is most likely the "
        "shape of the holes that tells the class there, and the areas of these curves are no measure of what the maps had found."
    )


@sentence
def pair(table: pd.DataFrame, first: str, second: str) -> str:
    """Say whether the accuracy of one attribution falls sooner than that of another, by the paired interval of the areas."""
    found = areas(table)
    for name in (first, second):
        checks.one_of("attribution", name, found.index)
    paired = t_interval(found.loc[first].to_numpy(float) - found.loc[second].to_numpy(float))
    verb = {-1: "falls **sooner** than", 1: "falls **later** than", 0: "cannot be told apart from"}[paired.direction]
    return f"The curve of *{first}* {verb} that of *{second}*: the difference of their areas is {interval(paired)}."


@sentence
def settings(table: pd.DataFrame) -> str:
    """Say what the size, the steps and the norm of PGD in training do to the areas, by differences that are paired by seed.

    Args:
        table: of :func:`roar.roar` or :func:`source.as_roar`; trainings named as by
            :func:`source.by_steps`. Others are left out, and so is the share 0, which the source has not.
    """
    found = areas(table[table["share"] > 0])
    parts = [NAMED.fullmatch(str(name)) for name in found.index]
    rows = found[[part is not None for part in parts]]
    rows.index = pd.MultiIndex.from_tuples(
        [(part[1], Fraction(part[2]), int(part[3])) for part in parts if part], names=["norm", "epsilon", "steps"]
    )
    told = []
    for norm, own in rows.groupby("norm", sort=False):
        by_size = own.groupby("epsilon").mean()
        if len(by_size) > 1:
            told.append(
                f"from the smallest to the largest epsilon in {norm} {_changed(by_size.iloc[-1] - by_size.iloc[0])}"
            )
    by_steps = rows.groupby("steps").mean()
    if len(by_steps) > 1:
        steps = f"from {by_steps.index[0]} to {by_steps.index[-1]} steps"
        told.append(f"{steps}, in the mean over sizes, {_changed(by_steps.iloc[-1] - by_steps.iloc[0])}")
    by_norm = rows.groupby("norm").mean()
    if len(by_norm) > 1:
        told.append(
            f"from l2 to linf, in the mean over sizes and steps, {_changed(by_norm.loc['linf'] - by_norm.loc['l2'])}"
        )
    return f"The area under the curve, from the smallest share that is removed on, changes {'; '.join(told)}."


def _changed(values: Any) -> str:
    found = t_interval(values)
    return f"by {interval(found) if len(values) > 1 else signed(found.mean)}"


@sentence
def masks(masks: pd.DataFrame, table: pd.DataFrame, n_classes: int) -> str:
    """Say how well a network reads the class from the mask alone, at the share where it does so best.

    Args:
        masks: of :func:`roar.roar` with ``sees="mask"``.
        table: the same of images; what is reached on whole images is taken from it.
        n_classes: of the data, whose inverse is chance.
    """
    found = accuracies(masks)
    whole = float(table.loc[table["share"] == 0, "accuracy"].mean())
    chance = 1 / n_classes
    parts, telling, better = [], [], []
    for name, part in found.groupby("attribution", sort=False):
        best = part.iloc[int(part["mean"].argmax())]
        where = f" (at {best['share']:.0%})" if found["share"].nunique() > 1 else ""
        parts.append(f"{best['mean']:.3f} for {name}{where}")
        telling += [str(name)] if best["low"] > chance else []
        better += [str(name)] if best["low"] > whole else []
    said = (
        f"Given nothing but the mask, a network reaches a test accuracy of {join(parts)}; chance is {chance:.3f}, and on whole "
        f"images it reaches {whole:.3f}. "
    )
    if better:
        said += f"From the mask of {join(better)} it reads the class **better than from the image**. "
    if not telling:
        return f"{said}No mask tells the class by more than chance, so the curves above show what the images lost."
    return (
        f"{said}Where the mask tells the class by more than chance ({join(telling)}), an image with holes tells it too, and a "
        "curve that stays up does not show that the map had found little."
    )


@sentence
def joint(rows: pd.DataFrame) -> str:
    """Say which scores move together over the models, and which models have the best value of each score."""
    pairs = correlations(rows)
    up, down = (pairs[pairs["low"] > 0], pairs[pairs["high"] < 0])
    names = {1: "improve together", -1: "move against each other"}
    parts = []
    for way, part in ((1, up), (-1, down)):
        if len(part):
            listed = "; ".join(
                f"{row['first']} and {row['second']} (rho {phrases.signed(row['rho'])})"
                for row in part.to_dict("records")
            )
            parts.append(f"Over these {len(rows)} models, counting a lower ROAR as better, {names[way]}: {listed}.")
    open_ = len(pairs) - len(up) - len(down)
    parts.append(f"Of {len(pairs)} pairs of scores, {open_} are not distinguishable from no correlation.")
    best = []
    for name in SCORES:
        counted = _attacked(rows) if name == FGSM else rows
        values = counted[name]
        leads = values.index[values == (values.min() if name in BETTER_LOW else values.max())]
        best.append(f"{name}: {phrases.join([str(one) for one in leads])}")
    blind = rows.index[rows[BLIND] > TOLERATED]
    apart = ""
    if len(blind):
        unattacked = phrases.join([str(name) for name in blind])
        apart = (
            f" FGSM has nothing to follow on many images of {unattacked}: maps that stay there are not robust but "
            "unattacked, and do not count in its correlations."
        )
    return f"{' '.join(parts)} Best values, of which intervals may overlap with others: {'; '.join(best)}.{apart}"


@sentence
def faithful(rows: pd.DataFrame) -> str:
    """Answer whether training for robustness, or averaging, gives maps that ROAR calls more faithful than the standard ones."""
    others = rows.drop(index=source.STANDARD, errors="ignore")
    verbs = {-1: "falls sooner than", 1: "falls later than", 0: "cannot be told from"}
    words = {way: f"{verb} that of the standard network for" for way, verb in verbs.items()}
    listed = "; it ".join(
        phrases.by_direction(phrases.direction(others[f"{GAIN}, low"], others[f"{GAIN}, high"]), words)
    )
    return f"After removal and retraining, accuracy {listed}. (By the difference of the areas, paired by seed, and its interval.)"
