"""What a page shows of a study: where its numbers come from, and its tables, figures and verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from relevance.attacks.named import NOISE
from relevance.metrics.statistics import mann_whitney
from relevance.pages import show
from relevance.pages.figures.scores import difference_grid, intervals, lrp_against_softmax
from relevance.studies import names, records, tables
from relevance.studies.carbone import claims
from relevance.studies.carbone import words as carbone_words
from relevance.studies.carbone.study import Study
from relevance.studies.differences import between, by_run, comparisons
from relevance.studies.dombrowski import tables as dombrowski_tables
from relevance.studies.gates import why_not
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC
from relevance.studies.phrases import made
from relevance.studies.tables import only
from relevance.studies.verdicts import standings


def fresh(study: Study, **also: Any) -> show.Folded:
    """Say what this build's study stands on; ``also`` as for :func:`relevance.studies.records.keep`."""
    story = records.story(study, **also)
    return show.Folded(f"*This build.* {carbone_words.study(story)} {made(story)}")


def scatter(table: pd.DataFrame, rows: str = "layer", models: Sequence[str] = (), **chosen: str) -> Figure:
    """Draw :func:`figures.scores.lrp_against_softmax` of the rows that have the chosen values, as for :func:`only`.

    Args:
        table: from :meth:`relevance.studies.carbone.study.Study.table`.
        rows: a column of the table that sets the rows of panels.
        models: that are shown, all if none is named; ``"Bayesian"`` is the one with the most samples.
        chosen: as for :func:`only`.
    """
    part = only(table, **chosen)
    called = [names.most_samples(part) if name == BAYESIAN else name for name in models]
    return lrp_against_softmax(part[part["model"].isin(called)] if called else part, rows)


def correlations(table: pd.DataFrame, **chosen: str) -> Styler:
    """Return Spearman's rho of LRP and softmax robustness, with its interval, for each model, attack, rule and layer.

    Of the rows that have the chosen values, as for :func:`only`.

    *Tied* is the share of images whose softmax robustness another image has too: they have no rank of their own.
    """
    found = claims.correlations(only(table, **chosen))
    names = ["model", "attack", *(["rule"] if found["rule"].nunique() > 1 else []), "layer"]
    return show.table(
        found[[*names, "rho", "low", "high", "tied"]].set_index(names),
        "Rank correlations of LRP and softmax robustness",
    )


def grid(table: pd.DataFrame, rows: str, columns: str, *, asterisks: bool = False, **chosen: str) -> Figure:
    """Draw :func:`figures.difference_grid` from the deterministic network, of the rows with the chosen values.

    Args:
        table: from :meth:`relevance.studies.carbone.study.Study.table`.
        rows, columns: what the panels stand for.
        asterisks: of the paper's test that adversarially trained is lower than Bayesian.
        chosen: as for :func:`only`.
    """
    compared = (ADVERSARIAL, names.most_samples(table)) if asterisks else None
    part = only(table, **chosen)
    return difference_grid(part, DETERMINISTIC, rows=rows, columns=columns, compared=compared)


def gaps(table: pd.DataFrame, rows: Sequence[str], columns: str, *, asterisks: bool = False, **chosen: str) -> Figure:
    """Draw how much more robust the explanations of every model are than the deterministic network's, with intervals.

    Args:
        table: from :meth:`relevance.studies.carbone.study.Study.table`, or of several runs :func:`recorded.others`.
        rows, columns: as for :func:`figures.intervals`.
        asterisks: of the paper's test that adversarially trained is lower than Bayesian; then of the Bayesian models that with
            the most samples alone is shown.
        chosen: as for :func:`only`.
    """
    about = f"LRP robustness minus that of the {DETERMINISTIC} network: to the right of the dashed line steadier"
    found = pd.DataFrame(_gaps(only(table, **chosen), asterisks=asterisks))
    return intervals(_layers(found), rows=rows, columns=columns, about=about)


