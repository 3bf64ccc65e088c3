"""Every figure, table, theorem and claim of the paper, with what the recorded runs say: nothing without a verdict or a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from relevance.attacks import named
from relevance.base import checks
from relevance.inference.certificate import LIMITS, NEARLY, NOT_CONVERGED
from relevance.metrics.statistics import EQUIVALENT, HIGHER, UNDECIDED
from relevance.studies import names, phrases, records, verdicts
from relevance.studies.carbone import claims, criteria, geometry, source, when
from relevance.studies.carbone.source import Panel
from relevance.studies.gates import UNMIXED
from relevance.studies.names import BAYESIAN, DETERMINISTIC
from relevance.studies.tables import attacks_only, last_layer, right_throughout
from relevance.studies.verdicts import Verdict

# Data set and architecture of the paper -> the recorded run.
RUNS = {
    ("mnist", "fully_connected"): "mnist-dense",
    ("mnist", "convolutional"): "mnist-convolutional",
    ("fashion_mnist", "fully_connected"): "fashion-dense",
    ("fashion_mnist", "convolutional"): "fashion-convolutional",
    ("cifar10", "resnet20"): "cifar10-residual",
}
# Recorded runs in which what the released code does otherwise is switched on.
SWITCHED = ("mnist-why", "mnist-why-released", "mnist-why-variational")
ILLUSTRATION = "illustration"
NOT_RECORDED = "not recorded"
# What of a figure has a verdict.
JUDGED = ("robustness by layer", "LRP against softmax robustness", "robustness by rule")
CELLS = "cells"
# What a theorem may be found to be, beside vanishing.
PREMISE, UNTOLD, UNJUDGED = "premise not met", "cannot be told from zero", f"{verdicts.NOT_JUDGED} ({UNMIXED})"
# What a setting that is judged and decided says of its claim.
AGREES, NO_DIFFERENCE, DIFFERS = "as the claim says", "no difference that counts", "otherwise"


class Shown(NamedTuple):
    """How one kind of figure is judged.

    Attributes:
        experiment: name of the recorded table.
        judge: the rows of the figure -> verdict.
        chapter: label of the page.
        question: what the verdict is on.
    """

    experiment: str
    judge: Callable[[pd.DataFrame], Verdict]
    chapter: str
    question: str


def shown_by(panel: Panel) -> Shown | None:
    """Return how a panel is judged; None if it is a picture without a number."""
    more, rises = "Bayesian more robust than deterministic", "Bayesian LRP rises with softmax robustness"
    if panel.shows == "robustness by layer":
        return Shown("layers", claims.bayesian_is_more_robust, "layers", more)
    if panel.shows == "LRP against softmax robustness":
        return Shown("layers", claims.bayesian_is_correlated, "softmax-robustness", rises)
    if panel.shows == "robustness by rule":
        if panel.attack in named.EXPLANATION:
            return Shown("saliency", claims.bayesian_is_more_robust, "saliency-attacks", more)
        chapter = "cifar10" if panel.dataset == "cifar10" else "rules"
        return Shown("rules", claims.bayesian_is_more_robust, chapter, more)
    return None


def rows_of(panel: Panel, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a recorded table that a panel shows."""
    return table[
        table["attack"].isin([panel.attack, named.NOISE])
        & table["rule"].isin(panel.rules)
        & table["layer"].astype(str).isin(panel.layers)
    ]


def _panel(panel: Panel) -> dict[str, Any]:
    row = {"item": f"Figure {panel.figure}", "paper": f"{panel.shows}, {panel.attack}"}
    shown, run = shown_by(panel), RUNS[panel.dataset, panel.architecture]
    if shown is None:
        return row | _picture(panel, run)
    if run not in records.runs(shown.experiment):
        reason = f"no run {run} with a table {shown.experiment}"
        return row | {"run": run, "verdict": NOT_RECORDED, "evidence": reason, "chapter": shown.chapter}
    rows = rows_of(panel, records.read_run(run, shown.experiment))
    if panel.attack not in rows["attack"].unique():
        reason = f"run {run} has no such attack"
        return row | {"run": run, "verdict": NOT_RECORDED, "evidence": reason, "chapter": shown.chapter}
    found = verdicts.of_posterior(shown.judge(rows), run, shown.experiment)
    made_by = records.provenance(run, shown.experiment)["settings"]["method"]
    other = (
        f" (The paper's posterior is by {panel.inference}, the run's by {made_by}.)"
        if made_by != panel.inference
        else ""
    )
    told = f"{shown.question}: {found.evidence}{other}{_caution(run, shown.experiment)}"
    return row | {"run": run, **_said(found), "evidence": told, "chapter": shown.chapter}


