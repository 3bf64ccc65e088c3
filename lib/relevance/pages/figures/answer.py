"""The book's answer in two figures: every claim in every recorded run, and the differences behind the first of them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from relevance.metrics.statistics import UNDECIDED
from relevance.pages.figures.style import BLUE, MODELS, PAPER, VERMILION, new_figure
from relevance.pages.narrow import PHONE
from relevance.studies.carbone.reproduction import AGREES, DIFFERS, NO_DIFFERENCE, agreement
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC
from relevance.studies.verdicts import NOT_JUDGED

COMPARED = {BAYESIAN: (MODELS[BAYESIAN], "o"), ADVERSARIAL: (MODELS[ADVERSARIAL], "s")}
SCORES = {"the score as it is": ("mean", "low", "high"), "the score, scaled": ("scaled", "scaled_low", "scaled_high")}


def answer(rows: pd.DataFrame) -> Figure:
    """Draw how much steadier explanations are than those of the deterministic network, run by run and attack by attack.

    Args:
        rows: of :func:`relevance.studies.answer.rows`.
    """
    shown = rows[rows["first"] == DETERMINISTIC]
    # Every run has a row for its name: no name lies over a mark, however narrow the panel.
    attacked = shown.groupby("called", sort=False)["attack"].unique()
    lines = [(name, attack) for name, attacks in attacked.items() for attack in ("", *attacks)]
    places = {line: place for place, line in enumerate(lines)}
    with new_figure(1, 2, (9.2, 1.2 + 0.27 * len(places))) as (figure, axes):
        for axis, (title, (mean, low, high)) in zip(axes[0], SCORES.items(), strict=True):
            for shift, (model, (colour, marker)) in zip((-0.14, 0.14), COMPARED.items(), strict=True):
                one = shown[shown["second"] == model]
                where = np.array([places[key] for key in zip(one["called"], one["attack"], strict=True)]) + shift
                ends = np.stack([one[mean] - one[low], one[high] - one[mean]]).clip(0)
                for faint in (False, True):
                    drawn = ((one["standing"] == NOT_JUDGED) == faint).to_numpy()
                    axis.errorbar(
                        one[mean][drawn], where[drawn], xerr=ends[:, drawn], fmt=marker, color=colour, markersize=4.5, lw=1.3,
                        alpha=0.3 if faint else 1, label=None if faint else model,
                    )  # fmt: skip
            axis.axvline(0, color="0.4", lw=0.8, ls="--")
            axis.set_title(title)
            attacks = {place: attack for (_, attack), place in places.items() if attack}
            axis.set_yticks(list(attacks), attacks.values() if axis is axes[0, 0] else [""] * len(attacks))
            axis.set_ylim(len(places) - 0.4, -0.6)
            axis.locator_params(axis="x", nbins=5)
            for name in attacked.index:
                place = places[name, ""]
                if place:
                    axis.axhline(place - 0.5, color="0.85", lw=0.8)
                axis.text(
                    0.99, place, name, transform=axis.get_yaxis_transform(), ha="right", va="center", color="0.35"
                )
        figure.supxlabel("difference of LRP robustness: less steady than deterministic  |  steadier")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


# What a setting says of its claim -> how it is filled.
FILLED: dict[str, dict[str, Any]] = {
    AGREES: {"facecolor": BLUE}, NO_DIFFERENCE: {"facecolor": "0.72"}, DIFFERS: {"facecolor": VERMILION, "hatch": "///"},
    UNDECIDED: {"hatch": "....", "edgecolor": "0.5"}, NOT_JUDGED: {"edgecolor": "0.8"},
}  # fmt: skip
PLAIN: dict[str, Any] = {"facecolor": PAPER, "edgecolor": PAPER}


def claims_grid(settings: pd.DataFrame, called: Mapping[str, str]) -> Figure:
    """Draw what every recorded run says of every claim: a row for each claim, a column for each run, a bar in each cell.

    A bar is divided by what the settings of the cell say; in it stands how many of those that are judged agree.

    Args:
        settings: of :func:`relevance.studies.carbone.reproduction.claimed_settings`.
        called: run -> what its column is called, in the order of the columns.
    """
    rows = settings.assign(said=agreement(settings))
    claims, runs = list(dict.fromkeys(rows["item"])), list(called)
    with new_figure(1, 1, (9.2, 1.5 + 0.42 * len(claims))) as (figure, axes):
        axis = axes[0, 0]
        for (item, run), part in rows.groupby(["item", "run"], sort=False):
            _divided(axis, runs.index(str(run)), claims.index(str(item)), part["said"].value_counts())
        axis.set(xlim=(-0.5, len(runs) - 0.5), ylim=(len(claims) - 0.4, -0.6))
        axis.set_yticks(range(len(claims)), [textwrap.fill(text, 48) for text in claims])
        axis.set_xticks(range(len(runs)), [text.replace(", ", "\n") for text in called.values()])
        axis.xaxis.tick_top()
        axis.tick_params(length=0)
        axis.spines[["left", "bottom"]].set_visible(False)
        handles = [Patch(label=name, **{**PLAIN, **look}) for name, look in FILLED.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)

    def narrow() -> None:
        """Have the claims stand above their bars, and say less in these."""
        axis.set_yticks([])
        columns = (text.replace(", ", "\n") for text in called.values())
        axis.set_xticks(range(len(runs)), [re.sub("(Fashion-|convo)(?=[Ml])", _broken, text) for text in columns])
        for bar in axis.patches:
            bar.set(y=bar.get_y() + 0.13, height=0.36)
        for text in axis.texts:
            text.set_text(text.get_text().replace(" of ", "/").replace(NOT_JUDGED, "-"))
        for row, claim in enumerate(claims):
            told = axis.text(-0.45, row - 0.26, textwrap.fill(claim, 46), va="bottom")
            told.set_in_layout(False)
        axis.set_ylim(len(claims) - 0.5, -1)
        figure.set_size_inches(PHONE, 2.2 + 0.92 * len(claims))

    figure.narrow = narrow  # type: ignore[attr-defined]
    return figure


def _broken(match: re.Match[str]) -> str:
    """Return the first half of a word that goes on in the next line."""
    return f"{match[0].removesuffix('-')}-\n"


def _divided(axis: Axes, column: int, row: int, counts: pd.Series) -> None:
    """Draw the bar of a cell."""
    left, width = column - 0.44, 0.88 / counts.sum()
    for name, look in FILLED.items():
        if count := int(counts.get(name, 0)):
            axis.barh(row, count * width, 0.62, left, linewidth=0.8, **{**PLAIN, **look})
            left += count * width
    judged = int(counts.drop(NOT_JUDGED, errors="ignore").sum())
    told = f"{counts.get(AGREES, 0)} of {judged}" if judged else NOT_JUDGED
    around = {"boxstyle": "round,pad=0.15", "facecolor": PAPER, "linewidth": 0}
    axis.text(column, row, told, ha="center", va="center", bbox=around)
