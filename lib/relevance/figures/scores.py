"""Figures of scores, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relevance import checks
from relevance.figures.style import BLUE, ORANGE, VERMILION, new_figure


def robustness_distributions(table: pd.DataFrame, score: str = "lrp_robustness") -> Figure:
    """Draw the distribution of a score over the images for each model, with the score of unrelated maps.

    Args:
        table: from :func:`relevance.experiments.robustness_table`.
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
        table: from :func:`relevance.experiments.robustness_table`.
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
    for position, value in zip(positions, values, strict=True):
        jitter = generator.uniform(-0.28, 0.28, len(value))
        axis.scatter(value, position + jitter, s=5, color=BLUE, alpha=0.35, linewidths=0, rasterized=True)
    axis.boxplot(
        values,
        positions=positions,
        orientation="horizontal",
        widths=0.56,
        showfliers=False,
        showmeans=True,
        medianprops={"color": "black", "linewidth": 1.6},
        meanprops={"marker": "D", "markerfacecolor": ORANGE, "markeredgecolor": "black", "markersize": 5},
    )
    axis.set_yticks(positions, names)
    axis.invert_yaxis()