def _said(found: Verdict) -> dict[str, Any]:
    """Return the parts of a verdict that rows have; its cells are for :func:`claimed_settings`, and are not shown."""
    return {"verdict": found.verdict, "evidence": found.evidence, CELLS: found.cells}


def _caution(run: str, experiment: str) -> str:
    """Say how well recorded chains have converged, if there are any."""
    about = records.provenance(run, experiment)["posteriors"][BAYESIAN].get("diagnostics") or {}
    return f" {phrases.certificate(about)}." if about else ""


def _picture(panel: Panel, run: str) -> dict[str, Any]:
    """Return what is said of a figure that is an example: Figure 6 alone has numbers."""
    chapter = "lrp-robustness"
    if panel.figure != "6" or run not in records.runs("layers"):
        reason = "an example image; drawn for this build's data, by the same definition"
        return {"run": "", "verdict": ILLUSTRATION, "evidence": reason, "chapter": chapter}
    rows = rows_of(panel, records.read_run(run, "layers"))
    most = names.most_samples(rows)
    rows = attacks_only(rows)
    rows = rows[rows["model"].isin([DETERMINISTIC, most]) & (rows["layer"] == panel.layers[-1])]
    right = right_throughout(rows)
    failed = rows[right.groupby(rows["image"]).transform("all")]
    medians = failed.groupby("model")["lrp_robustness"].median()
    count = failed["image"].nunique()
    if not count:
        told = "the attack fails for both networks on no image, so there is nothing to compare"
        return {"run": run, **_said(verdicts.untold(told)), "chapter": chapter}
    found = verdicts.is_more_robust(failed, DETERMINISTIC, most)
    told = (
        f"paper: 0.46 deterministic, 0.68 Bayesian, one image, top 30 %; here, top 20 %, medians over the {count} images on "
        f"which the attack fails for both: {medians[DETERMINISTIC]:.2f} and {medians[most]:.2f}. {found.evidence}"
    )
    return {"run": run, **_said(found), "evidence": told, "chapter": chapter}


def figures() -> pd.DataFrame:
    """Return a row for each panel of all figures: ``paper``, ``run``, ``verdict``, ``explained by``, ``evidence``, ``chapter``.

    *Explained by* are the switches that do so in a recorded run, by :mod:`relevance.studies.carbone.criteria`.
    """
    columns = ["item", "paper", "run", "verdict", "explained by", "evidence", "chapter"]
    return pd.DataFrame(_panels())[columns].set_index("item")


@cache
def _panels() -> list[dict[str, Any]]:
    """Return what :func:`figures` has, with the settings that each verdict counts."""
    return [{**_panel(panel), "explained by": explained_by(panel)} for panel in source.FIGURES]


def explained_by(panel: Panel) -> str:
    """Return which choices would explain a panel of the paper, by recorded runs on its data set and architecture.

    That nothing was found, or recorded, is said too.
    """
    if panel.shows not in JUDGED:
        return ""
    recorded = [run for run in SWITCHED if run in records.runs("explained")]
    stories = {run: records.provenance(run, "explained")["settings"] for run in recorded}
    tables = {
        run: records.read_run(run, "explained")
        for run, story in stories.items()
        if (story["dataset"], story["architecture"]) == (panel.dataset, panel.architecture)
    }
    found: dict[str, list[str]] = {}
    for run, table in tables.items():
        for name in criteria.explaining(table, panel.figure):
            found.setdefault(name, []).append(run)
    told = [
        name if len(runs) == len(tables) else f"{name} ({phrases.join(runs)} alone)" for name, runs in found.items()
    ]
    return "; ".join(told) or ("nothing found" if tables else NOT_RECORDED)


