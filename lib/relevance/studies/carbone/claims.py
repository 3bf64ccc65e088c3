"""What the paper claims, and what a table says about it: in how many settings, with effect sizes and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.metrics.statistics import EQUIVALENT, HIGHER, spearman
from relevance.studies import tables
from relevance.studies.differences import above_zero, beyond_noise, by_run
from relevance.studies.gates import NO_ROOM, why_not
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC, most_samples
from relevance.studies.tables import attacks_only, last_layer
from relevance.studies.verdicts import Claim, Verdict, is_more_robust, standings, untold, verdict

# A softmax robustness from here on is "close to 1"; an explanation is weak if it lost more than this share of the top pixels.
STEADY, WEAK = 0.9, 0.1
# A rho within this of zero is as good as none, and from here on strong; an improvement of a tenth of the score's range is modest.
NEGLIGIBLE, STRONG, MODEST = 0.2, 0.5, 0.1


def bayesian_is_more_robust(table: pd.DataFrame) -> Verdict:
    """The Bayesian explanation is more robust than the deterministic one (Sec. V-A)."""
    return is_more_robust(table, DETERMINISTIC, most_samples(table))


def bayesian_beats_adversarial(table: pd.DataFrame) -> Verdict:
    """The adversarially trained network's explanation is less robust than the Bayesian one (Sec. V-A)."""
    return is_more_robust(table, ADVERSARIAL, most_samples(table))


def bayesian_loses_less_than_to_noise(table: pd.DataFrame) -> Verdict:
    """Of what an attack takes from a map beyond what noise of its size takes, the Bayesian one loses less."""
    rows = beyond_noise(table)
    if rows.empty:
        return untold("Noise of the same size is not in this table.")
    return is_more_robust(rows, DETERMINISTIC, most_samples(rows))


def improvement_is_modest(table: pd.DataFrame) -> Verdict:
    """The Bayesian explanation is more robust than the deterministic one, but only modestly (Sec. V-A, on CIFAR-10).

    It is modestly so in a setting if the score is higher, and the whole interval not above a tenth of the score's range.
    """
    found = bayesian_is_more_robust(table)
    higher = found.cells[found.cells["standing"] == HIGHER]
    modest, more = (higher["high"] <= MODEST).sum(), (higher["low"] > MODEST).sum()
    told = f"Of {len(higher)} where it is higher, it is modestly so in {modest}, and more than modestly in {more}."
    return found._replace(evidence=f"{told} {found.evidence}")


def more_samples_help(table: pd.DataFrame) -> Verdict:
    """Explanations are the more robust, the more samples are averaged (Figs. 2 and 7 to 9)."""
    bayes = table[table["model"].str.startswith(BAYESIAN)]
    fewest, most = str(bayes["model"].iloc[int(bayes["n_samples"].argmin())]), most_samples(table)
    if fewest == most:
        return untold(f"Not testable: {most} is the only Bayesian model here.")
    return is_more_robust(table, fewest, most)


def _cell(attack: object, scores: np.ndarray, reason: str) -> dict[str, Any]:
    """Return how far the mean of scores [R, N] lies above zero."""
    found = above_zero(scores) if scores.shape[1] > 1 else None
    names = ("mean", "low", "high", "p_value")
    numbers = {name: np.nan if found is None else getattr(found, name) for name in names}
    return {"attack": attack, **numbers, "n_runs": len(scores), "n_images": scores.shape[1], "reason": reason}


