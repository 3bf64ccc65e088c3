"""Claims and verdicts: what a table of differences says of a sentence in a source, setting by setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import pandas as pd

from relevance.attacks.named import NOISE
from relevance.metrics.statistics import HIGHER, LEVEL, LOWER, MARGIN, STANDINGS, UNDECIDED, holm, standing
from relevance.studies import records
from relevance.studies.differences import comparisons
from relevance.studies.gates import UNMIXED
from relevance.studies.phrases import difference, join
from relevance.studies.tables import SETTING

NOT_JUDGED = "not judged"
NO_SUCH = "no such setting"


class Verdict(NamedTuple):
    """What a table says about a claim.

    Attributes:
        verdict: in how many settings the score is ``"higher"``, ``"equivalent"``, ``"lower"`` or ``"undecided"``, and how many
            are ``"not judged"``, and why; in brackets, that models were trained once.
        evidence: a sentence with effect sizes and intervals.
        cells: a row for each setting: ``mean``, ``low``, ``high``, ``p_value``, ``reason`` and ``standing``.
    """

    verdict: str
    evidence: str
    cells: pd.DataFrame


def standings(cells: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """Judge the settings of one claim: each by its interval, and all together by Holm's rule.

    Args:
        cells: a row for each setting: ``low``, ``high`` and ``p_value`` of a difference, and ``reason``, why it is not judged, or
            nothing.
        margin: up to which a difference is as good as none, above 0.

    Returns:
        The rows with ``standing``: that of :func:`relevance.metrics.standing`, ``"not judged"`` where there is a reason. What the
        interval alone would call higher or lower is undecided where the p-value, adjusted for the claim's judged settings
        (:func:`relevance.metrics.holm`), is not below 5 %.
    """
    allowed = cells["reason"] == ""
    sure = pd.Series(False, index=cells.index)
    sure[allowed] = holm(cells.loc[allowed, "p_value"]) < LEVEL
    found = [
        NOT_JUDGED if reason else standing(low, high, margin)
        for low, high, reason in zip(cells["low"], cells["high"], cells["reason"], strict=True)
    ]
    by_interval = pd.Series(found, index=cells.index, dtype=object)
    return cells.assign(standing=by_interval.mask(by_interval.isin([HIGHER, LOWER]) & ~sure, UNDECIDED))


def counted(cells: pd.DataFrame) -> str:
    """Say how many settings have which standing, and why others have none: 'higher in 7 of 8; 1 not judged: at chance'."""
    counts, total = cells["standing"].value_counts(), len(cells)
    if not total:
        return f"{NOT_JUDGED}: {NO_SUCH}"
    why = cells.loc[cells["standing"] == NOT_JUDGED, "reason"].value_counts()
    reasons = ", ".join(why.index if len(why) == 1 else (f"{reason} ({count})" for reason, count in why.items()))
    if len(counts) == 1:
        (only,) = counts.index
        return f"{NOT_JUDGED}: {reasons}" if only == NOT_JUDGED else only if total == 1 else f"{only} in all {total}"
    told = [f"{name} in {counts[name]}" for name in STANDINGS if name in counts]
    told[0] += f" of {total}"
    return ", ".join(told) + (f"; {why.sum()} {NOT_JUDGED}: {reasons}" if len(why) else "")


def verdict(cells: pd.DataFrame, evidence: str) -> Verdict:
    """Return the verdict on cells that :func:`standings` has judged, in words.

    Of those that are judged, it says in how many an attack did no more than noise of its size, by ``as_noise`` where they have
    it; and where one of the models was trained once, by ``n_runs`` or for want of it, that it speaks of these trainings alone.
    """
    told, allowed = counted(cells), cells[cells["standing"] != NOT_JUDGED]
    if "as_noise" in cells and (weak := int((allowed["as_noise"] != "").sum())):
        told += f"; as noise in {weak}"
    once = len(allowed) > 0 and ("n_runs" not in cells or bool((allowed["n_runs"] < 2).any()))
    return Verdict(told + (" (one run)" if once else ""), evidence, cells)


def untold(evidence: str) -> Verdict:
    """Return the verdict of a table that has no setting that a claim is about."""
    return verdict(pd.DataFrame(columns=["mean", "low", "high", "p_value", "reason", "standing"]), evidence)


def judged(table: pd.DataFrame, first: str, second: str, *, kept: bool = False) -> pd.DataFrame:
    """Return the settings in which ``second`` is compared with ``first``, judged: every attack, rule and layer.

    Args:
        table: as for :func:`relevance.studies.differences.comparisons`. Rows of noise are no setting: attacks are compared with
            them.
        first, second: names of models.
        kept: compare on the images whose prediction stayed alone.
    """
    rows = comparisons(table, first, second, kept=kept)
    return standings(rows[rows["attack"] != NOISE])


def is_more_robust(table: pd.DataFrame, first: str, second: str) -> Verdict:
    """Judge the claim that ``second`` has the more robust explanations, in every setting of a table.

    It is judged by the score as it is. The evidence also counts the settings by the score that is scaled by the room above
    unrelated maps, and for the images whose prediction stayed.
    """
    rows, kept = (judged(table, first, second, kept=kept) for kept in (False, True))
    scaled = [
        NOT_JUDGED if row["reason"] else standing(row["scaled_low"], row["scaled_high"])
        for row in rows.to_dict("records")
    ]
    told = [
        _range(rows),
        f"Scaled: {counted(rows.assign(standing=scaled))}.",
        f"Where the prediction stayed: {counted(kept)}.",
    ]
    weak = rows["as_noise"][rows["as_noise"] != ""].value_counts(sort=False)
    if len(weak):
        told.append(f"As noise: {join([f'{models} in {count}' for models, count in weak.items()])}.")
    if (runs := rows["n_runs"].min()) > 1:
        told.append(f"Of {runs} runs of each model, which make up to {rows['run_share'].max():.0%} of a variance.")
    return verdict(rows, " ".join(told))


def _range(rows: pd.DataFrame) -> str:
    known = rows.dropna(subset="mean")
    if known.empty:
        return "There are too few images for a difference."
    low, high = known.iloc[int(known["mean"].argmin())], known.iloc[int(known["mean"].argmax())]
    if len(known) == 1:
        return f"Difference {difference(low)}."
    return f"Differences from {difference(low)} ({_where(low)}) to {difference(high)} ({_where(high)})."


def _where(row: pd.Series) -> str:
    return ", ".join(f"layer {row[name]}" if name == "layer" else str(row[name]) for name in SETTING)


class Claim(NamedTuple):
    """One claim of a source.

    Attributes:
        text: in this book's words.
        where: section and figures of the source.
        chapter: label of the chapter that tests it.
        experiment: name of the recorded table that it is judged by.
        judge: table -> verdict.
        attacks: on predictions or explanations, by name, that the claim is about where its table has several.
        datasets: that the claim is about; all if empty.
        says: the standing that settings have if the claim is right.
        of_posterior: whether it is one of the posterior, so that there is no verdict where its chains have not converged.
    """

    text: str
    where: str
    chapter: str
    experiment: str
    judge: Callable[[pd.DataFrame], Verdict]
    attacks: tuple[str, ...] = ("FGSM", "PGD")
    datasets: tuple[str, ...] = ()
    says: str = HIGHER
    of_posterior: bool = False


def of_posterior(found: Verdict, run: str, experiment: str) -> Verdict:
    """Return a verdict on a posterior, which is none where its chains have not converged: their draws are no posterior's."""
    if not records.is_unmixed(run, experiment) or found.cells.empty:
        return found
    cells = found.cells.assign(reason=found.cells["reason"].where(found.cells["reason"] != "", UNMIXED))
    return verdict(cells.assign(standing=NOT_JUDGED), found.evidence)


def claimed(by_run: Iterable[tuple[Claim, str]]) -> pd.DataFrame:
    """Return a row for each claim and run that has its table: ``source``, ``run``, ``says``, ``verdict``, ``evidence``, ..."""
    rows = []
    for claim, run in by_run:
        if run in records.runs(claim.experiment):
            found = claim.judge(records.read_run(run, claim.experiment))
            if claim.of_posterior:
                found = of_posterior(found, run, claim.experiment)
            row = {"item": claim.text, "source": claim.where, "run": run, "says": claim.says}
            rows.append({**row, "verdict": found.verdict, "evidence": found.evidence, "chapter": claim.chapter})
    columns = ["item", "source", "run", "says", "verdict", "evidence", "chapter"]
    return pd.DataFrame(rows, columns=columns).set_index("item")