def claimed(chapter: str = "") -> pd.DataFrame:
    """Return a row for each claim and recorded run: ``paper``, ``run``, ``says``, ``verdict``, ``evidence``, ``chapter``.

    Args:
        chapter: label of the page whose claims they are; all where none is given.
    """
    columns = ["item", "paper", "run", "says", "verdict", "evidence", "chapter"]
    return pd.DataFrame(_claims(chapter), columns=columns).set_index("item")


def settings_of(name: str, run: str) -> pd.DataFrame:
    """Return the judged settings of one of :data:`claims.CLAIMS` in a recorded run; none where it is not recorded."""
    (row,) = [row for row in _claim(checks.one_of("claim", name, claims.CLAIMS)) if row["run"] == run] or [{}]
    return row.get(CELLS, verdicts.untold("").cells)


def _claims(chapter: str = "") -> list[dict[str, Any]]:
    """Return what :func:`claimed` has, with the settings that each verdict counts."""
    named_so = [name for name, claim in claims.CLAIMS.items() if chapter in ("", claim.chapter)]
    return [row for name in named_so for row in _claim(name)]


@cache
def _claim(name: str) -> list[dict[str, Any]]:
    """Return the rows of one claim."""
    rows, claim = [], claims.CLAIMS[name]
    for (dataset, _), run in RUNS.items():
        if claim.datasets and dataset not in claim.datasets:
            continue
        row = {"item": claim.text, "paper": claim.where, "run": run, "says": claim.says, "chapter": claim.chapter}
        if run not in records.runs(claim.experiment):
            rows.append(row | {"verdict": NOT_RECORDED, "evidence": f"no table {claim.experiment}"})
            continue
        table = records.read_run(run, claim.experiment)
        found = claims.judge(claim, table)
        if claim.of_posterior:
            found = verdicts.of_posterior(found, run, claim.experiment)
        rows.append(row | _said(found) | {"evidence": found.evidence + _caution(run, claim.experiment)})
    return rows


def ladder(run: str = RUNS["mnist", "fully_connected"]) -> pd.DataFrame:
    """Return :func:`relevance.studies.carbone.when.ladder` of a recorded run of all models, for the explanation of the class.

    Steps to a posterior whose chains have not converged are not judged.
    """
    rows = last_layer(records.read_run(run, "layers"))
    about = records.provenance(run, "layers")["settings"]
    case = {"n_train": about["n_train"], "prior scale": about["inference"]["prior_scale"], "trajectory": 1}
    known = [] if records.is_unmixed(run, "layers") else [(case["n_train"], case["prior scale"])]
    return when.mixed(when.ladder(rows[rows["rule"] == "epsilon"].assign(**case)), known)


def crossed_ladder(run: str = "mnist-when") -> pd.DataFrame:
    """Return :func:`relevance.studies.carbone.when.ladder` of a recorded crossing.

    Steps to a posterior are judged where a recorded certificate says that chains on the same data, with the same width, prior and
    number of training images, have mixed.
    """
    story = records.provenance(run, "when")
    same = story["settings"]["hidden"], story["data"]["source"].partition(";")[0]
    told = [records.provenance(other, "certificate")["settings"] for other in records.runs("certificate")]
    alike = [one for one in told if (one["hidden"], one["dataset"].partition(";")[0]) == same]
    known = [(one["n_train"], one["prior_scale"]) for one in alike if one["certificate"] != NOT_CONVERGED]
    return when.mixed(when.ladder(records.read_run(run, "when")), known)


