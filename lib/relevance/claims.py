"""What the paper claims, and what a table says about it: a verdict, with effect size and interval, and on what it depends.

A claim is compared setting by setting: in each attack, rule and layer, a paired difference over the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from relevance import checks, robustness
from relevance.robustness import PairedDifference
from relevance.studies import ADVERSARIAL, BAYESIAN, DETERMINISTIC

SETTING = ["attack", "rule", "layer"]
RAW, EXCESS = "lrp_robustness", "excess_lrp_robustness"
HOLDS, FAILS, OPEN, MIXED = "holds", "does not hold", "undecided", "depends"
# A softmax robustness from here on is "close to 1"; an explanation is weak if it lost this share of what it could keep.
STEADY = 0.9
STRONG, WEAK = 0.5, 0.1
# Fewer images are not judged; a smaller rho is as good as none; shares of images that an attack could not move may differ by so
# much between two models that are compared.
ENOUGH, NEGLIGIBLE, TOLERATED = 20, 0.2, 0.05


class Verdict(NamedTuple):
    """What a table says about a claim.

    Attributes:
        verdict: ``"holds"``, ``"does not hold"``, ``"undecided"`` (the intervals hold zero), or ``"depends on ..."``; two of
            them where the score and its excess over unrelated maps differ.
        evidence: a sentence with effect sizes and intervals.
    """

    verdict: str
    evidence: str


def most_samples(table: pd.DataFrame) -> str:
    """Return the Bayesian model of a table that has the most samples."""
    bayes = table[table["model"].str.startswith(BAYESIAN)]
    if bayes.empty:
        raise ValueError(f"the table has the models {', '.join(table['model'].unique())}; none of them is Bayesian.")
    return str(bayes["model"].iloc[int(bayes["n_samples"].argmax())])


def comparisons(table: pd.DataFrame, first: str, second: str, score: str = RAW) -> pd.DataFrame:
    """Compare two models in every setting of a table of :meth:`relevance.studies.Study.table`.

    Args:
        table: its rows.
        first, second: names of models.
        score: a column.

    Returns:
        A row for each attack, rule and layer: the fields of :class:`relevance.robustness.PairedDifference` of ``second``
        minus ``first``, ``direction`` (0 too where the attack could not move many more images of one model than of the other),
        ``asterisks`` of the paper's test that ``first`` is the lower one (Table V),
        ``zero_gradients`` (the larger share of the two models).
    """
    for name in (first, second):
        checks.one_of("model", name, table["model"].unique())
    rows = []
    for setting, part in table.groupby(SETTING, sort=False):
        by_model = part.pivot(index="image", columns="model", values=score)
        pair = by_model[first].to_numpy(), by_model[second].to_numpy()
        found = robustness.paired_difference(*pair)
        blind = part[part["model"].isin([first, second])].groupby("model")["gradient_is_zero"].mean()
        # Where an attack could not move one of the models, its steady maps are no robustness.
        comparable = abs(blind[first] - blind[second]) <= TOLERATED
        rows.append(
            {
                **dict(zip(SETTING, setting, strict=True)),
                **found._asdict(),
                "direction": found.direction if comparable else 0,
                "asterisks": robustness.mann_whitney(*pair).asterisks,
                "zero_gradients": blind.max(),
            }
        )
    return pd.DataFrame(rows)


def is_more_robust(table: pd.DataFrame, first: str, second: str) -> Verdict:
    """Judge the claim that ``second`` has the more robust explanations, in every setting of a table.

    It holds where the 95 % intervals of the paired difference lie above zero, in the score as it is and as excess over
    unrelated maps; where the two differ, the verdict says both.
    """
    raw, excess = (comparisons(table, first, second, score) for score in (RAW, EXCESS))
    told = f"{_counted(raw)}; as excess over unrelated maps {_counted(excess)}. {_range(raw)}"
    by_score, by_excess = _judged(raw), _judged(excess)
    same = by_score if by_score == by_excess else f"{by_score}, by the score; {by_excess}, as excess"
    return Verdict(same, told)


def _judged(rows: pd.DataFrame) -> str:
    directions = rows["direction"]
    if (directions == 1).all():
        return HOLDS
    if not (directions == 1).any():
        return FAILS if (directions == -1).any() else OPEN
    for column in SETTING:
        by_value = rows.groupby(column, sort=False)["direction"]
        if rows[column].nunique() > 1 and (by_value.nunique() == 1).all():
            good = [str(value) for value, found in by_value.first().items() if found == 1]
            return f"{MIXED} on the {column}: holds for {', '.join(good)}"
    return f"{MIXED} on the setting"


def _counted(rows: pd.DataFrame) -> str:
    counts = [(rows["direction"] == way).sum() for way in (1, -1, 0)]
    parts = [f"{count} {word}" for count, word in zip(counts, ("higher", "lower", "not distinguishable"), strict=True)
             if count]  # fmt: skip
    return f"of {len(rows)} settings {', '.join(parts)}"


def _range(rows: pd.DataFrame) -> str:
    low, high = rows.iloc[int(rows["mean"].argmin())], rows.iloc[int(rows["mean"].argmax())]
    if len(rows) == 1:
        return f"Difference {difference(low)}."
    return f"Differences from {difference(low)} ({_where(low)}) to {difference(high)} ({_where(high)})."


def _where(row: pd.Series) -> str:
    return f"{row['attack']}, {row['rule']}, layer {row['layer']}"


def difference(row: pd.Series | PairedDifference) -> str:
    """Return a mean difference with its interval, signed, with three decimals."""
    values = (
        row
        if isinstance(row, PairedDifference)
        else PairedDifference(*(row[name] for name in PairedDifference._fields))
    )
    texts = [f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") for value in (values.mean, values.low, values.high)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def bayesian_is_more_robust(table: pd.DataFrame) -> Verdict:
    """The Bayesian explanation is more robust than the deterministic one (Sec. V-A)."""
    return is_more_robust(table, DETERMINISTIC, most_samples(table))


def bayesian_beats_adversarial(table: pd.DataFrame) -> Verdict:
    """The adversarially trained network's explanation is less robust than the Bayesian one (Sec. V-A)."""
    return is_more_robust(table, ADVERSARIAL, most_samples(table))


