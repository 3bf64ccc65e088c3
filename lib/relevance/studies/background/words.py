"""What posteriors, attacks and explanations show by themselves, in sentences: the text of a chapter follows its numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from relevance.attacks.evaluation import HALF, OTHERS, TITLES
from relevance.explanations.deep_taylor import RootPoints
from relevance.inference.certificate import Certificate
from relevance.networks.posterior import Posterior
from relevance.studies.background.chains import differences
from relevance.studies.experiment import RANDOM, Gallery
from relevance.studies.phrases import (
    by_direction,
    certificate,
    difference,
    direction,
    duration,
    join,
    samples,
    sentence,
    signed,
)

# More than such a share of the images, and a check says so.
TOLERATED = 0.02
# Accuracies of two attacks on the same images that differ by more than this are not the same.
APART = 0.05


@sentence
def fidelity(fidelity_rows: pd.DataFrame) -> str:
    """Say how the rows of :func:`fidelity` differ."""
    parts = [
        f"with the stabiliser {name} the map of the median image adds up to {row['sum of map / logit']:.0%} of the logit "
        f"and correlates {row['correlation with gradient x input']:.3f} with gradient times input"
        for name, row in fidelity_rows.iloc[[0, -1] if len(fidelity_rows) > 1 else [0]].iterrows()
    ]
    return "; ".join(parts)[0].upper() + "; ".join(parts)[1:] + "."


@sentence
def conservation(rows: pd.DataFrame) -> str:
    """Say which rule of :func:`conservation` hands the most faithfully on, and which the least."""
    lost = (rows["arrives at the pixels"] - 1).abs().sort_values(kind="stable")
    nearest, farthest = lost.index[0], lost.index[-1]
    arrives = rows["arrives at the pixels"]
    return (
        f"Nearest to conserving is {nearest}, with {arrives[nearest]:.1%} of the relevance at the pixels; farthest from it "
        f"is {farthest}, with {arrives[farthest]:.1%}."
    )


@sentence
def averaged(shares: Tensor, n_samples: int) -> str:
    """Say how much is left when every draw is attacked alone, from :func:`relevance.studies.experiment.averaged_change`."""
    return (
        f"Here, FGSM on each of {n_samples} draws alone, and then the average of the attacked images, changes a pixel by "
        f"{shares.nanmean().item():.0%} of what one such attack changes it by, in the mean over images and pixels."
    )


@sentence
def agreement(rows: pd.DataFrame, reference: str, top_percent: float) -> str:
    """Say which method of :func:`agreement` shares the most top pixels with the reference, and which the fewest."""
    by_overlap = rows["overlap"].sort_values(kind="stable")
    fewest, most = by_overlap.index[0], by_overlap.index[-1]
    return (
        f"Of the top {top_percent:g} % of the pixels, the maps share with {reference} from {by_overlap[fewest]:.0%} "
        f"({fewest}) to {by_overlap[most]:.0%} ({most})."
    )


@sentence
def roots(found: RootPoints) -> str:
    """Say how far the search for root points came."""
    n_images, n_found = len(found.converged), int(found.converged.sum())
    if not n_found:
        return (
            f"The search found a root point for **none** of {n_images} images: the maps are those of its last points."
        )
    distance = found.distances[found.converged].median().item()
    rest = "" if n_found == n_images else " The others have the map of the best point that was met."
    return (
        f"The search found a root point for {n_found} of {n_images} images, at a median distance of {distance:.2f} "
        f"(Euclidean, in units of the pixel range).{rest}"
    )


@sentence
def mean_field(moments: pd.DataFrame) -> str:
    """Say how variational inference's line differs from the exact one, of :meth:`relevance.inference.line.Line.compare`."""
    exact, found = (moments.loc[name].to_dict() for name in ("exact", "VI"))
    narrower = found["sd slope"] / exact["sd slope"]
    expected = (1 - exact["correlation"] ** 2) ** 0.5
    return (
        f"Exactly, slope and intercept have a correlation of {signed(exact['correlation'])}; variational inference has "
        f"{signed(found['correlation'])}, and a standard deviation of the slope of {narrower:.0%} of the exact one. In theory "
        f"it is the square root of 1 minus the squared correlation, {expected:.0%}."
    )


