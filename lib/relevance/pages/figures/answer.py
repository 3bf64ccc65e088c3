"""The book's answer in one figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from relevance.pages.figures.style import BLUE, ORANGE, new_figure
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC
from relevance.studies.verdicts import NOT_JUDGED

COMPARED = {BAYESIAN: (BLUE, "o"), ADVERSARIAL: (ORANGE, "s")}
SCORES = {"score as it is": ("mean", "low", "high"), "scaled": ("scaled", "scaled_low", "scaled_high")}


def answer(rows: pd.DataFrame) -> Figure:
    """Draw how much steadier explanations are than those of the deterministic network, run by run and attack by attack.

    Args:
        rows: of :func:`relevance.studies.answer.rows`.
    """
    shown = rows[rows["first"] == DETERMINISTIC]
    settings = list(dict.fromkeys(zip(shown["called"], shown["attack"], strict=True)))
    places = {setting: place for place, setting in enumerate(settings)}
    called, labels = [name for name, _ in settings], [attack for _, attack in settings]
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
            axis.set_title(f"difference of LRP robustness, {title}")
            axis.set_yticks(range(len(labels)), labels if axis is axes[0, 0] else [""] * len(labels), fontsize=8)
            axis.set_ylim(len(labels) - 0.4, -0.6)
            axis.set_xlabel("less steady than deterministic   |   steadier")
            for place in range(1, len(called)):
                if called[place] != called[place - 1]:
                    axis.axhline(place - 0.5, color="0.85", lw=0.8)
        for name in dict.fromkeys(called):
            axes[0, 1].text(
                1.02, np.mean([place for place, other in enumerate(called) if other == name]), name,
                transform=axes[0, 1].get_yaxis_transform(), va="center", fontsize=8,
            )  # fmt: skip
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure
