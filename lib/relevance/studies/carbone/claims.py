"""What the paper claims, and what a table says about it: a verdict, with effect size and interval, and on what it depends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.metrics.statistics import spearman
from relevance.studies import tables
from relevance.studies.differences import comparisons
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC, most_samples
from relevance.studies.tables import SCORE, attacks_only, last_layer
from relevance.studies.verdicts import FAILS, HOLDS, MIXED, OPEN, Claim, Verdict, is_more_robust

# A softmax robustness from here on is "close to 1"; an explanation is weak if it lost this share of what it could keep.
STEADY = 0.9
STRONG, WEAK = 0.5, 0.1
# Fewer images are not judged; a smaller rho is as good as none; an improvement of up to a tenth of the score's range is modest.
ENOUGH, NEGLIGIBLE, MODEST = 20, 0.2, 0.1


def bayesian_is_more_robust(table: pd.DataFrame) -> Verdict:
    """The Bayesian explanation is more robust than the deterministic one (Sec. V-A)."""
    return is_more_robust(table, DETERMINISTIC, most_samples(table))


def bayesian_beats_adversarial(table: pd.DataFrame) -> Verdict:
    """The adversarially trained network's explanation is less robust than the Bayesian one (Sec. V-A)."""
    return is_more_robust(table, ADVERSARIAL, most_samples(table))


def improvement_is_modest(table: pd.DataFrame) -> Verdict:
    """The Bayesian explanation is more robust than the deterministic one, but only modestly (Sec. V-A, on CIFAR-10).

    In a setting it is so if the whole interval of the difference lies above zero and not above a tenth of the score's range.
    """
    rows = comparisons(attacks_only(table), DETERMINISTIC, most_samples(table))
    none, more = rows["high"] < 0, rows["low"] > MODEST
    modest = (rows["low"] > 0) & (rows["high"] <= MODEST)
    counts = {"modest": modest, "none (the Bayesian one is less robust)": none, "more than modest": more}
    counts["not decided by these images"] = ~(modest | none | more)
    told = ", ".join(f"{found.sum()} {word}" for word, found in counts.items() if found.any())
    verdict = HOLDS if modest.all() else FAILS if (none | more).all() else OPEN if not modest.any() else MIXED
    low, high = rows["mean"].min(), rows["mean"].max()
    return Verdict(
        f"{MIXED} on the setting" if verdict == MIXED else verdict,
        f"Improvement in {len(rows)} settings: {told}; means from {low:+.3f} to {high:+.3f}.".replace(
            "-", "\N{MINUS SIGN}"
        ),
    )


def more_samples_help(table: pd.DataFrame) -> Verdict:
    """Explanations are the more robust, the more samples are averaged (Figs. 2 and 7 to 9)."""
    bayes = table[table["model"].str.startswith(BAYESIAN)]
    fewest, most = str(bayes["model"].iloc[int(bayes["n_samples"].argmin())]), most_samples(table)
    if fewest == most:
        return Verdict(OPEN, f"Not testable: {most} is the only Bayesian model here.")
    return is_more_robust(table, fewest, most)


def steady_but_weak(table: pd.DataFrame) -> Verdict:
    """Deterministic explanations change even where the prediction hardly does (Sec. V-B).

    Looked at are images that are classified rightly before and after the attack: one that was wrong at the start stays as it
    is for another reason.
    """
    rows = last_layer(attacks_only(table))
    rows = rows[
        tables.right_throughout(rows) & (rows["model"] == DETERMINISTIC) & (rows["softmax_robustness"] >= STEADY)
    ]
    told, holds = [], []
    for attack, part in rows.groupby("attack", sort=False):
        lost = part["ceiling_lrp_robustness"] - part[SCORE]
        told.append(f"{attack}: on {len(part)} such images {lost.mean():.2f} of the top pixels lost")
        if len(part) >= ENOUGH:
            holds.append(lost.mean() > WEAK)
    about = f"Images classified rightly with a softmax robustness of at least {STEADY:g}. "
    if not holds:
        return Verdict(OPEN, f"{about}Too few: {'; '.join(told) or 'none'}.")
    return Verdict(_by_attack(holds), f"{about}{'; '.join(told)}.")


