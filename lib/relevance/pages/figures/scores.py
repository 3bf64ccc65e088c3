"""Figures of scores, image by image."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relevance.base import checks
from relevance.metrics.statistics import mann_whitney, spearman
from relevance.pages.figures.style import INK, PAPER, VERMILION, colour_of, new_figure
from relevance.studies.differences import by_run
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC, MAP, MAP_ENSEMBLE

# A model has one mark, as it has one colour; of the longer names the first that fits.
MARKS = {DETERMINISTIC: "v", ADVERSARIAL: "^", MAP: "s", MAP_ENSEMBLE: "D", BAYESIAN: "o"}


def robustness_distributions(table: pd.DataFrame, score: str = "lrp_robustness") -> Figure:
    """Draw the distribution of a score over the images for each model, with the score of unrelated maps.

    Args:
        table: from :func:`relevance.studies.tables.robustness_table`.
        score: ``"lrp_robustness"`` or ``"softmax_robustness"``.
    """
    labels = {"lrp_robustness": "LRP robustness", "softmax_robustness": "softmax robustness"}
    checks.one_of("score", score, labels)
    models = list(table["model"].unique())
    with new_figure(1, 1, (7.4, 0.9 + 0.55 * len(models))) as (figure, axes):
        axis = axes[0, 0]
        boxes(axis, [table.loc[table["model"] == model, score] for model in models], models)
        axis.set_xlabel(f"{labels[score]} of an image")
        axis.set_xlim(-0.02, 1.02)
        if score == "lrp_robustness":
            chance = [table.loc[table["model"] == model, f"unrelated_{score}"].mean() for model in models]
            axis.scatter(chance, range(len(models)), marker="|", s=260, color=VERMILION, linewidths=2, zorder=3)
            handle = plt.Line2D([], [], color=VERMILION, marker="|", markersize=12, markeredgewidth=2, linestyle="")
            figure.legend([handle], ["mean score of unrelated maps"], loc="outside upper right")
    return figure


def paired_differences(table: pd.DataFrame, baseline: str, score: str = "lrp_robustness") -> Figure:
    """Draw, for each other model, the image-by-image difference of a score from ``baseline`` (Carbone et al., Fig. 2).

    Args:
        table: from :func:`relevance.studies.tables.robustness_table`.
        baseline: the model that is subtracted.
        score: a column of the table.
    """
    by_model = table.pivot(index="image", columns="model", values=score)
    checks.one_of("baseline", baseline, by_model.columns)
    models = [model for model in table["model"].unique() if model != baseline]
    differences = [by_model[model] - by_model[baseline] for model in models]
    with new_figure(1, 1, (7.4, 0.9 + 0.55 * len(models))) as (figure, axes):
        axis = axes[0, 0]
        axis.axvline(0, color="0.5", linewidth=1, linestyle="--", zorder=0)
        boxes(axis, differences, models)
        axis.set_xlabel(f"{score.replace('_', ' ').replace('lrp', 'LRP')} minus that of {baseline}, image by image")
    return figure


def boxes(axis: Axes, values: Sequence[pd.Series], names: Sequence[str]) -> None:
    """Draw horizontal boxes (quartiles, whiskers to 1.5 times their distance), each with its points and its mean."""
    positions = np.arange(len(names))
    generator = np.random.default_rng(0)
    for position, value, name in zip(positions, values, names, strict=True):
        jitter = generator.uniform(-0.28, 0.28, len(value))
        axis.scatter(value, position + jitter, s=5, color=colour_of(name), alpha=0.4, linewidths=0, rasterized=True)
    axis.boxplot(
        values,
        positions=positions,
        orientation="horizontal",
        widths=0.56,
        showfliers=False,
        showmeans=True,
        medianprops={"color": INK, "linewidth": 1.6},
        meanprops={"marker": "D", "markerfacecolor": PAPER, "markeredgecolor": INK, "markersize": 5},
    )
    axis.set_yticks(positions, names)
    axis.invert_yaxis()


def difference_grid(
    table: pd.DataFrame, baseline: str, *, rows: str, columns: str, compared: tuple[str, str] | None = None
) -> Figure:
    """Draw the image-by-image differences of LRP robustness from ``baseline``, a panel for each setting.

    A point is an image, with the mean over the runs of a model where there are several. At the right of each box stands the share
    of images on which the attack had nothing to follow.

    Args:
        table: from :meth:`relevance.studies.carbone.study.Study.table`.
        baseline: the model that is subtracted.
        rows, columns: columns of the table whose values the panels stand for (Carbone et al., Figs. 2 and 7 to 9: layers by
            attacks; Figs. 3 and 10 to 15: layers by rules).
        compared: two models; the asterisks of the paper's test that the first is the lower one (Table V) stand above
            the panel.
    """
    for name in (rows, columns):
        checks.one_of("rows and columns", name, table.columns)
    cell = [rows, columns, "model", "image"]
    if table.duplicated([*cell, *(["run"] if "run" in table else [])]).any():
        several = [
            name for name in ("attack", "rule", "layer") if name not in (rows, columns) and table[name].nunique() > 1
        ]
        raise ValueError(
            f"a panel for each {rows} and {columns} would hold several rows of the same image and model; choose one "
            f"{' and one '.join(several) or 'row of each'}."
        )
    down, across = (list(table[name].astype(str).unique()) for name in (rows, columns))
    table = table.groupby(cell, sort=False)[["lrp_robustness", "gradient_is_zero"]].mean().reset_index()
    models = [
        model
        for model in table["model"].unique()
        if model != checks.one_of("baseline", baseline, table["model"].unique())
    ]
    size = (1.6 + 2.3 * len(across), 0.9 + len(down) * (0.45 + 0.3 * len(models)))
    with new_figure(len(down), len(across), size) as (figure, axes):
        for number, (row, column) in enumerate((one, other) for one in down for other in across):
            axis = axes.flat[number]
            part = table[(table[rows].astype(str) == row) & (table[columns].astype(str) == column)]
            by_model = part.pivot(index="image", columns="model", values="lrp_robustness")
            axis.axvline(0, color="0.5", linewidth=1, linestyle="--", zorder=0)
            boxes(axis, [by_model[model] - by_model[baseline] for model in models], models)
            blind = part.groupby("model")["gradient_is_zero"].mean()
            for position, model in enumerate(models):
                share = max(blind[model], blind[baseline])
                axis.text(
                    1.0,
                    position,
                    f" {share:.0%}",
                    transform=axis.get_yaxis_transform(),
                    va="center",
                    color="0.35",
                )
            if compared is not None:
                found = mann_whitney(by_model[compared[0]].to_numpy(), by_model[compared[1]].to_numpy())
                axis.text(0.01, 1.0, found.asterisks, transform=axis.transAxes, va="bottom")
            if number < len(across):
                axis.set_title(column)
            axis.tick_params(axis="x")
            axis.set_yticklabels(models if number % len(across) == 0 else [""] * len(models))
            if number % len(across) == 0:
                axis.set_ylabel(f"{rows} {row}")
        # One scale for all panels, the same to both sides.
        reach = max(abs(edge) for axis in axes.flat for edge in axis.get_xlim())
        for axis in axes.flat:
            axis.set_xlim(-reach, reach)
            axis.locator_params(axis="x", nbins=5)
        figure.supxlabel(f"LRP robustness minus that of the {baseline} network, image by image")
    return figure


def intervals(found: pd.DataFrame, *, rows: Sequence[str], columns: str, about: str) -> Figure:
    """Draw numbers with their intervals beside a line at zero: a panel for each setting of one kind, a place for each of others.

    Hollow marks are of settings that are not judged.

    Args:
        found: a row for each model and setting: ``model``, ``mean``, ``low``, ``high``, ``reason``, why it is not judged, or
            nothing, and where they are wanted ``asterisks``, which stand at the right.
        rows: columns whose values a place stands for.
        columns: column whose values the panels stand for.
        about: what the numbers are.
    """
    for name in (*rows, columns):
        checks.one_of("rows and columns", name, found.columns)
    places = found[list(rows)].astype(str).agg(", ".join, axis=1)
    down, across, models = (list(some.unique()) for some in (places, found[columns], found["model"]))
    shared = bool(found.duplicated([*rows, columns]).any())  # a place that is one model's alone says whose it is
    shifts = dict(zip(models, np.linspace(-0.34, 0.34, len(models)) * shared, strict=True))
    many = [name for name in models if name.startswith(BAYESIAN)]
    sizes = {name: 3.2 + 2.8 * count / len(many) for count, name in enumerate(many, 1)}
    height = 1.25 + len(down) * (0.16 + 0.11 * (len(models) if shared else 2))
    with new_figure(1, len(across), (2.0 + 2.05 * len(across), height)) as (figure, axes):
        for number, (axis, panel) in enumerate(zip(axes[0], across, strict=True)):
            axis.axvline(0, color="0.5", linewidth=1, linestyle="--", zorder=0)
            here = found[columns] == panel
            for model in models:
                part = found[here & (found["model"] == model)]
                where = np.array([down.index(place) for place in places[part.index]]) + shifts[model]
                _marks(axis, part, where, model, sizes.get(model, 5.0))
            if "asterisks" in found:
                told = found[here & (found["model"] == models[-1])]
                for place, text in zip(places[told.index], told["asterisks"], strict=True):
                    axis.text(
                        1.0, down.index(place), text, transform=axis.get_yaxis_transform(), va="center", ha="right"
                    )
            for edge in range(1, len(down)):
                axis.axhline(edge - 0.5, color="0.88", linewidth=0.8)
            axis.set_title(textwrap.fill(str(panel), 22))
            axis.set_yticks(range(len(down)), down if number == 0 else [""] * len(down))
            axis.set_ylim(len(down) - 0.5, -0.5)
            axis.tick_params(axis="y", length=0)
        low, high = (pick(axis.get_xlim()[end] for axis in axes[0]) for end, pick in ((0, min), (1, max)))
        for axis in axes[0]:
            axis.set_xlim(low, high + 0.12 * (high - low) * ("asterisks" in found))
        figure.supxlabel(about)
        if shared:
            handles, called = axes[0, 0].get_legend_handles_labels()
            figure.legend(handles, called, loc="outside upper center", ncols=3 if len(models) < 7 else 4)
    return figure


def _marks(axis: Axes, part: pd.DataFrame, where: np.ndarray, model: str, size: float) -> None:
    """Draw the numbers of one model at their places, hollow where they are not judged."""
    mark = next((one for name, one in MARKS.items() if model.partition(",")[0] == name), "o")
    look: dict[str, Any] = {"color": colour_of(model), "markersize": size}
    for hollow in (False, True):
        some = ((part["reason"] != "") == hollow).to_numpy()
        if some.any():
            ends = np.stack([part["mean"] - part["low"], part["high"] - part["mean"]]).clip(0)[:, some]
            face: dict[str, Any] = {"markerfacecolor": PAPER} if hollow else {}
            axis.errorbar(part["mean"][some], where[some], xerr=ends, fmt=mark, elinewidth=1.3, **look, **face)
    axis.plot([], [], mark, label=model, **look)


def lrp_against_softmax(table: pd.DataFrame, rows: str = "layer") -> Figure:
    """Draw LRP robustness against softmax robustness, a panel for each model, with Spearman's rho and its interval.

    A point is an image in a run; rho is the mean over runs where there are several.

    Args:
        table: from :meth:`relevance.studies.carbone.study.Study.table`, of one attack and one rule.
        rows: a column of the table that sets the rows of panels (Carbone et al., Figs. 4 and 16: layers).
    """
    models, down = list(table["model"].unique()), list(table[rows].unique())
    with new_figure(len(down), len(models), (0.7 + 2.45 * len(models), 0.7 + 1.95 * len(down))) as (figure, axes):
        for number, (row, model) in enumerate((one, other) for one in down for other in models):
            axis = axes.flat[number]
            part = table[(table[rows] == row) & (table["model"] == model)]
            axis.scatter(
                part["softmax_robustness"],
                part["lrp_robustness"],
                s=7,
                color=colour_of(str(model)),
                alpha=0.4,
                linewidths=0,
                rasterized=True,
            )
            pair = by_run(part, "softmax_robustness"), by_run(part)
            found = spearman(*pair) if len(pair[0]) > 1 else spearman(pair[0][0], pair[1][0])
            text = (
                rf"$\rho$ = {found.rho:.2f} [{found.low:.2f}, {found.high:.2f}]" if not found.reason else r"no $\rho$"
            )
            axis.text(0.04, 0.03, text, transform=axis.transAxes)
            blind = f"zero gradients {part['gradient_is_zero'].mean():.0%}"
            axis.annotate(blind, (0.04, 0.03), (0, 12), "axes fraction", "offset points", color="0.35")
            axis.set(xlim=(-0.03, 1.03), ylim=(-0.12, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
            if number < len(models):
                axis.set_title(model)
            if number % len(models) == 0:
                axis.set_ylabel(f"layer {row}" if rows == "layer" else str(row))
        figure.supxlabel("softmax robustness")
        figure.supylabel("LRP robustness")
    return figure
