"""Figures of Markov chains: their energies, how far they go, and what certificates ask of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from relevance.inference.certificate import LIMITS
from relevance.pages.figures.style import BLUE, COLOURS, GREEN, ORANGE, PURPLE, VERMILION, new_figure

# What is marked on the axes of certificates: R-hat minus 1, and effective sample size.
RULED = ((0.001, 0.01, 0.05, 0.2, 1.0), (1, 10, 100, 400, 1000, 4000))
MARKS = ["o", "s", "^", "D", "v", "P"]


def chain(history: Sequence[Sequence[Mapping[str, float]]], n_warmup: int) -> Figure:
    """Draw the energy of Markov chains, transition by transition, with the warm-up shaded.

    Args:
        history: for each chain, a row for each transition (``record["history"]`` of an HMC posterior).
        n_warmup: transitions of each chain before the first one that is kept.
    """
    with new_figure(1, 1, (7.4, 2.6)) as (figure, axes):
        axis = axes[0, 0]
        for rows, colour in zip(history, [BLUE, ORANGE, GREEN, PURPLE] * len(history), strict=False):
            axis.plot([row["energy"] for row in rows], color=colour, linewidth=1)
        axis.axvspan(0, n_warmup, color="0.92", zorder=0)
        axis.text(n_warmup / 2, 0.06, "warm-up", transform=axis.get_xaxis_transform(), ha="center", color="0.35")
        axis.set_xlabel("transition")
        axis.set_ylabel("energy (nats)")
    return figure


def autocorrelation(rows: pd.DataFrame, protocols: Mapping[str, float]) -> Figure:
    """Draw the correlation of a draw with the next against the length of a trajectory, with some protocols marked.

    Args:
        rows: from :func:`relevance.studies.background.chains.autocorrelation`.
        protocols: name -> length of its trajectories, L e / sigma.
    """
    with new_figure(1, 1, (6.6, 3.3)) as (figure, axes):
        axis = axes[0, 0]
        lengths = np.linspace(0, max(*rows["length"], *protocols.values()) * 1.03, 200)
        axis.plot(lengths, np.cos(lengths), color="0.6", linewidth=1, label=r"$\cos(L e / \sigma)$", zorder=0)
        axis.plot(rows["length"], rows["measured"], "o", color="0.3", markersize=5, label="measured")
        for (name, length), colour, mark in zip(
            protocols.items(), [VERMILION, BLUE, PURPLE] * 3, "^sD" * 3, strict=False
        ):
            axis.plot([length], [np.cos(length)], mark, color=colour, markersize=9, label=name)
        axis.axhline(0, color="0.8", linewidth=1, zorder=0)
        axis.set(xlabel=r"length of a trajectory, $L e / \sigma$", ylabel="correlation of a draw with the next")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def certificates(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw what certificates ask: the largest R-hat and the smallest effective sample size of each kind of value.

    Args:
        tables: name of a posterior -> the table of its :class:`relevance.inference.certificate.Certificate`.
    """
    kinds = list(dict.fromkeys(str(kind) for rows in tables.values() for kind in rows.index))
    with new_figure(1, 2, (7.6, 1.2 + 0.34 * len(kinds) + 0.1 * len(tables))) as (figure, axes):
        shifts = np.linspace(-0.25, 0.25, len(tables)) if len(tables) > 1 else [0.0]
        looks = zip(tables.items(), shifts, COLOURS * len(tables), MARKS * len(tables), strict=False)
        for (name, rows), shift, colour, mark in looks:
            places = [kinds.index(str(kind)) + shift for kind in rows.index]
            # An R-hat below 1 is one that chance has put there.
            above = (rows["R-hat"] - 1).clip(lower=1e-3)
            axes[0, 0].plot(above, places, mark, color=colour, markersize=5, label=name)
            axes[0, 1].plot(rows["ESS"].clip(lower=1), places, mark, color=colour, markersize=5)
        for (word, (rhat, ess)), style in zip(LIMITS.items(), ["-", "--"], strict=True):
            axes[0, 0].axvline(rhat - 1, color="0.5", linewidth=1, linestyle=style, zorder=0, label=f"{word}, limit")
            axes[0, 1].axvline(ess, color="0.5", linewidth=1, linestyle=style, zorder=0)
        axes[0, 0].set(xscale="log", xlabel="largest R-hat")
        axes[0, 1].set(xscale="log", xlabel="smallest effective sample size")
        for axis, ticks, first in zip(axes[0], RULED, (1, 0), strict=True):
            low, high = axis.get_xlim()
            shown = [tick for tick in ticks if low <= tick <= high]
            axis.set_xticks(shown, [f"{first + tick:g}" for tick in shown])
            axis.set_xticks([], minor=True)
        axes[0, 0].set_yticks(range(len(kinds)), kinds)
        axes[0, 1].set_yticks(range(len(kinds)), [""] * len(kinds))
        for axis in axes[0]:
            axis.invert_yaxis()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure
