"""Figures of ROAR: images with holes, and the accuracies of what is trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from relevance.base import checks
from relevance.pages.figures.style import COLOURS, INK, new_figure, picture
from relevance.studies.zeng.retraining import removed

MARKERS = ("o", "s", "^", "D", "v", "P")
BASELINES = {"random": ("0.5", "--"), "Sobel": (INK, ":")}


def removal_curves(
    accuracies: pd.DataFrame, chance: float | None = None, baselines: Mapping[str, tuple[str, str]] = BASELINES
) -> Figure:
    """Draw test accuracy after retraining against the share of pixels removed, a line for each attribution.

    Args:
        accuracies: of :func:`relevance.studies.zeng.tables.accuracies`; intervals that are not known are not drawn.
        chance: accuracy of a guess, in [0, 1], as a thin line.
        baselines: attributions that are drawn in a colour and a line style of their own, without marks.
    """
    for column in ("attribution", "share", "mean", "low", "high"):
        checks.one_of("the columns of accuracies", column, [*accuracies.columns])
    names = [name for name in accuracies["attribution"].unique() if name not in baselines]
    if len(names) > len(COLOURS):
        raise ValueError(f"accuracies are of {len(names)} attributions; there are colours for at most {len(COLOURS)}.")
    n_lines = accuracies["attribution"].nunique()
    with new_figure(1, 1, (7.2, 4.6)) as (figure, axes):
        axis = axes[0, 0]
        for number, (name, rows) in enumerate(accuracies.groupby("attribution", sort=False)):
            # Beside each other, so that intervals do not hide each other.
            share = rows["share"].to_numpy(float) + 0.004 * (number - (n_lines - 1) / 2)
            mean = rows["mean"].to_numpy(float)
            ends = np.stack([mean - rows["low"].to_numpy(float), rows["high"].to_numpy(float) - mean])
            if name in baselines:
                colour, line = baselines[str(name)]
                style: dict[str, Any] = {"color": colour, "linestyle": line}
            else:
                place = names.index(str(name))
                style = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 4.5}
            axis.errorbar(share, mean, np.nan_to_num(ends), label=name, elinewidth=0.9, capsize=2, **style)
        if chance is not None:
            axis.axhline(chance, color="0.7", linewidth=0.8, zorder=0)
            axis.annotate("chance", (0.0, chance), xytext=(0, 3), textcoords="offset points", color="0.4")
        # Student's interval of few seeds may reach beyond what an accuracy can be.
        axis.set(
            xlabel="share of pixels removed", ylabel="test accuracy after retraining", xlim=(-0.03, None), ylim=(0, 1)
        )
        figure.legend(loc="outside lower center", ncols=min(n_lines, 3))
    return figure


def removals(image: Tensor, orders: Mapping[str, Tensor], shares: Sequence[float], fill: Tensor) -> Figure:
    """Draw an image as it is and with growing shares of its pixels removed, a row for each ranking.

    Args:
        image: [C, H, W] in [0, 1].
        orders: name of the ranking -> places [1 or C, H, W], of :func:`relevance.studies.zeng.roar.rankings`.
        shares: of the pixels, in (0, 1).
        fill: what a removed pixel becomes, as for :func:`relevance.studies.zeng.retraining.removed`.
    """
    columns = len(shares) + 1
    with new_figure(len(orders), columns, (0.9 + 1.25 * columns, 0.3 + 1.3 * len(orders))) as (figure, axes):
        for row, (name, order) in zip(axes, orders.items(), strict=True):
            picture(row[0], image)
            row[0].set_ylabel(name, rotation=0, ha="right", va="center")
            for axis, share in zip(row[1:], shares, strict=True):
                picture(axis, removed(image[None], order[None], share, fill)[0])
        for axis, share in zip(axes[0], (0.0, *shares), strict=True):
            axis.set_title(f"{share:.0%}")
    return figure
