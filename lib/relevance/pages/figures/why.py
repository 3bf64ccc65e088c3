"""Figures of why the authors saw what they report: the paper's words beside two measurements, and a masked gradient."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relevance.metrics.statistics import spearman
from relevance.pages.figures.style import BLUE, INK, VERMILION, colour_of, new_figure
from relevance.studies.carbone.masking import MASKED, OPEN
from relevance.studies.carbone.picture import REPORTED
from relevance.studies.carbone.recipes import SGD
from relevance.studies.names import BAYESIAN, DETERMINISTIC

# Deterministic and Bayesian; of the latter, what an attack moved and what it did not.
LOOKS = {SGD: (colour_of(DETERMINISTIC), "s"), BAYESIAN: (colour_of(BAYESIAN), "o")}
FROZEN = (VERMILION, "^")


def three_columns(rows: pd.DataFrame) -> Figure:
    """Draw what the paper reports in words beside what was measured: scores above, their correlation below.

    Args:
        rows: of :func:`relevance.studies.carbone.picture.columns`: SGD and a Bayesian recipe under each title.
    """
    columns = {
        str(title): (part[part["recipe"] == SGD], part[part["recipe"] != SGD])
        for title, part in rows.groupby("column", sort=False)
    }
    with new_figure(2, 1 + len(columns), (2.9 * (1 + len(columns)), 6.4)) as (figure, axes):
        for axis, (figures, told) in zip(axes[:, 0], REPORTED.items(), strict=True):
            axis.set_axis_off()
            axis.text(0, 1, figures, transform=axis.transAxes, va="top", fontweight="bold")
            lines = "\n\n".join(textwrap.fill(one, 30) for one in told)
            axis.text(0, 0.9, lines, transform=axis.transAxes, va="top", linespacing=1.25)
        axes[0, 0].set_title("the paper reports", loc="left", pad=14)
        for place, (title, pair) in enumerate(columns.items(), 1):
            axes[0, place].set_title(textwrap.fill(title, 30))
            _scores(axes[0, place], pair)
            _scatter(axes[1, place], pair)
        axes[0, 1].set_ylabel("k-LRP robustness of an image")
        axes[1, 1].set_ylabel("k-LRP robustness")
        for axis in axes[1, 1:]:
            axis.set_xlabel("softmax robustness")
        handles = {
            text: handle for axis in axes.flat for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, markerscale=2)
    return figure


def _scores(axis: Axes, pair: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Draw the scores of two models side by side, each with its mean and what unrelated maps score."""
    generator = np.random.default_rng(0)
    for position, (rows, (colour, _)) in enumerate(zip(pair, LOOKS.values(), strict=True)):
        scores = rows["lrp_robustness"]
        axis.scatter(
            position + generator.uniform(-0.25, 0.25, len(scores)), scores, s=7, color=colour, alpha=0.45, linewidths=0,
            rasterized=True,
        )  # fmt: skip
        axis.plot([position - 0.32, position + 0.32], [scores.mean()] * 2, color=INK, linewidth=2)
        axis.text(position + 0.34, scores.mean(), f"{scores.mean():.2f}", va="center")
        floor = rows["unrelated_lrp_robustness"].mean()
        axis.plot([position - 0.32, position + 0.32], [floor] * 2, color="0.45", linewidth=1.2, linestyle=":")
    axis.plot([], [], color=INK, linewidth=2, label="mean")
    axis.plot([], [], color="0.45", linewidth=1.2, linestyle=":", label="unrelated maps")
    axis.set(xlim=(-0.5, 1.65), ylim=(-0.03, 1.03), xticks=[0, 1], yticks=[0, 0.5, 1])
    axis.set_xticklabels(list(LOOKS))


def _scatter(axis: Axes, pair: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Draw LRP against softmax robustness; of the Bayesian model, apart those that the attack did not move."""
    told = []
    for rows, (name, (colour, mark)) in zip(pair, LOOKS.items(), strict=True):
        moved = rows["mean_change"] > 0
        look: dict[str, Any] = {"s": 11, "alpha": 0.5, "linewidths": 0, "rasterized": True}
        axis.scatter(
            *(rows.loc[moved, column] for column in ("softmax_robustness", "lrp_robustness")), color=colour, marker=mark,
            label=name, **look,
        )  # fmt: skip
        if not moved.all():
            still = rows[~moved]
            jitter = np.random.default_rng(1).uniform(-0.025, 0, len(still))
            axis.scatter(
                still["softmax_robustness"] + jitter, still["lrp_robustness"], color=FROZEN[0], marker=FROZEN[1],
                label=f"{name}, gradient of zero", **look,
            )  # fmt: skip
        found = spearman(rows["softmax_robustness"].to_numpy(), rows["lrp_robustness"].to_numpy())
        told.append(f"{name}: " + (rf"$\rho$ = {found.rho:.2f}" if not found.reason else r"no $\rho$"))
    axis.text(0.03, 0.02, "\n".join(told), transform=axis.transAxes, va="bottom")
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])


def masked_gradient(rows: pd.DataFrame) -> Figure:
    """Draw what becomes of loss and gradient on the way along the margin's gradient, for masked images and for others.

    Args:
        rows: of :func:`relevance.studies.carbone.masking.by_group`.
    """
    panels = {
        "loss": "cross-entropy (nats)",
        "no gradient": "share with a gradient of zero",
        "wrong": "share predicted wrongly",
    }
    looks = {MASKED: FROZEN, OPEN: (BLUE, "o")}
    with new_figure(1, len(panels), (3.1 * len(panels), 3.1)) as (figure, axes):
        for axis, (column, title) in zip(axes[0], panels.items(), strict=True):
            for group, part in rows.groupby("group"):
                colour, mark = looks[str(group)]
                label = f"{group} ({part['images'].iloc[0]} images)"
                axis.plot(part["distance"], part[column], color=colour, marker=mark, markersize=5, label=label)
            axis.set(xlabel="distance from the image", title=title)
            if column != "loss":
                axis.set_ylim(-0.04, 1.04)
        handles = {
            text: handle for axis in axes.flat for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure
