"""Figures of posteriors and of attacks on predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from relevance.base import checks
from relevance.pages.figures.style import BLUE, PURPLE, VERMILION, colour_of, new_figure
from relevance.studies.phrases import method_name

# Parts of a gradient have the colours that no model has.
PARTS = [VERMILION, "0.15", PURPLE, "0.6"]


def reliability(calibrations: Mapping[str, pd.DataFrame], columns: int = 3) -> Figure:
    """Draw accuracy against confidence for each posterior; one that knows what it knows lies on the diagonal.

    Args:
        calibrations: name of a posterior -> rows of :func:`relevance.inference.evidence.calibration`; the area of a mark is
            the share of the images in its bin.
        columns: panels in a row.
    """
    rows = math.ceil(len(calibrations) / checks.count("columns", columns))
    with new_figure(rows, columns, (2.1 * columns, 0.4 + 2.1 * rows)) as (figure, axes):
        for axis, (name, bins) in zip(axes.flat, calibrations.items(), strict=False):
            axis.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", zorder=0)
            axis.scatter(
                bins["confidence"],
                bins["accuracy"],
                6 + 300 * bins["share"],
                color=colour_of(name),
                alpha=0.7,
                linewidths=0,
            )
            axis.set(title=name, xlim=(0, 1.06), ylim=(0, 1.06), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1], aspect="equal")
        for axis in axes.flat[len(calibrations) :]:
            axis.set_axis_off()
        figure.supxlabel("confidence: largest predictive probability", fontsize=10)
        figure.supylabel("accuracy", fontsize=10)
    return figure


def known_posterior(mean: Tensor, covariance: Tensor, draws: Mapping[str, Tensor], names: tuple[str, str]) -> Figure:
    """Draw samples of two parameters beside the ellipses of the normal distribution that they should come from.

    Args:
        mean, covariance: [2] and [2, 2], exact.
        draws: title -> [S, 2].
        names: of the two parameters.
    """
    values, directions = np.linalg.eigh(covariance.cpu().numpy())
    circle = np.stack([np.cos(angles := np.linspace(0, 2 * np.pi, 200)), np.sin(angles)])
    with new_figure(1, len(draws), (2.7 * len(draws), 2.9)) as (figure, axes):
        for axis, (title, points) in zip(axes[0], draws.items(), strict=True):
            axis.scatter(*points.cpu().numpy().T, s=5, color=BLUE, alpha=0.35, linewidths=0, rasterized=True)
            for n_deviations in (1, 2):
                ellipse = mean.cpu().numpy()[:, None] + n_deviations * directions @ (np.sqrt(values)[:, None] * circle)
                axis.plot(*ellipse, color="0.15", linewidth=1)
            reach = 3.5 * covariance.diagonal().sqrt()
            axis.set(title=title, xlabel=names[0], xlim=_around(mean[0], reach[0]), ylim=_around(mean[1], reach[1]))
        axes[0, 0].set_ylabel(names[1])
    return figure


def attack_curves(by_epsilon: Mapping[str, pd.DataFrame], by_steps: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against the size of the ball, and the loss against the steps, for several models.

    Args:
        by_epsilon: model -> rows of :func:`relevance.attacks.accuracy_by_epsilon`.
        by_steps: model -> rows of :func:`relevance.attacks.loss_by_steps`.
    """
    with new_figure(1, 2, (7.6, 3.2)) as (figure, axes):
        marks = ["o", "s", "^", "D", "v", "P"] * len(by_epsilon)
        for (name, rows), mark in zip(by_epsilon.items(), marks, strict=False):
            colour = colour_of(name)
            axes[0, 0].plot(rows["epsilon"], rows["accuracy"], color=colour, marker=mark, markersize=4, label=name)
            steps = by_steps[name]
            gained = (steps["best"] - steps["best"].iloc[0]) / (steps["best"].iloc[-1] - steps["best"].iloc[0])
            axes[0, 1].plot(steps["step"], gained, color=colour, marker=mark, markersize=4, markevery=5)
        axes[0, 0].set(
            xlabel=r"size of the ball, $\delta$", ylabel="accuracy under PGD on the margin", ylim=(-0.03, 1.03)
        )
        axes[0, 1].set(xlabel="step of PGD", ylabel="share of the loss of margin", ylim=(-0.03, 1.03))
        figure.legend(loc="outside lower center", ncols=len(by_epsilon))
    return figure


def _around(centre: Tensor, reach: Tensor) -> tuple[float, float]:
    return (centre - reach).item(), (centre + reach).item()


def averaging(parts: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how the parts of an averaged gradient shrink with the number of samples, a panel for each title.

    Args:
        parts: title -> rows of :func:`relevance.studies.carbone.geometry.by_samples`.
    """
    with new_figure(1, len(parts), (max(5.5, 0.8 + 3.2 * len(parts)), 3.1)) as (figure, axes):
        names = list(dict.fromkeys(name for rows in parts.values() for name in rows["part"]))
        looks = dict(zip(names, zip(PARTS, "os^D", strict=False), strict=False))
        for axis, (title, rows) in zip(axes[0], parts.items(), strict=True):
            for name, part in rows.groupby("part", sort=False):
                colour, mark = looks[str(name)]
                axis.plot(part["n_samples"], part["kept"], color=colour, marker=mark, markersize=4, label=name)
            first = rows.drop_duplicates("n_samples")
            axis.plot(
                first["n_samples"], first["independent"], color="0.5", linestyle="--", label="independent, mean zero"
            )
            axis.set(title=title, xscale="log", yscale="log", xlabel="samples")
            ticks = list(first["n_samples"])
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            low = axis.get_ylim()[0]
            shown = [tick for tick in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if tick > low]
            axis.set_yticks(shown, [f"{tick:g}" for tick in shown])
            axis.minorticks_off()
        axes[0, 0].set_ylabel("length of the mean / length of one")
        handles = {
            text: handle for axis in axes[0] for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def survival(rows: pd.DataFrame, parts: Sequence[str]) -> Figure:
    """Draw, for each case, the share of each part that an average over infinitely many samples would keep.

    Args:
        rows: from :func:`relevance.studies.carbone.geometry.sweep`.
        parts: names of the parts.
    """
    manifolds = list(rows["manifold"].unique())
    n_cases = rows.groupby("manifold").size().max()
    with new_figure(1, len(manifolds), (2.2 + 2.9 * len(manifolds), 1.1 + 0.42 * n_cases)) as (figure, axes):
        for axis, name in zip(axes[0], manifolds, strict=True):
            chosen = rows[rows["manifold"] == name].reset_index(drop=True)
            for part, colour, mark, shift in zip(parts, PARTS, "os^D", (-0.2, 0.0, 0.2, 0.3), strict=False):
                spread = [chosen[part] - chosen[f"{part}, low"], chosen[f"{part}, high"] - chosen[part]]
                axis.errorbar(
                    chosen[part], chosen.index + shift, xerr=np.clip(spread, 0, None), fmt=mark, color=colour,
                    markersize=4, linewidth=1, label=part,
                )  # fmt: skip
            axis.axvline(0, color="0.5", linewidth=1, linestyle="--", zorder=0)
            axis.set(title=name, xlabel="share kept")
            cases = [
                f"{method_name(row['method'])}, {row['training points']} points,\nwidth {row['width']}"
                for row in chosen.to_dict("records")
            ]
            axis.set_yticks(chosen.index, cases if name == manifolds[0] else [""] * len(cases))
            axis.invert_yaxis()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(parts))
    return figure
