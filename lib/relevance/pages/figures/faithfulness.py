"""Figures of faithfulness: deletion curves, and what steadiness costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from torch import Tensor

from relevance.base import checks
from relevance.pages.figures.style import COLOURS, GREEN, INK, MODELS, ORANGE, PAPER, PURPLE, SKY, VERMILION, new_figure
from relevance.studies.dombrowski.smoothing import NONE, POSTERIOR
from relevance.studies.names import BAYESIAN, DETERMINISTIC

MARKERS = ("o", "s", "^", "D", "v", "X")
# The network without a defence and the posterior have the colours of their models.
OF_MODELS = {NONE: MODELS[DETERMINISTIC], POSTERIOR: MODELS[BAYESIAN]}
OTHERS = (PURPLE, VERMILION, GREEN, SKY, ORANGE, INK)
# Where the label of a mark may stand, in points from it, the first place first.
BESIDE = tuple(
    (across, up)
    for reach in (7, 13, 20, 28, 36, 44)
    for across, up in ((0, reach), (0, -reach), (reach, reach), (-reach, reach), (reach, -reach), (-reach, -reach))
)
TRADEOFF = ["defence", "setting"] + [
    f"{axis}{end}" for axis in ("robustness", "faithfulness") for end in ("", " low", " high")
]


def deletion_curves(
    curves: Mapping[str, Mapping[str, Tensor]], shares: Sequence[float], control: str = "random order"
) -> Figure:
    """Draw the mean probability of the explained class against the share of pixels deleted, a panel for each posterior.

    Args:
        curves: title of the panel -> name of the map -> [N, len(shares)], from :func:`relevance.metrics.deletion`.
        shares: of the pixels, in [0, 1].
        control: the map whose curve is dashed and grey, where there is one.
    """
    names = list(dict.fromkeys(name for panel in curves.values() for name in panel if name != control))
    if len(names) > len(COLOURS):
        raise ValueError(f"curves are of {len(names)} maps; there are colours for at most {len(COLOURS)}.")
    colours = dict(zip(names, COLOURS, strict=False))
    with new_figure(1, len(curves), (1.0 + 3.1 * len(curves), 3.5)) as (figure, axes):
        for axis, (title, panel) in zip(axes[0], curves.items(), strict=True):
            for name, values in panel.items():
                means = values.detach().cpu().double().mean(0).numpy()
                if name == control:
                    axis.plot(shares, means, color="0.5", linestyle="--", linewidth=1.5, label=name, zorder=1)
                else:
                    marker = MARKERS[names.index(name)]
                    axis.plot(shares, means, color=colours[name], marker=marker, markersize=4, label=name)
            axis.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="share of pixels replaced")
        axes[0, 0].set_ylabel("probability of the class")
        handles = {
            label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def tradeoff(points: pd.DataFrame, *, robustness: str, faithfulness: str) -> Figure:
    """Draw robustness against faithfulness: a mark with two intervals for each defence at each setting.

    Settings of a defence are joined in their order, and have their number beside them; the best place is the upper right
    corner.

    Args:
        points: with the columns ``defence``, ``setting``, and of ``robustness`` and ``faithfulness`` the value, ``low``
            and ``high``.
        robustness, faithfulness: labels of the axes.
    """
    for name in TRADEOFF:
        checks.one_of("the columns of points", name, [*points.columns])
    groups = list(points.groupby("defence", sort=False))
    if len(groups) > len(MARKERS):
        raise ValueError(f"points are of {len(groups)} defences; there are colours for at most {len(MARKERS)}.")
    with new_figure(1, 1, (7.4, 5.2)) as (figure, axes):
        axis = axes[0, 0]
        places: list[tuple[float, float, str, str]] = []
        others = iter(OTHERS)
        for number, (defence, rows) in enumerate(groups):
            colour = OF_MODELS.get(str(defence)) or next(others)
            x, y = (rows[name].to_numpy(float) for name in ("robustness", "faithfulness"))
            errors = [
                np.stack([rows[name] - rows[f"{name} low"], rows[f"{name} high"] - rows[name]]).clip(min=0)
                for name in ("robustness", "faithfulness")
            ]
            axis.errorbar(x, y, errors[1], errors[0], fmt="none", ecolor=colour, elinewidth=0.8, alpha=0.45)
            axis.plot(
                x,
                y,
                color=colour,
                marker=MARKERS[number],
                markersize=7,
                linewidth=1,
                label=_named(str(defence), rows["setting"]),
                markeredgecolor=PAPER,
            )
            places += [*zip(x, y, rows["setting"].map(_value), [colour] * len(rows), strict=True)]
        axis.set(xlabel=robustness, ylabel=faithfulness)
        figure.legend(loc="outside lower center", ncols=min(len(groups), 3))
        label_marks(axis, places)
    return figure


def _value(setting: str) -> str:
    """Return the number in a setting such as "beta 3" or "10 samples"; nothing if there is none."""
    return next((word for word in setting.split() if word[0].isdigit()), "")


def _named(defence: str, settings: pd.Series) -> str:
    """Return the defence with what its settings count, as the legend has it."""
    words = [word for word in str(settings.iloc[-1]).split() if not word[0].isdigit()]
    return f"{defence} ({' '.join(words)})" if words else defence


def label_marks(axis: Axes, places: Sequence[tuple[float, float, str, str]]) -> None:
    """Write labels beside marks: x, y, text, colour; each where it covers no mark and no other label, if it can be.

    Where that is depends on how large the panel is, so it is asked again when the figure is laid out anew for a phone.
    """
    labels = [
        (axis.annotate(text, (x, y), BESIDE[0], textcoords="offset points", color=colour, ha="center", va="center"))
        for x, y, text, colour in places
        if text
    ]
    for label in labels:
        label.set_path_effects([withStroke(linewidth=2, foreground=PAPER)])

    def settle() -> None:
        figure = axis.figure
        figure.canvas.draw()
        size = figure.dpi / 72
        marks = axis.transData.transform([(x, y) for x, y, _, _ in places])
        taken = [Bbox.from_extents(*(mark - 5 * size), *(mark + 5 * size)) for mark in marks]
        for label in labels:
            for beside in BESIDE:
                label.set_position(beside)
                box = label.get_window_extent()
                if not any(box.overlaps(other) for other in taken):
                    break
            taken.append(box)

    settle()
    axis.figure.settle = settle  # type: ignore[union-attr]
