"""Figures of manipulated explanations."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from relevance.pages.figures.style import PURPLE, VERMILION, colour_of, heatmap, new_figure, picture
from relevance.studies.dombrowski.manipulation import Case

COLUMNS = ("image", "original map", "target map", "manipulated map", "perturbed image", "perturbation")


def manipulations(cases: Mapping[str, Case], index: int) -> Figure:
    """Draw one image for each method: original map, target map, manipulated map, perturbed image, perturbation.

    Maps are divided by the largest value of the original and the target map; the perturbation is on the scale of the pixels.

    Args:
        cases: method -> images and maps.
        index: which image.
    """
    with new_figure(len(cases), len(COLUMNS), (9.2, 0.5 + 1.5 * len(cases))) as (figure, axes):
        for row, (method, case) in zip(axes, cases.items(), strict=True):
            scale = max(case.maps[index].max().item(), case.aims[index].max().item()) or 1.0
            picture(row[0], case.images[index])
            for axis, maps in zip(row[1:4], (case.maps, case.aims, case.reached), strict=True):
                drawn = heatmap(axis, maps[index], scale)
            picture(row[4], case.found[index])
            heatmap(row[5], case.found[index] - case.images[index], 1.0)
            row[0].set_ylabel(method.replace(" ", "\n", 1))
        for axis, title in zip(axes[0], COLUMNS, strict=True):
            axis.set_title(title)
        bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.4, aspect=30, pad=0.02)
        bar.set_ticks([-1, 0, 1])
        bar.set_label("map / largest value of original and target; perturbation / pixel range")
    return figure


def manipulated_shares(runs: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the share of images that were manipulated, by method, with its 95 % interval: a panel for each run.

    Args:
        runs: title of the panel -> rows of :func:`relevance.studies.dombrowski.tables.summary`.
    """
    methods = list(dict.fromkeys(name for rows in runs.values() for name in rows["method"]))
    models = list(dict.fromkeys(name for rows in runs.values() for name in rows["model"]))
    with new_figure(1, len(runs), (1.4 + 3.3 * len(runs), 0.9 + 0.37 * len(methods))) as (figure, axes):
        for axis, (title, rows) in zip(axes[0], runs.items(), strict=True):
            for shift, (model, part) in enumerate(rows.groupby("model", sort=False)):
                places = [methods.index(name) + 0.2 * shift - 0.2 for name in part["method"]]
                ends = [part["manipulated"] - part["manipulated, low"], part["manipulated, high"] - part["manipulated"]]
                axis.errorbar(part["manipulated"], places, xerr=ends, fmt="o", markersize=5, color=colour_of(str(model)),
                              linewidth=1.2, label=str(model).partition(",")[0])  # fmt: skip
            axis.axvline(0.5, color="0.7", linewidth=0.8, zorder=0)
            axis.set(title=title, xlim=(-0.03, 1.03), xticks=[0, 0.5, 1], xticklabels=["0", "50 %", "100 %"])
            axis.set_xlabel("images led to their target")
            axis.set_yticks(range(len(methods)), methods if axis is axes[0, 0] else [""] * len(methods))
            axis.invert_yaxis()
        handles = {
            label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(models), 4))
    return figure


def resistance(rows: pd.DataFrame) -> Figure:
    """Draw how alike manipulated maps are to their targets and to the originals, a panel for each model.

    Args:
        rows: of :func:`relevance.studies.dombrowski.tables.summary`.
    """
    models, methods = list(rows["model"].unique()), list(rows["method"].unique())
    with new_figure(1, len(models), (2.0 + 2.3 * len(models), 0.9 + 0.4 * len(methods))) as (figure, axes):
        for axis, model in zip(axes[0], models, strict=True):
            part = rows[rows["model"] == model].reset_index(drop=True)
            for name, colour, mark, shift in (("to target", VERMILION, "s", -0.12), ("to origin", PURPLE, "o", 0.12)):
                spread = [part[name] - part[f"{name}, low"], part[f"{name}, high"] - part[name]]
                axis.errorbar(part[name], part.index + shift, xerr=spread, fmt=mark, color=colour, markersize=4,
                              linewidth=1, label=name)  # fmt: skip
            axis.scatter(
                part["before"], part.index, marker="|", s=90, color=VERMILION, linewidths=1, label="target, before"
            )
            axis.scatter(
                part["under noise"], part.index, marker="|", s=90, color=PURPLE, linewidths=1, label="origin, noise"
            )
            axis.set(title=model, xlim=(-0.2, 1.05), xticks=[0, 0.5, 1], xlabel="correlation of the map")
            axis.set_yticks(part.index, methods if model == models[0] else [""] * len(methods))
            axis.invert_yaxis()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def smoothing(rows: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw the similarity of manipulated and original map against the smoothing parameter (Dombrowski et al., Fig. 4).

    Args:
        rows: of :func:`relevance.studies.dombrowski.tables.smoothed`.
        names: defence -> what its parameter is; a panel for each, in this order. That without one is the dashed line.
    """
    plain = rows[~rows["defence"].isin(names)]
    with new_figure(1, len(names), (0.8 + 2.3 * len(names), 3.4)) as (figure, axes):
        for axis, (name, parameter) in zip(axes[0], names.items(), strict=True):
            for (how, part), colour, mark in zip(
                rows[rows["defence"] == name].groupby("manipulation", sort=False),
                (PURPLE, VERMILION),
                "os",
                strict=False,
            ):
                spread = [part["median"] - part["low"], part["high"] - part["median"]]
                axis.errorbar(part["parameter"], part["median"], yerr=spread, color=colour, marker=mark, markersize=4,
                              linewidth=1, label=f"manipulation {how}")  # fmt: skip
            axis.axhline(plain["median"].min(), color="0.5", linewidth=1, linestyle="--", label="no smoothing")
            axis.set(title=name, xscale="log", ylim=(min(0.0, rows["low"].min()), 1.03))
            values = rows.loc[rows["defence"] == name, "parameter"].unique()
            axis.set_xticks(values, [f"{value:g}" for value in values])
            axis.minorticks_off()
            axis.set_xlabel(parameter.replace(" [", "\n["))
        axes[0, 0].set_ylabel("correlation with the original map")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
