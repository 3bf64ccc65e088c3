"""The figure of ROAR: the accuracies of what is trained on images with holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from relevance.base import checks
from relevance.pages.figures.style import GREEN, INK, MODELS, PURPLE, SKY, VERMILION, new_figure
from relevance.studies import names

MARKERS = ("o", "s", "^", "D", "v", "P")
BASELINES = {"random": ("0.5", "--"), "Sobel": (INK, ":")}
# Attributions have the colour of the model whose gradients they are; others have one of their own.
OF_MODELS = {
    "gradient (deterministic)": MODELS[names.DETERMINISTIC],
    "all logits (deterministic)": MODELS[names.DETERMINISTIC],
    "standard": MODELS[names.DETERMINISTIC],
    "gradient (adversarially trained)": MODELS[names.ADVERSARIAL],
    "all logits (adversarially trained)": MODELS[names.ADVERSARIAL],
    "PGD-": MODELS[names.ADVERSARIAL],
    "gradient (Bayesian)": MODELS[names.BAYESIAN],
    "all logits (Bayesian)": MODELS[names.BAYESIAN],
}
OTHERS = (PURPLE, VERMILION, GREEN, SKY)


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
    maps = [name for name in accuracies["attribution"].unique() if name not in baselines]
    if len(maps) > len(MARKERS):
        raise ValueError(f"accuracies are of {len(maps)} attributions; there are colours for at most {len(MARKERS)}.")
    own = iter(OTHERS * 2)
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
                place = maps.index(str(name))
                of_model = next((colour for start, colour in OF_MODELS.items() if str(name).startswith(start)), None)
                style = {"color": of_model or next(own), "marker": MARKERS[place], "markersize": 4.5}
            axis.errorbar(share, mean, np.nan_to_num(ends), label=name, elinewidth=0.9, capsize=2, **style)
        if chance is not None:
            axis.axhline(chance, color="0.7", linewidth=0.8, zorder=0)
            axis.annotate("chance", (0.0, chance), xytext=(0, 3), textcoords="offset points", color="0.4")
        # Student's interval of few seeds may reach beyond what an accuracy can be.
        axis.set(
            xlabel="share of pixels removed", ylabel="test accuracy after retraining", xlim=(-0.03, None), ylim=(0, 1)
        )
        figure.legend(loc="outside lower center", ncols=2)
    return figure