def theorem(rows: pd.DataFrame) -> dict[str, str]:
    """Judge Theorem IV.1 by the largest HMC case of a :func:`geometry.sweep` on each manifold: does what is across it vanish?

    What is left contradicts no theorem: its proof takes every sample to equal the true function on the manifold (Sec. VII-A),
    and the true log-odds of classes that never overlap are infinite, so that no sample does.

    Returns:
        Part across the manifold -> what is found, with the verdict first: ``"vanishes"`` if the whole interval lies below
        :data:`geometry.NOTHING`, ``"premise not met"`` if it lies above, ``"cannot be told from zero"`` between; and
        :data:`UNJUDGED` where R-hat is not below what the certificate asks for *nearly*: such draws are no posterior's.
    """
    found = {}
    for part in (geometry.OUTSIDE, geometry.CURVED):
        told, words = [], list[tuple[str, str]]()
        for name, cases in rows[rows["method"] == "hmc"].groupby("manifold", sort=False):
            row = cases.sort_values(["training points", "width"]).iloc[-1]
            low, high = row[f"{part}, low"], row[f"{part}, high"]
            told.append(f"{name} {row[part]:.2f} [{low:.2f}, {high:.2f}], R-hat {row['R-hat']:.2f}")
            # What an interval over four chains cannot tell from nothing has not been shown to be nothing.
            word = PREMISE if low > geometry.NOTHING else "vanishes" if high < geometry.NOTHING else UNTOLD
            mixed = row["R-hat"] < LIMITS[NEARLY][0]  # an unknown R-hat is not
            words.append((word if mixed else UNJUDGED, str(name)))
        verdict = words[0][0] if len(dict(words)) == 1 else ", ".join(f"{word} on {name}" for word, name in words)
        found[part] = f"{verdict}: {'; '.join(told)}".replace(" -", " \N{MINUS SIGN}").replace("[-", "[\N{MINUS SIGN}")
    return found


def theory(run: str = "geometry") -> pd.DataFrame:
    """Return a row for each statement of the theory: ``paper``, ``run``, ``verdict``, ``evidence``, ``chapter``."""
    rows = [
        ("Lemma VII.1", "a function on a submanifold continues with any slope across it", "taken over",
         "a theorem of differential geometry"),
        ("Lemma VII.2", "wide networks reach zero loss on the manifold", "taken over",
         "a limit; the accuracies in the chapter show how near it is"),
        ("Corollary VII.1", "for all weights there are others with the opposite slope across the manifold", "taken over",
         "an existence proof; the posterior's weight on such pairs is what the theorem needs"),
    ]  # fmt: skip
    found = theorem(records.read_run(run, "geometry")) if run in records.runs("geometry") else {}
    for part in (geometry.OUTSIDE, geometry.CURVED):
        verdict, _, told = found.get(part, NOT_RECORDED).partition(": ")
        rows.append(
            (f"Theorem IV.1, {part}", "the expected gradient across the manifold vanishes", verdict, told or "no run")
        )
    columns = ["item", "paper", "verdict", "evidence"]
    return pd.DataFrame(rows, columns=columns).assign(run=run, chapter="geometry").set_index("item")


def smaller(story: Mapping[str, Any]) -> list[str]:
    """Return what of a recorded run is smaller than in the paper, by its story."""
    settings, name = story["settings"], story["settings"]["dataset"]
    n_train = next(iter(story["posteriors"].values()))["n_train"]
    sizes: list[tuple[str, int, int | None]] = [
        ("training images", n_train, 50_000 if name == "cifar10" else 60_000),
        ("test images", settings["n_images"], source.N_IMAGES),
        ("neurons a layer", settings["hidden"], source.HIDDEN.get(name)),
        ("epochs", settings["epochs"], source.epochs(name, settings["architecture"], settings["method"])),
        ("posterior draws", settings["n_draws"], 100),
        ("draws of warm-up", settings["inference"].get("warmup", 100) if settings["method"] == "hmc" else 100, 100),
    ]
    found = [f"{value:,} {what} of {whole:,}" for what, value, whole in sizes if whole and value < whole]
    trained_at = settings["adversarial"].get("epsilon", settings["epsilon"])
    if trained_at != settings["epsilon"]:
        found.append(f"adversarial training at size {trained_at:g}, attacks at {settings['epsilon']:g}")
    return found