def steady_but_weak(table: pd.DataFrame) -> Verdict:
    """Deterministic explanations change even where the prediction hardly does (Sec. V-B).

    Looked at are images that are classified rightly before and after the attack, in every run: one that was wrong at the start
    stays as it is for another reason. *Higher* is: they lose more than a tenth of their top pixels.
    """
    rows = last_layer(attacks_only(table[table["model"] == DETERMINISTIC]))
    steady = tables.right_throughout(rows) & (rows["softmax_robustness"] >= STEADY)
    cells, told = [], []
    for attack, whole in rows.groupby("attack", sort=False):
        part = whole[steady[whole.index].groupby(whole["image"]).transform("all")]
        count = part["image"].nunique()
        lost = by_run(part, "ceiling_lrp_robustness") - by_run(part)
        cells.append(_cell(attack, lost - WEAK, why_not(whole, count)))
        told.append(
            f"{attack}: on {count} such images" + (f" {lost.mean():.2f} of the top pixels lost" if count else "")
        )
    about = (
        f"Images classified rightly with a softmax robustness of at least {STEADY:g}; higher than {WEAK:g} is weak. "
    )
    return verdict(standings(pd.DataFrame(cells)), f"{about}{'; '.join(told)}.")


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rho of LRP and softmax robustness for each model, attack, rule and layer, with its interval.

    Of several runs it is their mean (:func:`relevance.metrics.spearman`). ``tied`` is the share of images whose softmax
    robustness is also that of another image; ``reason`` says why the setting is not judged, or nothing.
    """
    rows = []
    names = ["model", *tables.SETTING]
    for setting, part in table.groupby(names, sort=False):
        pair = by_run(part, "softmax_robustness"), by_run(part)
        found = spearman(*pair) if len(pair[0]) > 1 else spearman(pair[0][0], pair[1][0])
        same = [name for name in ("run", "softmax_robustness") if name in part]
        row = {"mean": found.rho, "n_runs": len(pair[0]), "tied": part.duplicated(same, keep=False).mean()}
        reason = "no rank" if found.reason else why_not(part)
        rows.append({**dict(zip(names, setting, strict=True)), **found._asdict(), **row, "reason": reason})
    return pd.DataFrame(rows)


def deterministic_is_uncorrelated(table: pd.DataFrame) -> Verdict:
    """Deterministic explanations are no weaker on images whose prediction is vulnerable (Sec. V-B).

    It is so where rho is equivalent to zero: its whole interval lies within 0.2 of it.
    """
    rows = correlations(last_layer(attacks_only(table[table["model"] == DETERMINISTIC])))
    return verdict(standings(rows, NEGLIGIBLE), _rhos(rows))


def bayesian_is_correlated(table: pd.DataFrame) -> Verdict:
    """Bayesian LRP robustness rises strongly with softmax robustness, and the more so with more samples (Sec. V-B).

    It rises where rho is higher than zero, and by more than 0.2; strongly, where it is at least 0.5.
    """
    rows = correlations(last_layer(attacks_only(table[table["model"].str.startswith(BAYESIAN)])))
    cells = standings(rows[rows["model"] == most_samples(table)], NEGLIGIBLE)
    strong = int(((cells["standing"] == HIGHER) & (cells["rho"] >= STRONG)).sum())
    return verdict(cells, f"Rho is at least {STRONG:g} in {strong} of {len(cells)}. {_rhos(rows)}")


def _rhos(rows: pd.DataFrame) -> str:
    told = [
        f"{row['model']}, {row['attack']}: rho {row['rho']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
        for row in rows.to_dict("records")
    ]
    return "; ".join(told).replace("-0", "\N{MINUS SIGN}0") + "."


def bayesian_predictions_survive(table: pd.DataFrame) -> Verdict:
    """Most images have a softmax robustness above one half for Bayesian networks (Sec. V-B).

    *Higher* is: the share of such images is above one half.
    """
    rows = last_layer(attacks_only(table[table["model"] == most_samples(table)]))
    cells, told = [], []
    for attack, part in rows.groupby("attack", sort=False):
        above = by_run(part, "softmax_robustness") > 0.5
        reason = why_not(part)
        cells.append(_cell(attack, above - 0.5, "" if reason == NO_ROOM else reason))
        told.append(f"{attack}: {above.mean():.0%} above 0.5")
    return verdict(standings(pd.DataFrame(cells)), "; ".join(told) + ".")


CLAIMS = {
    "bayesian": Claim(
        "Bayesian explanations are more robust than deterministic ones, in all layers",
        "Sec. V-A, Figs. 2, 7, 8, 9", "layers", "layers", bayesian_is_more_robust, of_posterior=True),
    "samples": Claim(
        "more posterior samples make them more robust",
        "Figs. 2, 7, 8, 9 (no sentence of the text)", "layers", "layers", more_samples_help, of_posterior=True),
    "adversarial": Claim(
        "adversarially trained networks have less robust explanations than Bayesian ones",
        "Sec. V-A, Figs. 2, 7, 8, 9", "layers", "layers", bayesian_beats_adversarial, of_posterior=True),
    "direction": Claim(
        "of what an attack takes beyond noise of its size, Bayesian explanations lose less",
        "this book's question", "layers", "layers", bayesian_loses_less_than_to_noise,
        ("FGSM", "PGD", "PGD on the margin"), of_posterior=True),
    "rules": Claim(
        "Bayesian explanations are more robust under all three rules",
        "Figs. 3, 10 to 13", "rules", "rules", bayesian_is_more_robust, of_posterior=True),
    "rules, adversarial": Claim(
        "they are more robust than adversarially trained networks' under all three rules (asterisks)",
        "Figs. 10 to 13, Table V", "rules", "rules", bayesian_beats_adversarial, of_posterior=True),
    "modest": Claim(
        "on CIFAR-10 the improvement is there, but modest",
        "Sec. V-A, Fig. 3", "cifar10", "rules", improvement_is_modest, datasets=("cifar10",), of_posterior=True),
    "saliency": Claim(
        "Bayesian explanations are more robust under attacks on the explanation",
        "Figs. 14, 15", "saliency-attacks", "saliency", bayesian_is_more_robust,
        ("top-k", "target region", "target map"), of_posterior=True),
    "weak": Claim(
        "deterministic explanations change even where the prediction hardly does",
        "Sec. V-B, Figs. 4, 16", "softmax-robustness", "layers", steady_but_weak),
    "uncorrelated": Claim(
        "deterministic LRP robustness does not depend on softmax robustness",
        "Sec. V-B, Figs. 4, 16", "softmax-robustness", "layers", deterministic_is_uncorrelated, says=EQUIVALENT),
    "correlated": Claim(
        "Bayesian LRP robustness rises with softmax robustness",
        "Sec. V-B, Figs. 4, 16 (there: strongly)", "softmax-robustness", "layers", bayesian_is_correlated, of_posterior=True),
    "survive": Claim(
        "most images keep a softmax robustness above one half under attacks on Bayesian networks",
        "Sec. V-B", "softmax-robustness", "layers", bayesian_predictions_survive, of_posterior=True),
}  # fmt: skip


def judge(claim: Claim, table: pd.DataFrame) -> Verdict:
    """Judge one claim by the rows of the attacks that it is about."""
    part = table[table["attack"].isin([*claim.attacks, NOISE])]
    if attacks_only(part).empty:
        told = f"None of the attacks it is about is here: {', '.join(claim.attacks)}."
        return untold(told)
    return claim.judge(part)


def judged(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Judge claims by a table.

    Args:
        table: of one study; only the attacks that a claim is about are looked at.
        names: of :data:`CLAIMS`.

    Returns:
        A row for each claim: ``claim``, ``paper`` (where), ``says`` (the standing that it claims), ``verdict``, ``evidence``.
    """
    rows = []
    for name in names:
        claim = CLAIMS[checks.one_of("claim", name, CLAIMS)]
        found = judge(claim, table)
        row = {"claim": claim.text, "paper": claim.where, "says": claim.says}
        rows.append({**row, "verdict": found.verdict, "evidence": found.evidence})
    return pd.DataFrame(rows).set_index("claim")