@sentence
def evidence(rows: pd.DataFrame, reference: str) -> str:
    """Say of a table of :mod:`relevance.inference.evidence` what has the best likelihood and calibration, and is nearest."""
    others = rows.drop(index=reference)
    best, calibrated = rows["NLL"].idxmin(), rows["ECE"].idxmin()
    nearest, farthest = others["total variation"].idxmin(), others["total variation"].idxmax()
    saturated = rows["saturated"]
    blind = (
        "No posterior is saturated on any image."
        if saturated.max() == 0
        else f"The most saturated is {saturated.idxmax()}, on {saturated.max():.1%} of the images."
    )
    return (
        f"The lowest NLL is that of {best} ({rows['NLL'].min():.3f}), the lowest calibration error that of {calibrated} "
        f"({rows['ECE'].min():.3f}). Nearest to {reference} in total variation is {nearest} "
        f"({others['total variation'].min():.3f}), farthest {farthest} ({others['total variation'].max():.3f}). {blind}"
    )


@sentence
def saturation(recorded: pd.DataFrame) -> str:
    """Say which recorded posteriors leave an attack no gradient, and on how many images; and when it was recorded."""
    most = recorded.sort_values("saturated").iloc[-1].to_dict()
    if most["saturated"] == 0:
        found = "None of them is saturated on any test image."
    else:
        found = (
            f"{most['posterior']} is saturated on {most['saturated']:.0%} of the test images: on these an attack along its "
            "gradient starts with nothing, or with rounding."
        )
    return f"{found} {_recorded_chains(recorded)} *Recorded* {recorded['date'].max()}, {recorded['hardware'].iloc[0]}."


def _recorded_chains(recorded: pd.DataFrame) -> str:
    """Say of each recorded HMC run whether it converged."""
    chains = recorded[recorded["posterior"].str.startswith("hmc")]
    if chains.empty:
        return "HMC has **not** been run to the end at this size."
    parts = [
        f"prior scale {row['prior scale']:g}: {row['samples']} draws after {row['warmup']:.0f} of warm-up, R-hat "
        f"{row['R-hat']:.2f}, effective sample size {row['ESS']:.0f}, which "
        + ("passes" if str(row["converged"]) == "True" else "does **not** pass")
        for row in chains.to_dict("records")
    ]
    failed = any("**not**" in part for part in parts)
    return f"HMC, by the check below - {'; '.join(parts)}." + (
        " Draws of a run that does not pass are networks on the way from the SGD solution that it started from; they "
        "are not known to be a sample of the posterior."
        if failed
        else ""
    )


@sentence
def attacks(galleries: Mapping[str, Gallery]) -> str:
    """Say which attack left the least of the most relevant pixels for each model, and whether noise did as much."""
    parts = []
    for name, found in galleries.items():
        overlap = found.table()["overlap"].sort_values(kind="stable")
        weak = [str(attack) for attack, left in overlap.items() if attack != RANDOM and left >= overlap[RANDOM]]
        parts.append(
            f"{name}: least is left by {overlap.index[0]} ({overlap.iloc[0]:.0%}), by random corners {overlap[RANDOM]:.0%}"
            + (f"; no less than by these is left by {join(weak)}, which says nothing for the network" if weak else "")
        )
    percent = next(iter(galleries.values())).top_percent
    lines = "".join(f"\n- {part}." for part in parts)
    return f"Of the top {percent:g} % of the pixels, on average:\n{lines}"


@sentence
def by_attack(found: pd.DataFrame, baseline: str, other: str) -> str:
    """Say under which attacks of :func:`relevance.studies.differences.by_attack` one model keeps more than another."""
    words = {1: "more under", -1: "less under", 0: "not distinguishably more or less under"}
    parts = by_direction(found["direction"], words)
    return f"Over the same {int(found['n_images'].min())} images, {other} keeps, compared with {baseline}, {'; '.join(parts)}."


@sentence
def evaluation(tables: Mapping[str, pd.DataFrame], found: Mapping[str, list[str]]) -> str:
    """Say what is left of each model's accuracy in the worst case, and what speaks against believing it.

    Args:
        tables: model -> rows of :func:`relevance.attacks.evaluate`.
        found: model -> sentences of :func:`words.concerns`.
    """
    left = [
        f"{name} from {rows['accuracy'].iloc[0]:.1%} to {rows['accuracy'].iloc[-1]:.1%}"
        for name, rows in tables.items()
    ]
    doubts = [
        f"\n- **{name}**: {' '.join(sentences) or 'no reason for doubt was found.'}"
        for name, sentences in found.items()
    ]
    return f"Accuracy without an attack and in the worst case of all attacks: {join(left)}. The checks say:\n{''.join(doubts)}"


