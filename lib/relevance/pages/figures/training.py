"""Figures of networks trained for robustness: their saliency maps, and alignment against epsilon."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from relevance.pages.figures.faithfulness import label_marks
from relevance.pages.figures.style import MODELS, PURPLE, VERMILION, heatmap, new_figure, picture
from relevance.studies import names
from relevance.studies.zeng.source import PGD, STANDARD

QUANTITIES = {
    "alignment": ("alignment", PURPLE, "o"),
    "rho": ("distance to the boundary, upper bound", VERMILION, "s"),
}

# What the models of the joint table are called, by the beginnings of their names -> legend, colour and mark.
KINDS = {
    STANDARD: ("standard training", MODELS[names.DETERMINISTIC], "o"),
    PGD: ("trained under attack", MODELS[names.ADVERSARIAL], "s"),
    "ensemble of": ("ensemble of these", MODELS[names.ADVERSARIAL], "D"),
    "ensemble": ("ensemble of standard networks", MODELS[names.MAP_ENSEMBLE], "D"),
    "HMC": ("posterior", MODELS[names.BAYESIAN], "D"),
    "variational": ("posterior", MODELS[names.BAYESIAN], "D"),
    "": ("other defences", PURPLE, "^"),
}


def steady_and_true(rows: pd.DataFrame, steady: str = "LRP under top-k", true: str = "ROAR") -> Figure:
    """Draw two scores of every model against each other, with their intervals.

    Args:
        rows: of :func:`relevance.studies.zeng.joint.metrics`, by model.
        steady, true: which scores: across and up.
    """
    with new_figure(1, 1, (7.4, 5.0)) as (figure, axes):
        axis = axes[0, 0]
        places = []
        for name, row in rows.iterrows():
            label, colour, mark = next(kind for start, kind in KINDS.items() if str(name).startswith(start))
            ends = [
                [[row[score] - row[f"{score}, low"]], [row[f"{score}, high"] - row[score]]] for score in (steady, true)
            ]
            at = float(row[steady]), float(row[true])
            axis.errorbar(*at, ends[1], ends[0], fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.45)
            axis.plot(*at, color=colour, marker=mark, markersize=7, linestyle="none", label=label)
            # The legend names the others.
            places.append((*at, str(name) if label in ("posterior", "other defences") else "", colour))
        axis.set(
            xlabel=f"steady: {steady}, share of the top pixels that stay",
            ylabel="accuracy after removal and retraining",
        )
        handles = dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
        label_marks(axis, places)
    return figure


def saliency_by_training(images: Tensor, maps: Mapping[str, Tensor]) -> Figure:
    """Draw images in columns and under them, a row for each training, their maps (after Zeng et al., Figs 2 and 3).

    Channels are summed, and every map is divided by the 99th percentile of its absolute values, so that a few pixels do not
    hide the rest; the size of gradients cannot be compared between maps.

    Args:
        images: [N, C, H, W] in [0, 1].
        maps: training -> maps [N, C, H, W].
    """
    rows = 1 + len(maps)
    with new_figure(rows, len(images), (1.3 + 1.15 * len(images), 0.7 + 1.15 * rows)) as (figure, axes):
        for axis, image in zip(axes[0], images, strict=True):
            picture(axis, image)
        drawn = None
        for row, found in zip(axes[1:], maps.values(), strict=True):
            for axis, relevance in zip(row, found, strict=True):
                largest = np.quantile(relevance.detach().cpu().sum(0).abs().numpy(), 0.99)
                drawn = heatmap(axis, relevance, float(largest) or 1.0)
        for row, name in zip(axes, ["image", *maps], strict=True):
            row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        if drawn is not None:
            bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.5, aspect=30, pad=0.02, extend="both")
            bar.set_ticks([-1, 0, 1])
            bar.set_label("gradient / 99th percentile of |gradient| of the map")
    return figure


def alignment_by_epsilon(curve: pd.DataFrame) -> Figure:
    """Draw alignment and distance to the boundary against the epsilon of PGD training (after Zeng et al., Fig. 4).

    Args:
        curve: from :func:`relevance.studies.zeng.effects.by_epsilon`.
    """
    norms = list(curve["norm"].unique())
    with new_figure(1, len(norms), (1.2 + 3.2 * len(norms), 3.4)) as (figure, axes):
        for axis, norm in zip(axes[0], norms, strict=True):
            for quantity, (label, colour, mark) in QUANTITIES.items():
                line = curve[(curve["norm"] == norm) & (curve["quantity"] == quantity)].sort_values("epsilon")
                ends = np.stack([line["mean"] - line["low"], line["high"] - line["mean"]]).clip(min=0)
                axis.errorbar(
                    line["epsilon"], line["mean"], ends, color=colour, marker=mark, markersize=5, capsize=3, label=label
                )
            if norm == "l2":
                sizes = np.array(sorted(curve.loc[curve["norm"] == norm, "epsilon"].unique()))
                axis.plot(sizes, sizes, color="0.5", linestyle="--", label="distance = epsilon")
            axis.set(title=f"PGD-{norm}", xlabel="epsilon of the training (pixel range)")
            axis.set_ylim(bottom=0)
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axes[0, 0].set_ylabel("length (pixel range)")
        handles = {
            label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure
