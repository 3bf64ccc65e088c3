"""What posteriors and attacks show by themselves, in sentences whose words depend on their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relevance.attacks.evaluation import HALF, OTHERS, TITLES
from relevance.attacks.named import EXPLANATION
from relevance.metrics.statistics import EQUIVALENT, HIGHER, LOWER, UNDECIDED, paired_difference, standing
from relevance.networks.posterior import Posterior
from relevance.studies.background import chains
from relevance.studies.experiment import RANDOM, Gallery
from relevance.studies.gates import FEWEST
from relevance.studies.phrases import by_direction, certificate, join, sentence, signed

TOLERATED = 0.02  # more than such a share of the images, and a check says so
APART = 0.05  # accuracies of two attacks on the same images that differ by more are not the same
# What the best attack on maps does beside noise of its size, by the standing of what it leaves less what noise leaves.
FURTHER = {LOWER: "further than noise", EQUIVALENT: "no further than noise, or by less than counts",
           HIGHER: "less far than noise", UNDECIDED: "not distinguishably further than noise",
           "": "on too few images to judge"}  # fmt: skip
STARTS = {"sgd": "a solution of SGD", "prior": "a draw of the prior"}
BESIDE = {HIGHER: "**higher** than", LOWER: "**lower** than", EQUIVALENT: "different by less than the 0.02 that counts from",
          UNDECIDED: "not distinguishable from"}  # fmt: skip
PROTOCOLS = {chains.OLD: "chains of ten steps", chains.MAP: "MAP", chains.SGD: "the deterministic network"}


@sentence
def damage(table: pd.DataFrame, galleries: Mapping[str, Gallery]) -> str:
    """Say what attacks do to a model's predictions, and whether the best on its maps, and on others', does more than noise.

    Args:
        table: rows of :func:`relevance.attacks.evaluate` of the first model.
        galleries: model -> what attacks did to its maps.
    """
    (name, gallery), *others = galleries.items()
    best, left = _best(gallery)
    accuracy = table["accuracy"]
    found: dict[str, list[str]] = {}
    for other, one in others:
        found.setdefault(FURTHER[_beside_noise(one)], []).append(f"the {other}")
    also = "; ".join(f"those of {join(named)} network {text}" for text, named in found.items())
    return (
        f"**It breaks predictions, and moves maps of the {name} network {FURTHER[_beside_noise(gallery)]}.** The worst attack "
        f"takes its accuracy from {accuracy.iloc[0]:.0%} to {accuracy.iloc[-1]:.0%}. Of the top {gallery.top_percent:g} % of the "
        f"pixels, {best} leaves {left[best]:.0%}, and noise of its size {left[RANDOM]:.0%}.{f' It moves {also}.' if also else ''}"
    )


def _best(gallery: Gallery) -> tuple[str, pd.Series]:
    """Return the attack on explanations that leaves the least of the top pixels, and what each attack leaves."""
    left = gallery.table()["overlap"]
    return str(left[list(EXPLANATION)].idxmin()), left


def _beside_noise(gallery: Gallery) -> str:
    """Return the standing of the best attack's overlap beside that of noise, or nothing if there are too few images."""
    scores = pd.concat(
        [gallery.scores(name)["lrp_robustness"] for name in (RANDOM, _best(gallery)[0])], axis=1
    ).dropna()
    found = paired_difference(*scores.to_numpy().T)
    return standing(found.low, found.high) if len(scores) >= FEWEST else ""


@sentence
def by_attack(found: pd.DataFrame, baseline: str, other: str) -> str:
    """Say under which attacks of :func:`relevance.studies.differences.by_attack` one model keeps more than another."""
    words = {1: "more under", -1: "less under", 0: "not distinguishably more or less under"}
    return f"Compared with {baseline} maps, {other} ones keep {'; '.join(by_direction(found['direction'], words))}."


@sentence
def evaluation(tables: Mapping[str, pd.DataFrame], found: Mapping[str, list[str]]) -> str:
    """Say which model is left the most accuracy in the worst case, and what speaks against believing it.

    Args:
        tables: model -> rows of :func:`relevance.attacks.evaluate`.
        found: model -> sentences of :func:`concerns`.
    """
    left = pd.Series({name: rows["accuracy"].iloc[-1] for name, rows in tables.items()})
    clear = [name for name, doubts in found.items() if not doubts]
    said = [
        f"In the worst case of all attacks the {left.idxmax()} network is left the most accuracy ({left.max():.0%}), the "
        f"{left.idxmin()} one the least ({left.min():.0%}).",
        *([f"The checks give no reason for doubt in {join(clear)}."] if clear else []),
        *(
            f"What is left to the {name} one is in doubt. {' '.join(doubts)}"
            for name, doubts in found.items()
            if doubts
        ),
    ]
    return " ".join(said)


