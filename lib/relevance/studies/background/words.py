"""What posteriors and attacks show by themselves, in sentences whose words depend on their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relevance.attacks.named import EXPLANATION
from relevance.metrics.statistics import EQUIVALENT, HIGHER, LOWER, UNDECIDED, paired_difference, standing
from relevance.networks.posterior import Posterior
from relevance.studies.background import chains
from relevance.studies.experiment import RANDOM, Gallery
from relevance.studies.gates import FEWEST
from relevance.studies.phrases import certificate, join, sentence, signed

# What the best attack on maps does beside noise of its size, by the standing of what it leaves less what noise leaves.
FURTHER = {LOWER: "further than noise", EQUIVALENT: "no further than noise, or by less than counts",
           HIGHER: "less far than noise", UNDECIDED: "not distinguishably further than noise",
           "": "on too few images to judge"}  # fmt: skip
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
        f"**It breaks predictions. Maps of the {name} network it moves {FURTHER[_beside_noise(gallery)]}.** The worst attack "
        f"takes its accuracy from {accuracy.iloc[0]:.0%} to {accuracy.iloc[-1]:.0%}. Of the top {gallery.top_percent:g} % of the "
        f"pixels, {best} leaves {left[best]:.0%}, and noise of its size {left[RANDOM]:.0%}.{f' It moves {also}.' if also else ''}"
    )


def _best(gallery: Gallery) -> tuple[str, pd.Series]:
    """Return the attack on explanations that leaves the least of the top pixels, and what each attack leaves."""
    left = gallery.table()["overlap"]
    return str(left[list(EXPLANATION)].idxmin()), left


def _beside_noise(gallery: Gallery) -> str:
    """Return the standing of the best attack's overlap beside that of noise, or nothing if there are too few images."""
    pair = [gallery.scores(name)["lrp_robustness"] for name in (RANDOM, _best(gallery)[0])]
    scores = pd.concat(pair, axis=1).dropna()
    found = paired_difference(*scores.to_numpy().T)
    return standing(found.low, found.high) if len(scores) >= FEWEST else ""


@sentence
def evaluation(tables: Mapping[str, pd.DataFrame], found: Mapping[str, list[str]]) -> str:
    """Say which model is left the most accuracy in the worst case, and what speaks against believing it.

    Args:
        tables: model -> rows of :func:`relevance.attacks.evaluate`.
        found: model -> sentences of :func:`doubts.concerns`.
    """
    left = pd.Series({name: rows["accuracy"].iloc[-1] for name, rows in tables.items()})
    clear = [name for name, why in found.items() if not why]
    said = [f"The checks raise no doubt about this in {join(clear)}."] if clear else []
    said += [f"For the {name} one they do. {' '.join(why)}" for name, why in found.items() if why]
    return (
        f"In the worst case of all attacks the {left.idxmax()} network is left the most accuracy ({left.max():.0%}), the "
        f"{left.idxmin()} one the least ({left.min():.0%}). {' '.join(said)}"
    )


@sentence
def convergence(posterior: Posterior) -> str:
    """Say what is known of how well the chains behind ``posterior`` have converged."""
    found = posterior.record["diagnostics"]
    n_chains = len(found["step_sizes"])
    if n_chains == 1:
        return f"{found['n_samples']} draws of one chain, which cannot see what it missed: it has no certificate."
    return f"{found['n_samples']} draws of {n_chains} chains. {certificate(found)}, the worst of all values looked at."


@sentence
def protocols(rows: pd.DataFrame) -> str:
    """Say whether chains that mix give another k-LRP than other protocols: of :func:`chains.protocols`."""
    named: dict[str, list[str]] = {word: [] for word in BESIDE}
    for name, row in chains.differences(rows).iterrows():
        named[standing(row["low"], row["high"])].append(f"{PROTOCOLS[str(name)]} ({signed(row['mean'])})")
    told = [f"{text} that of {join(named[word])}" for word, text in BESIDE.items() if named[word]]
    return f"The k-LRP robustness of chains that mix is {'; '.join(told)}."


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