def tables() -> pd.DataFrame:
    """Return a row for each table of the paper: ``paper``, ``verdict``, ``evidence``, ``chapter``."""
    changed: dict[str, list[str]] = {}
    for training in source.TRAINING:
        run = RUNS[training.dataset, training.architecture]
        less = smaller(records.provenance(run, "layers")) if run in records.runs("layers") else []
        cut = [f"{run}: {phrases.join(less)}"] if less else []
        own = [f"{name}: {text}" for name, text in training.ours.items()]
        known = changed.setdefault(training.table, [])
        known += [text for text in (*own, *cut) if text not in known]
    rows = [
        ("Table I", "convolutional architecture", "built", "its input has 1 channel, not 784", "architectures"),
        ("Table II", "dense architecture", "built", "", "architectures"),
        ("Table III", "training by variational inference", "in part", "; ".join(changed["III"]), "architectures"),
        ("Table IV", "training by HMC", "in part", "; ".join(changed["IV"]), "architectures"),
        ("Table V", "asterisks", "used", "beside paired differences with intervals", "rules"),
    ]
    return pd.DataFrame(rows, columns=["item", "paper", "verdict", "evidence", "chapter"]).set_index("item")


def _settings(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the settings of all verdicts together, with ``item``, ``run`` and ``says``."""
    kept = ("item", "run", "says")
    parts = [row[CELLS].assign(**{name: row.get(name, HIGHER) for name in kept}) for row in rows if CELLS in row]
    return pd.concat([part for part in parts if len(part)], ignore_index=True)


def claimed_settings() -> pd.DataFrame:
    """Return a row for each setting that a verdict on a claim counts: ``item``, ``run``, ``says``, ``standing``, numbers."""
    return _settings(_claims())


def agreement(settings: pd.DataFrame) -> pd.Series:
    """Return what each setting says of its claim, from its ``standing`` and from what it ``says`` if the claim is right.

    It is one of :data:`AGREES`, :data:`NO_DIFFERENCE` and :data:`DIFFERS`, or, as the standing has it, undecided or not judged.
    """
    standing, says = settings["standing"], settings["says"]
    found = standing.where(standing.isin([UNDECIDED, verdicts.NOT_JUDGED]), DIFFERS)
    return found.mask(standing == EQUIVALENT, NO_DIFFERENCE).mask(standing == says, AGREES)


def of_figures() -> str:
    """Say how many settings of all figures have which standing."""
    return f"{verdicts.counted(_settings(_panels()))}."


def in_short() -> str:
    """Say what became of all claims in the recorded runs."""
    found = claimed_settings()
    return (
        f"{found['item'].nunique()} claims, judged by {found['run'].nunique()} recorded runs in {len(found)} settings: "
        f"{verdicts.counted(found)}. Of those judged, the claim that this book adds among them, "
        f"{1 - _shares(found)[UNDECIDED]:.0%} are decided."
    )


def answer() -> str:
    """Say how much of what the paper claims comes out in recorded runs, for who has read nothing yet."""
    found = claimed_settings()
    paper = found[found["item"] != claims.CLAIMS["direction"].text]  # which is this book's own
    shares = _shares(paper)
    lead = "Most" if shares[AGREES] > 0.5 else "Less than half"
    methods = {
        run: records.provenance(run, records.experiments(run)[0])["settings"]["method"] for run in found["run"].unique()
    }
    by_method = {str(method): _shares(rows)[AGREES] for method, rows in paper.groupby(paper["run"].map(methods))}
    told = [f"{share:.0%} in runs with {names.INFERENCE[method]}" for method, share in by_method.items()]
    return (
        f"**{lead} of what the paper claims comes out in this book's recorded runs.** Of the settings that can be judged, "
        f"{shares[AGREES]:.0%} come out {AGREES}: {phrases.join(told)}. The others show {NO_DIFFERENCE}, come out {DIFFERS}, or "
        "are open."
    )


def _shares(settings: pd.DataFrame) -> pd.Series:
    """Return which share of the judged settings says what of its claim."""
    said = agreement(settings)
    shares = said[said != verdicts.NOT_JUDGED].value_counts(normalize=True)
    return shares.reindex([AGREES, NO_DIFFERENCE, DIFFERS, UNDECIDED], fill_value=0.0)


def summary() -> pd.DataFrame:
    """Return the verdict on each claim by each run: a row for each claim, a column for each run, an empty cell for none."""
    rows = claimed().reset_index()
    wide = rows.pivot(index="item", columns="run", values="verdict").reindex(rows["item"].unique())
    return wide[[run for run in RUNS.values() if run in wide]]