def side_by_side(tables: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """Return one column of several tables with the same kind of rows, a column for each table."""
    order = max(tables.values(), key=len).index
    return pd.DataFrame({name: rows[column].reindex(order) for name, rows in tables.items()})


@sentence
def recorded_evaluation(recorded: pd.DataFrame) -> str:
    """Say what the checks found in recorded rows of :func:`relevance.attacks.evaluate`, and how they were recorded."""
    first = recorded.groupby("posterior", sort=False).first()
    unconverged = [str(name) for name, row in first.iterrows() if row["converged"] == "no"]
    warned = f" The chains of {join(unconverged)} have **not** converged." if unconverged else ""
    doubts = "".join(
        f"\n- **{name!s}** ({samples(int(row['samples']))}): {row['concerns'] if pd.notna(row['concerns']) else 'no doubt.'}"
        for name, row in first.iterrows()
    )
    return (
        f"What the checks say:\n{doubts}\n\n{warned} *Recorded* {first['date'].max()}, {first['hardware'].iloc[0]}: "
        f"{int(first['images'].iloc[0])} test images, size of the ball {first['epsilon'].iloc[0]:g}; "
        f"PGD with {first['PGD steps'].iloc[0]:.0f} steps from one random start, {first['queries'].iloc[0]:.0f} squares; "
        f"{first['total seconds'].sum() / 60:.0f} minutes together; {first['versions'].iloc[0]}."
    )


@sentence
def convergence(posterior: Posterior) -> str:
    """Say what is known of how well the chains behind ``posterior`` have converged."""
    found, settings = posterior.record["diagnostics"], posterior.record["settings"]
    n_chains = len(found["step_sizes"])
    one = n_chains == 1
    steps = join([f"{step:.2g}" for step in found["step_sizes"]])
    text = (
        f"{found['n_samples']} draws of {'one chain' if one else str(n_chains) + ' chains'}, after "
        f"{settings['warmup']} draws of warm-up{'' if one else ' each'}; {found['acceptance_rate']:.0%} of the proposals "
        f"accepted, leapfrog step {steps}. "
    )
    if one:
        return f"{text}One chain cannot see what it has not found: it has no certificate."
    return f"{text}{certificate(found)}, the worst of {found['values'] - found['constant']} values."


@sentence
def chains(found: Certificate) -> str:
    """Say how far explanations of whole chains agree: of a certificate of :mod:`relevance.studies.background.chains`."""
    scores = found.scores["k-LRP"]
    return (
        f"Expected maps of two chains correlate {found.maps['expected map']:.3f} on average, and the k-LRP of the "
        f"{len(scores)} chains lies between {min(scores):.3f} and {max(scores):.3f}. "
        f"{found.n_gradients:,} gradients of the full batch, {duration(found.seconds)}."
    )


@sentence
def sampler_cost(recorded: pd.DataFrame) -> str:
    """Say how many effective draws the library's sampler gives for a gradient, beside Pyro's, in each recorded case."""
    parts = []
    for case, rows in recorded.groupby("case", sort=False):
        worth = rows.set_index("sampler")["per 1,000 gradients"]
        times = [
            f"{worth['ours'] / value:.1f} times that of {name}" for name, value in worth.filter(like="Pyro").items()
        ]
        parts.append(f"{case}: {worth['ours']:.1f}, {join(times)}")
    return f"Effective draws of a margin for 1,000 gradients after the warm-up - {'; '.join(parts)}."


@sentence
def beside(rows: pd.DataFrame, reference: str) -> str:
    """Say of rows of :func:`chains.beside` whose maps are nearest to the reference's, and how much noise explains."""
    nearest = rows["map correlation"].drop(index=reference).sort_values(ascending=False)
    beyond = rows["k-LRP, noise"] - rows["k-LRP, FGSM"]
    return (
        f"The expected maps of {nearest.index[0]} are nearest to those of {reference} (correlation {nearest.iloc[0]:.2f}), "
        f"those of {nearest.index[-1]} farthest ({nearest.iloc[-1]:.2f}). Under FGSM, k-LRP robustness is lower than under "
        f"noise of the same size by {beyond.min():.3f} ({beyond.idxmin()}) to {beyond.max():.3f} ({beyond.idxmax()})."
    )


@sentence
def starts(rows: pd.DataFrame) -> str:
    """Say what chains from each kind of start are like under FGSM: of rows of :func:`chains.of_chains`."""
    parts = []
    for start, part in rows.groupby("start", sort=False):
        scores = part["k-LRP, shared"]
        parts.append(
            f"{len(part)} that began at {'a solution of SGD' if start == 'sgd' else 'a draw of the prior'} have k-LRP between "
            f"{scores.min():.3f} and {scores.max():.3f}, and FGSM leaves {part['accuracy, FGSM'].mean():.0%} of the images right"
        )
    return f"Of these chains, {'; '.join(parts)}."


@sentence
def protocols(rows: pd.DataFrame) -> str:
    """Say whether chains that mix give another k-LRP than other protocols: of :func:`chains.protocols`."""
    found = differences(rows)
    told = {1: "**higher** than that of", -1: "**lower** than that of", 0: "not distinguishable from that of"}
    way = direction(found["low"], found["high"])
    named = {str(name): f"{name} ({difference(row)})" for name, row in found.iterrows()}
    listed = "; ".join(by_direction(way, told, lambda names: join([named[name] for name in names])))
    n_runs = rows.groupby("model").size().min()
    return f"The k-LRP robustness of chains that mix is {listed}: means of {n_runs} runs, with Welch's 95 % intervals over them."


def concerns(
    table: pd.DataFrame, by_epsilon: pd.DataFrame | None = None, by_steps: pd.DataFrame | None = None
) -> list[str]:
    """Return a sentence for each reason to doubt that the attacks found what there is; none if there is no reason.

    Args:
        table: from :func:`relevance.attacks.evaluate`.
        by_epsilon: from :func:`relevance.attacks.accuracy_by_epsilon`, up to a ball that
            holds a grey image (0.5 in the maximum norm).
        by_steps: from :func:`relevance.attacks.loss_by_steps`.
    """
    found = []
    accuracy, zero, alone = (table[name] for name in ("accuracy", "zero gradients", "alone"))
    entropy, by_margin = TITLES["cross_entropy"], TITLES["margin"]
    for title in TITLES.values():
        if zero[title] > TOLERATED:
            found.append(f"{title}: the gradient is exactly zero at {zero[title]:.0%} of the images.")
    pair = accuracy[[entropy, by_margin]]
    if pair.max() - pair.min() > APART:
        found.append(
            f"{pair.idxmax()} leaves an accuracy of {pair.max():.1%}, {pair.idxmin()} of {pair.min():.1%}: the first is not "
            "the attack to report."
        )
    if OTHERS in table.index and accuracy[OTHERS] - accuracy[HALF] > APART:
        found.append(
            f"An attack through half of the draws leaves an accuracy of {accuracy[HALF]:.1%} with these draws, and of "
            f"{accuracy[OTHERS]:.1%} with the others: part of what it finds is in the draws, not in the posterior."
        )
    if accuracy["FGSM"] < accuracy[list(TITLES.values())].min() - TOLERATED:
        found.append("One step breaks more images than many do.")
    for title, what in (("squares", "random squares, which need no gradient,"), ("transfer", "a transferred attack")):
        if title in table.index and alone[title] > TOLERATED:
            found.append(f"{alone[title]:.1%} of the images are broken by {what} alone.")
    if accuracy["random corners"] < accuracy[by_margin]:
        found.append("Random corners of the ball break more images than PGD on the margin does.")
    if by_epsilon is not None and by_epsilon["accuracy"].iloc[-1] > TOLERATED:
        last = by_epsilon.iloc[-1]
        found.append(f"In a ball of {last['epsilon']:g} the accuracy is still {last['accuracy']:.1%}.")
    if by_steps is not None:
        best = by_steps["best"]
        gained, late = best.iloc[-1] - best.iloc[0], best.iloc[-1] - best.iloc[3 * len(best) // 4]
        if gained <= 0:
            found.append("The loss did not rise at any step.")
        elif late > 0.05 * gained:
            found.append(f"The last quarter of the steps still brought {late / gained:.0%} of what the loss gained.")
    return found