def more_samples_help(table: pd.DataFrame) -> Verdict:
    """Explanations are the more robust, the more samples are averaged (Figs. 2 and 7 to 9)."""
    bayes = table[table["model"].str.startswith(BAYESIAN)]
    fewest = str(bayes["model"].iloc[int(bayes["n_samples"].argmin())])
    return is_more_robust(table, fewest, most_samples(table))


def _last_layer(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["layer"].astype(str) == str(table["layer"].astype(str).unique()[-1])]


def steady_but_weak(table: pd.DataFrame) -> Verdict:
    """Deterministic explanations change even where the prediction hardly does (Sec. V-B).

    Looked at are images that are classified rightly before and after the attack: one that was wrong at the start stays as it
    is for another reason.
    """
    rows = _last_layer(table)
    right = (rows["clean_class"] == rows["label"]) & (rows["attacked_class"] == rows["label"])
    rows = rows[right & (rows["model"] == DETERMINISTIC) & (rows["softmax_robustness"] >= STEADY)]
    told, holds = [], []
    for attack, part in rows.groupby("attack", sort=False):
        lost = part["ceiling_lrp_robustness"] - part[RAW]
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
    """Return Spearman's rho of LRP and softmax robustness for each model, attack and layer, with its interval."""
    rows = []
    for (model, attack, layer), part in table.groupby(["model", "attack", "layer"], sort=False):
        found = robustness.spearman(part["softmax_robustness"].to_numpy(), part[RAW].to_numpy())
        rows.append({"model": model, "attack": attack, "layer": layer, **found._asdict()})
    return pd.DataFrame(rows)


def deterministic_is_uncorrelated(table: pd.DataFrame) -> Verdict:
    """Deterministic explanations are no weaker on images whose prediction is vulnerable (Sec. V-B).

    It holds if the interval of rho lies within 0.2 of zero, does not if it lies beyond, and is undecided between.
    """
    rows = correlations(_last_layer(table[table["model"] == DETERMINISTIC]))
    none = (rows["low"] > -NEGLIGIBLE) & (rows["high"] < NEGLIGIBLE)
    some = (rows["low"] > NEGLIGIBLE) | (rows["high"] < -NEGLIGIBLE)
    if none.all():
        return Verdict(HOLDS, _rhos(rows))
    if some.all():
        return Verdict(FAILS, _rhos(rows))
    return Verdict(f"{MIXED} on the attack" if none.any() and some.any() else OPEN, _rhos(rows))


def bayesian_is_correlated(table: pd.DataFrame) -> Verdict:
    """Bayesian LRP robustness rises strongly with softmax robustness, and the more so with more samples (Sec. V-B)."""
    rows = correlations(_last_layer(table[table["model"].str.startswith(BAYESIAN)]))
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
    rows = _last_layer(table[table["model"] == most_samples(table)])
    shares = rows.assign(above=rows["softmax_robustness"] > 0.5).groupby("attack", sort=False)["above"].mean()
    told = "; ".join(f"{attack}: {share:.0%} above 0.5" for attack, share in shares.items())
    most = shares > 0.5
    return Verdict(_by_attack(most), told + ".")


class Claim(NamedTuple):
    """One claim of the paper.

    Attributes:
        text: in this book's words.
        where: section and figures of the paper.
        chapter: label of the chapter that tests it.
        experiment: name of the recorded table that it is judged by.
        judge: table -> verdict.
        attacks: kinds of attack that the claim is about.
    """

    text: str
    where: str
    chapter: str
    experiment: str
    judge: Callable[[pd.DataFrame], Verdict]
    attacks: tuple[str, ...] = ("FGSM", "PGD")


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
    part = table[table["attack"].isin(claim.attacks)]
    if part.empty:
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
