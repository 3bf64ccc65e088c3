"""Figures of the chapter that asks when being Bayesian steadies explanations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from relevance.attacks.named import NOISE
from relevance.pages.figures.scores import MARKS, intervals
from relevance.pages.figures.style import BLUE, PAPER, PURPLE, colour_of, new_figure
from relevance.studies.carbone.when import OTHERS, OWN, STEPS
from relevance.studies.names import BAYESIAN, DETERMINISTIC
from relevance.studies.verdicts import NOT_JUDGED

SCORE = "k-LRP robustness"
PLAIN = StrMethodFormatter("{x:,g}")  # powers have letters that are too small


def when(rows: pd.DataFrame, attack: str) -> Figure:
    """Draw k-LRP under an attack against effective draws, against the prior's scale, and against the training size.

    Args:
        rows: from :func:`relevance.studies.carbone.when.averages`.
        attack: of its attacks.
    """
    shown = rows[rows["attack"] == attack]
    noise = rows[rows["attack"] == NOISE]
    n_train = int(shown["n_train"].mode().iloc[0])
    sizes = shown["n_train"].nunique() > 1
    with new_figure(1, 2 + sizes, (4.6 + 2.4 * sizes + 2.4, 3.6)) as (figure, axes):
        _against_draws(axes[0, 0], shown[shown["n_train"] == n_train])
        scale = shown.loc[shown["model"] == DETERMINISTIC, "prior scale"].iloc[0]
        panels = [(axes[0, 1], "prior scale", "n_train", n_train)]
        panels += [(axes[0, 2], "n_train", "prior scale", scale)] if sizes else []
        for axis, column, held, value in panels:
            for part in (shown, noise):
                _against(axis, part[(part[held] == value) & (part["trajectory"] == 1)], column, faint=part is noise)
            axis.set(xscale="log", xlabel={"prior scale": "scale of the prior", "n_train": "training images"}[column])
            ticks = sorted(shown.loc[shown[held] == value, column].unique())
            axis.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
            axis.set_xticks([], minor=True)
        low, high = (pick(axis.get_ylim()[end] for axis in axes[0]) for end, pick in ((0, min), (1, max)))
        for axis in axes[0]:
            axis.set_ylim(low, high)
        handles = dict(zip(*reversed(axes[0, 1].get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def steps(rungs: pd.DataFrame) -> Figure:
    """Draw what prior, averaging and the rest of the posterior do to k-LRP, under every attack.

    Args:
        rungs: of :func:`relevance.studies.carbone.when.ladder`, of one prior and one training size; with ``data`` where they are
            of several data sets.
    """
    found = rungs.assign(
        model=[STEPS[step][1] for step in rungs["step"]],
        reason=rungs["standing"].where(rungs["standing"] == NOT_JUDGED, ""),
    )
    rows = [name for name in ("data", "step") if name in found]
    return intervals(found, rows=rows, columns="attack", about=f"difference of {SCORE} that the step makes")


def _against_draws(axis: Axes, rows: pd.DataFrame) -> None:
    """Draw the Bayesian models, a line and a mark for each prior, through the chains whose trajectories are whole."""
    chains = rows[rows["model"].str.startswith(BAYESIAN)]
    for (scale, part), mark in zip(chains.groupby("prior scale"), "os^Dv" * 2, strict=False):
        whole = part[part["trajectory"] == 1].sort_values("effective draws")
        axis.plot(whole["effective draws"], whole["mean"], f"{mark}-", color=BLUE, markersize=4, label=f"{scale:g}")
        short = part[part["trajectory"] < 1]
        axis.plot(short["effective draws"], short["mean"], mark, color=BLUE, markersize=5, markerfacecolor=PAPER)
    axis.set(xscale="log", xlabel="effective draws", ylabel=SCORE)
    axis.xaxis.set_major_formatter(PLAIN)
    axis.legend(title="prior scale")


def _against(axis: Axes, rows: pd.DataFrame, column: str, *, faint: bool) -> None:
    """Draw every kind of model against a column, faint without intervals; of the Bayesian ones, that with the most samples."""
    most = rows.loc[rows["model"].str.startswith(BAYESIAN), "n_samples"].max()
    alone = rows[column].nunique() == 1
    for place, (kind, mark) in enumerate(MARKS.items()):
        part = rows[rows["model"].str.startswith(kind) & ((rows["n_samples"] == most) | (kind != BAYESIAN))]
        part = part.sort_values(column)
        if part.empty:
            continue
        label = f"{kind}, {most:.0f}" if kind == BAYESIAN else kind
        given: dict[str, Any] = {"color": colour_of(kind), "markersize": 4, "label": label}
        if faint:
            given |= {"linestyle": ":", "alpha": 0.6, "label": None}
        if len(part) == 1 and column == "prior scale" and not alone:  # knows of no prior
            axis.axhline(part["mean"].iloc[0], lw=1.5, **given)
            continue
        ends = np.stack([part["mean"] - part["low"], part["high"] - part["mean"]]).clip(0)
        # Side by side where there is but one place.
        where = part[column] * (1.05 ** (place - 1.5) if alone else 1)
        if faint:
            axis.plot(where, part["mean"], mark, **{**given, "markersize": 3})
        else:
            axis.errorbar(where, part["mean"], yerr=ends, fmt=f"{mark}-", lw=1.5, capsize=2, **given)


def transfer(rows: pd.DataFrame) -> Figure:
    """Draw accuracy and k-LRP of the draws that an attack went through, and of others, against how many it went through.

    Args:
        rows: from :func:`relevance.studies.carbone.when.transfer`.
    """
    with new_figure(1, 2, (7.6, 3.0)) as (figure, axes):
        for axis, column, title in zip(
            axes[0], ("accuracy under attack", "lrp_robustness"), ("accuracy under attack", SCORE), strict=True
        ):
            for kind, colour, mark in ((OWN, BLUE, "o"), (OTHERS, PURPLE, "s")):
                part = rows[rows["draws"] == kind]
                mean = part.groupby("n_samples")[column].mean()
                axis.plot(part["n_samples"], part[column], mark, color=colour, markersize=3, alpha=0.4)
                axis.plot(mean.index, mean, f"{mark}-", color=colour, markersize=5, label=f"judged on {kind}")
            axis.set(xscale="log", xlabel="draws that the attack goes through", ylabel=title)
            axis.xaxis.set_major_formatter(PLAIN)
        axes[0, 0].legend()
    return figure


def rho_parts(rows: pd.DataFrame) -> Figure:
    """Draw Spearman's rho on all images and on parts of them, for each model.

    Args:
        rows: from :func:`relevance.studies.carbone.when.rho_parts`, of one attack.
    """
    parts, models = list(rows["part"].unique()), list(rows["model"].unique())
    with new_figure(1, 1, (7.0, 1.0 + 0.42 * len(parts) + 0.12 * len(models))) as (figure, axes):
        axis = axes[0, 0]
        shifts = np.linspace(-0.3, 0.3, len(models))
        for model, shift, mark in zip(models, shifts, "osD^vP" * 2, strict=False):
            some = rows[(rows["model"] == model) & rows["rho"].notna()]
            ends = np.stack([some["rho"] - some["low"], some["high"] - some["rho"]]).clip(0)
            places = [parts.index(part) + shift for part in some["part"]]
            axis.errorbar(
                some["rho"], places, xerr=ends, fmt=mark, color=colour_of(model), markersize=4.5, lw=1.2, label=model
            )
        axis.axvline(0, color="0.4", lw=0.8, ls="--")
        axis.set_yticks(range(len(parts)), parts)
        axis.invert_yaxis()
        axis.set_xlabel("Spearman's rho of LRP and softmax robustness")
        figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
