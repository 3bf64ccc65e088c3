"""Figures of the curvature of level sets, and of smoothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from relevance.pages.figures.style import BLUE, COLOURS, ORANGE, VERMILION, new_figure

MARKS = ["o", "s", "^", "D", "v", "P"]


def curvature_bounds(rows: pd.DataFrame) -> Figure:
    """Draw the largest curvature on each path against beta, and both sides of Theorem 1 for normal and gradient.

    Args:
        rows: from :func:`relevance.studies.dombrowski.theorem_1.sweep`.
    """
    with new_figure(1, 3, (9.6, 3.4)) as (figure, axes):
        growth, *sides = axes[0]
        betas = np.array(sorted(rows["beta"].unique()))
        growth.scatter(rows["beta"], rows["curvature"], s=16, color=BLUE, alpha=0.7, linewidths=0, label="on a path")
        last = rows.loc[rows["beta"] == betas[-1], "curvature"].median()
        growth.plot(betas, last * betas / betas[-1], color="0.5", linestyle="--", label=r"proportional to $\beta$")
        growth.plot(betas, betas * rows["constant"].max(), color=VERMILION, label=r"$\beta\,C$ by the weights")
        growth.set(xscale="log", yscale="log", xlabel=r"$\beta$", ylabel="largest curvature (1 / pixel range)")
        growth.set_ylim(top=growth.get_ylim()[1] * 40)
        growth.legend(loc="upper left")
        pairs = [("normal turned", "bound", "unit normal"), ("gradient changed", "gradient bound", "gradient")]
        for axis, (happened, allowed, title) in zip(sides, pairs, strict=True):
            for beta, colour, mark in zip(betas, COLOURS * len(betas), MARKS * len(betas), strict=False):
                part = rows[rows["beta"] == beta]
                axis.scatter(
                    part[happened], part[allowed], s=18, color=colour, marker=mark, label=rf"$\beta$ = {beta:g}"
                )
            ends = max(rows[happened].min(), 1e-6) / 1.5, rows[allowed].max() * 1.5
            axis.plot(ends, ends, color="0.5", linestyle="--")
            axis.set(xscale="log", yscale="log", title=title, xlabel="change along the path", ylabel="bound")
            axis.set_xlim(ends[0], rows[happened].max() * 1.5)
            # Hardly more than a decade is shown, in which powers of ten are too few to read by.
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
        figure.legend(*sides[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(betas))
    return figure


def smoothing_curve(curve: pd.DataFrame) -> Figure:
    """Draw the slope of a ReLU smoothed by p_beta and by Gaussian noise, and the difference of the two.

    Args:
        curve: from :func:`relevance.studies.dombrowski.theorem_2.gaussian_curve`, of any beta: the figure is the same for all.
    """
    with new_figure(1, 2, (7.4, 2.8)) as (figure, axes):
        for name, colour, line in (("softplus", BLUE, "-"), ("Gaussian", ORANGE, "--")):
            axes[0, 0].plot(curve["beta x"], curve[name], color=colour, linestyle=line, label=name)
        axes[0, 0].set(xlabel=r"$\beta\, w^T x / \|w\|$", ylabel=r"slope / $\|w\|$")
        axes[0, 0].legend()
        axes[0, 1].axhline(0, color="0.5", linewidth=1, linestyle="--")
        axes[0, 1].plot(curve["beta x"], curve["error"], color=VERMILION)
        axes[0, 1].set(xlabel=r"$\beta\, w^T x / \|w\|$", ylabel="Gaussian minus softplus")
    return figure


def smoothing_depth(rows: pd.DataFrame) -> Figure:
    """Draw how far softplus is from SmoothGrad, against beta, a panel for each network.

    Args:
        rows: from :func:`relevance.studies.dombrowski.theorem_2_deep.compare`.
    """
    names = list(rows["network"].unique())
    with new_figure(1, len(names), (0.8 + 2.6 * len(names), 3.2)) as (figure, axes):
        for axis, name in zip(axes[0], names, strict=True):
            part = rows[rows["network"] == name]
            for smoothing, colour, mark in zip(part["smoothing"].unique(), COLOURS, MARKS, strict=False):
                line = part[part["smoothing"] == smoothing]
                axis.plot(line["beta"], line["error"], color=colour, marker=mark, markersize=4, label=smoothing)
            first = part.drop_duplicates("beta")
            axis.plot(first["beta"], first["error by chance"], color="0.5", linestyle="--", label="noise of SmoothGrad")
            axis.set(title=name, xscale="log", yscale="log", xlabel=r"$\beta$")
        low, high = rows[["error", "error by chance"]].min().min() / 2, rows["error"].max() * 2
        for axis in axes[0]:
            axis.set_ylim(low, high)
        axes[0, 0].set_ylabel("squared difference from SmoothGrad,\nshare of its square")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