def _gaps(table: pd.DataFrame, *, asterisks: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each model but the deterministic one and each setting, as :func:`figures.intervals` takes it."""
    setting = [name for name in ("recorded", *tables.SETTING) if name in table]
    for values, part in table.groupby(setting, sort=False):
        most = names.most_samples(part)
        known = {str(name): rows for name, rows in part.groupby("model", sort=False)}
        for name, rows in known.items():
            if name == DETERMINISTIC or (asterisks and name.startswith(BAYESIAN) and name != most):
                continue
            pair = part[part["model"].isin([DETERMINISTIC, name])]
            found = between(by_run(known[DETERMINISTIC]), by_run(rows))
            row = dict(zip(setting, values, strict=True)) | {"model": name, "reason": _unjudged(rows) or why_not(pair)}
            if asterisks:
                averages = [by_run(known[model]).mean(0) for model in (ADVERSARIAL, most)]
                row["asterisks"] = mann_whitney(*averages).asterisks
            yield row | {end: getattr(found, end) for end in ("mean", "low", "high")}


def rhos(table: pd.DataFrame, rows: Sequence[str], columns: str, **chosen: str) -> Figure:
    """Draw Spearman's rho of LRP and softmax robustness of every model, with intervals; arguments are those of :func:`gaps`."""
    part = only(table, **chosen)
    runs = part.groupby("recorded", sort=False) if "recorded" in part else [("", part)]
    parts = []
    for called, some in runs:
        each = claims.correlations(some)
        reasons = {name: _unjudged(of_model) for name, of_model in some.groupby("model")}
        parts.append(
            each.assign(recorded=called, reason=each["model"].map(reasons).where(lambda why: why != "", each["reason"]))
        )
    found = pd.concat(parts, ignore_index=True)
    return intervals(_layers(found), rows=rows, columns=columns, about="Spearman's rho of LRP and softmax robustness")


def _unjudged(rows: pd.DataFrame) -> str:
    """Say why nothing is said of a model's rows, as :func:`recorded.others` has it."""
    return str(rows["unjudged"].iloc[0]) if "unjudged" in rows else ""


def _layers(found: pd.DataFrame) -> pd.DataFrame:
    """Return rows whose layers are called by their place, as networks of several architectures share it."""
    runs = found.groupby("recorded", sort=False) if "recorded" in found else [("", found)]
    parts = []
    for _, some in runs:
        layers = list(some["layer"].astype(str).unique())
        called = {layer: f"layer {place}" for place, layer in enumerate(layers[:-1], 1)} | {layers[-1]: "class"}
        parts.append(some.assign(layer=some["layer"].astype(str).map(called)))
    return pd.concat(parts, ignore_index=True)


def all_runs() -> Styler:
    """Return a row for each recorded table: data, sizes, minutes, date, hardware, commit, and whether its code is that of now."""
    rows = []
    for run in records.runs():
        for experiment in records.experiments(run):
            story = records.provenance(run, experiment)
            sizes = {
                name: value for name, value in story["settings"].items() if name in ("n_images", "hidden", "n_draws")
            }
            rows.append(
                {
                    "run": run,
                    "table": experiment,
                    **sizes,
                    "minutes": story["seconds"] / 60,
                    "date": story["date"],
                    "hardware": story["hardware"],
                    "commit": story["commit"],
                    "code": "older" if records.is_of_older_code(run, experiment) else "as now",
                }
            )
    return show.table(pd.DataFrame(rows).set_index("run"), "Every recorded table")


def accuracies(table: pd.DataFrame) -> Styler:
    """Return what the attacks did to the predictions: a row for each model, a column for each attack, and the clean one."""
    rows = table.drop_duplicates(["model", "attack", "image"])
    clean = rows[rows["attack"] == rows["attack"].iloc[0]]
    right = (clean["clean_class"] == clean["label"]).groupby(clean["model"], sort=False).mean()
    kept = (rows["attacked_class"] == rows["label"]).groupby([rows["model"], rows["attack"]], sort=False).mean()
    blind = rows.groupby(["model", "attack"], sort=False)["gradient_is_zero"].mean().groupby("model", sort=False).max()
    found = pd.concat([right.rename("clean"), kept.unstack(sort=False), blind.rename("nothing to follow")], axis=1)
    return show.table(found.rename_axis("accuracy under"), "Accuracy under each attack")


def means(table: pd.DataFrame, score: str = "lrp_robustness") -> Styler:
    """Return the mean of a score of the explanation of the class: a row for each attack and rule, a column for each model."""
    last = tables.last_layer(table)
    several = [name for name in ("attack", "rule") if last[name].nunique() > 1] or ["attack"]
    found = last.groupby([*several, "model"], sort=False)[score].mean().unstack("model", sort=False)
    return show.table(found.rename_axis(columns=None), "Mean scores")


def verdicts(table: pd.DataFrame, *names: str) -> Styler:
    """Return the verdicts on claims of :mod:`relevance.studies.carbone.claims` by a table."""
    return show.table(claims.judged(table, names), "Verdicts")


def differences(table: pd.DataFrame) -> Styler:
    """Return, for each setting, by how much the Bayesian explanation is more robust, and its standing, or why it has none."""
    rows = comparisons(table, DETERMINISTIC, names.most_samples(table))
    found = standings(rows[rows["attack"] != NOISE])
    told = found["standing"].mask(found["reason"] != "", found["standing"] + ": " + found["reason"])
    shown = rows[[*tables.SETTING, "mean", "low", "high", "effect", "p_value"]].copy()
    shown[["scaled", "scaled low", "scaled high"]] = rows[["scaled", "scaled_low", "scaled_high"]]
    shown["zero gradients"], shown["as noise"] = rows["zero_gradients"], rows["as_noise"]
    shown["standing"] = told.reindex(rows.index, fill_value="")
    return show.table(shown.set_index(tables.SETTING), "The difference in every setting")


MANIPULATED = ["images", "manipulated", "manipulated, low", "manipulated, high", "closer to target", "before", "to target",
               "to origin", "under noise", "outputs", "labels kept", "l2", "l2 / image", "noise l2"]  # fmt: skip


def manipulated(table: pd.DataFrame) -> Styler:
    """Return what became of each model and method under manipulation, in short."""
    return show.table(
        dombrowski_tables.summary(table).set_index(["model", "method"])[MANIPULATED], "What manipulation did, in full"
    )


def linked(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with links to their chapters, for a page in the folder ``appendix``."""
    folder = {"lrp-robustness": "../method", "geometry": "../method", "architectures": ".", "manipulation": "../manipulation",
              "smoothing": "../manipulation", "table-1": "../robust-training", "joint": "../robust-training",
              "generator": "../robust-training", "training": "../robust-training"}  # fmt: skip
    links = [
        f'<a href="{folder.get(chapter, "../experiments")}/{chapter}.html">{chapter}</a>' for chapter in rows["chapter"]
    ]
    return rows.assign(chapter=links)