def side_by_side(tables: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame:
    """Return one column of several tables with the same kind of rows, a column for each table."""
    order = max(tables.values(), key=len).index
    return pd.DataFrame({name: rows[column].reindex(order) for name, rows in tables.items()})


@sentence
def recorded_evaluation(recorded: pd.DataFrame) -> str:
    """Say what the checks found in recorded rows of :func:`relevance.attacks.evaluate`, and of chains that had not converged."""
    first = recorded.groupby("posterior", sort=False).first()
    doubts = [f"{name!s}: {text}" for name, text in first["concerns"].items() if pd.notna(text)]
    unconverged = [str(name) for name in first.index[first["converged"] == "no"]]
    warned = f" The networks of {join(unconverged)} are of chains that have **not** mixed." if unconverged else ""
    return f"{' '.join(doubts) or 'By these checks the attacks were strong enough on all of them.'}{warned}"


@sentence
def convergence(posterior: Posterior) -> str:
    """Say what is known of how well the chains behind ``posterior`` have converged."""
    found = posterior.record["diagnostics"]
    n_chains = len(found["step_sizes"])
    if n_chains == 1:
        return f"{found['n_samples']} draws of one chain, which cannot see what it missed: it has no certificate."
    return f"{found['n_samples']} draws of {n_chains} chains. {certificate(found)}, the worst of all values looked at."


@sentence
def recorded_chains(recorded: pd.DataFrame) -> str:
    """Say of recorded HMC posteriors how many pass the check of their chains."""
    ran = recorded[recorded["posterior"].str.startswith("hmc")]
    if ran.empty:
        return "HMC has **not** been run to the end at this size."
    passed = int((ran["converged"].astype(str) == "True").sum())
    warned = " The draws of the rest are still near the network they started from, and say nothing of a posterior."
    return f"Of {len(ran)} HMC runs, {passed} passed the check of their chains.{warned if passed < len(ran) else ''}"


@sentence
def starts(rows: pd.DataFrame) -> str:
    """Say how chains from each kind of start stand an attack: of rows of :func:`chains.of_chains`."""
    left = rows.groupby("start", sort=False)["accuracy, FGSM"].mean()
    told = [f"{share:.0%} for chains that began at {STARTS[str(start)]}" for start, share in left.items()]
    return f"Under FGSM the accuracy is {join(told)}."


@sentence
def protocols(rows: pd.DataFrame) -> str:
    """Say whether chains that mix give another k-LRP than other protocols: of :func:`chains.protocols`."""
    named: dict[str, list[str]] = {word: [] for word in BESIDE}
    for name, row in chains.differences(rows).iterrows():
        named[standing(row["low"], row["high"])].append(f"{PROTOCOLS[str(name)]} ({signed(row['mean'])})")
    told = [f"{text} that of {join(named[word])}" for word, text in BESIDE.items() if named[word]]
    return f"The k-LRP robustness of chains that mix is {'; '.join(told)}."


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
            f"An attack found on half of its networks leaves these an accuracy of {accuracy[HALF]:.0%}, and the other half "
            f"{accuracy[OTHERS]:.0%}: it hits these networks, not all that could have been drawn."
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


@sentence
def growth(table: pd.DataFrame) -> str:
    """Say of the recorded ``growth`` what twice the work costs, and how many workers help.

    Args:
        table: ``what`` grew, to which ``value``, and the ``seconds`` of each; a row for each.
    """
    by_size = {str(what): rows.set_index("value")["seconds"].sort_index() for what, rows in table.groupby("what")}
    measured, counted = by_size.pop("workers, measured"), by_size.pop("workers")
    # Each size is twice the one before.
    doubled = [float(seconds.iloc[-1] / seconds.iloc[-2]) for seconds in by_size.values()]
    enough = counted.index[counted <= 1.01 * counted.min()][0]
    return (
        f"**Twice the samples, images or width costs {min(doubled):.1f} to {max(doubled):.1f} times the seconds.** Two workers "
        f"take {measured.iloc[-1] / measured.iloc[0]:.0%} of the time of one; more than {enough:g} help this study no further."
    )