def _by_attack(holds: Iterable[bool]) -> str:
    """Return the verdict on a claim that is judged once for each attack."""
    found = list(holds)
    return HOLDS if all(found) else FAILS if not any(found) else f"{MIXED} on the attack"


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return Spearman's rho of LRP and softmax robustness for each model, attack, rule and layer, with its interval.

    ``tied`` is the share of images whose softmax robustness is also that of another image.
    """
    rows = []
    names = ["model", "attack", "rule", "layer"]
    for setting, part in table.groupby(names, sort=False):
        found = spearman(part["softmax_robustness"].to_numpy(), part[SCORE].to_numpy())
        tied = part["softmax_robustness"].duplicated(keep=False).mean()
        rows.append({**dict(zip(names, setting, strict=True)), **found._asdict(), "tied": tied})
    return pd.DataFrame(rows)


def deterministic_is_uncorrelated(table: pd.DataFrame) -> Verdict:
    """Deterministic explanations are no weaker on images whose prediction is vulnerable (Sec. V-B).

    It holds if the interval of rho lies within 0.2 of zero, does not if it lies beyond, and is undecided between.
    """
    rows = correlations(last_layer(attacks_only(table[table["model"] == DETERMINISTIC])))
    none = (rows["low"] > -NEGLIGIBLE) & (rows["high"] < NEGLIGIBLE)
    some = (rows["low"] > NEGLIGIBLE) | (rows["high"] < -NEGLIGIBLE)
    if none.all():
        return Verdict(HOLDS, _rhos(rows))
    if some.all():
        return Verdict(FAILS, _rhos(rows))
    return Verdict(f"{MIXED} on the attack" if none.any() and some.any() else OPEN, _rhos(rows))


def bayesian_is_correlated(table: pd.DataFrame) -> Verdict:
    """Bayesian LRP robustness rises strongly with softmax robustness, and the more so with more samples (Sec. V-B)."""
    rows = correlations(last_layer(attacks_only(table[table["model"].str.startswith(BAYESIAN)])))
    most = rows[rows["model"] == most_samples(table)]
    strong = most["low"] > 0
    strong &= most["rho"] >= STRONG
    if most["rho"].isna().any():
        return Verdict(OPEN, _rhos(rows))
    weak = "" if strong.any() else f" (no rho reaches {STRONG:g})"
    return Verdict(_by_attack(strong) + weak, _rhos(rows))


def _rhos(rows: pd.DataFrame) -> str:
    told = [
        f"{row['model']}, {row['attack']}: rho {row['rho']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
        for row in rows.to_dict("records")
    ]
    return "; ".join(told).replace("-0", "\N{MINUS SIGN}0") + "."


def bayesian_predictions_survive(table: pd.DataFrame) -> Verdict:
    """Most images have a softmax robustness above one half for Bayesian networks (Sec. V-B)."""
    rows = last_layer(attacks_only(table[table["model"] == most_samples(table)]))
    shares = rows.assign(above=rows["softmax_robustness"] > 0.5).groupby("attack", sort=False)["above"].mean()
    told = "; ".join(f"{attack}: {share:.0%} above 0.5" for attack, share in shares.items())
    most = shares > 0.5
    return Verdict(_by_attack(most), told + ".")


CLAIMS = {
    "bayesian": Claim(
        "Bayesian explanations are more robust than deterministic ones, in all layers",
        "Sec. V-A, Figs. 2, 7, 8, 9", "layers", "layers", bayesian_is_more_robust),
    "samples": Claim(
        "more posterior samples make them more robust",
        "Figs. 2, 7, 8, 9", "layers", "layers", more_samples_help),
    "adversarial": Claim(
        "adversarially trained networks have less robust explanations than Bayesian ones",
        "Sec. V-A, Figs. 2, 7, 8, 9", "layers", "layers", bayesian_beats_adversarial),
    "rules": Claim(
        "Bayesian explanations are more robust under all three rules",
        "Figs. 3, 10 to 13", "rules", "rules", bayesian_is_more_robust),
    "rules, adversarial": Claim(
        "they are more robust than adversarially trained networks' under all three rules (asterisks)",
        "Figs. 10 to 13, Table V", "rules", "rules", bayesian_beats_adversarial),
    "modest": Claim(
        "on CIFAR-10 the improvement is there, but modest",
        "Sec. V-A, Fig. 3", "cifar10", "rules", improvement_is_modest, datasets=("cifar10",)),
    "saliency": Claim(
        "Bayesian explanations are more robust under attacks on the explanation",
        "Figs. 14, 15", "saliency-attacks", "saliency", bayesian_is_more_robust,
        ("top-k", "target region", "target map")),
    "weak": Claim(
        "deterministic explanations change even where the prediction hardly does",
        "Sec. V-B, Figs. 4, 16", "softmax-robustness", "layers", steady_but_weak),
    "uncorrelated": Claim(
        "deterministic LRP robustness does not depend on softmax robustness",
        "Sec. V-B, Figs. 4, 16", "softmax-robustness", "layers", deterministic_is_uncorrelated),
    "correlated": Claim(
        "Bayesian LRP robustness rises strongly with softmax robustness",
        "Sec. V-B, Figs. 4, 16", "softmax-robustness", "layers", bayesian_is_correlated),
    "survive": Claim(
        "most images keep a softmax robustness above one half under attacks on Bayesian networks",
        "Sec. V-B", "softmax-robustness", "layers", bayesian_predictions_survive),
}  # fmt: skip


def judge(claim: Claim, table: pd.DataFrame) -> Verdict:
    """Judge one claim by the rows of the attacks that it is about."""
    part = table[table["attack"].isin([*claim.attacks, NOISE])]
    if attacks_only(part).empty:
        return Verdict(OPEN, f"none of the attacks it is about is here: {', '.join(claim.attacks)}.")
    return claim.judge(part)


def judged(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Judge claims by a table.

    Args:
        table: of one study; only the attacks that a claim is about are looked at.
        names: of :data:`CLAIMS`.

    Returns:
        A row for each claim: ``claim``, ``paper`` (where), ``verdict``, ``evidence``.
    """
    rows = []
    for name in names:
        claim = CLAIMS[checks.one_of("claim", name, CLAIMS)]
        found = judge(claim, table)
        rows.append({"claim": claim.text, "paper": claim.where, "verdict": found.verdict, "evidence": found.evidence})
    return pd.DataFrame(rows).set_index("claim")
