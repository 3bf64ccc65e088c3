"""What is not judged, and why: where a verdict would be one on chance, on noise, or on an attack that had nothing to follow."""

from __future__ import annotations

import pandas as pd

# Fewer images are not judged, nor what has less room between the scores of unrelated maps and of a map with itself, nor where
# more images than this share had no gradient to follow. An accuracy of this many times that of guessing is more than chance.
FEWEST, ROOM, BLIND, CHANCES = 100, 0.1, 0.05, 2
FEW, CHANCE, ZERO, NO_ROOM = ("too few images", "at chance", "nothing to follow", "too little room")
# And where draws are not those of a posterior (:func:`relevance.studies.records.is_unmixed`).
UNMIXED = "chains not converged"


def above_chance(n_classes: int) -> float:
    """Return the accuracy from which on a network is judged: :data:`CHANCES` times that of guessing among so many classes."""
    guessing = 1 / n_classes
    # Of two classes, twice the chance would be all: half of the way from guessing to all is enough.
    return min(CHANCES * guessing, (1 + guessing) / 2)


def why_not(rows: pd.DataFrame, n_images: int | None = None) -> str:
    """Say in three words why a setting is not judged; nothing if it is.

    Args:
        rows: of one setting, of the models that are compared: those of :func:`relevance.studies.experiment.rows` with ``model``.
        n_images: how many images are looked at, where those are not all.
    """
    if (rows["image"].nunique() if n_images is None else n_images) < FEWEST:
        return FEW
    seen = rows.assign(
        right=rows["clean_class"] == rows["label"],
        room=rows["ceiling_lrp_robustness"] - rows["unrelated_lrp_robustness"],
    )
    means = seen.groupby("model")[["right", "room", "gradient_is_zero"]].mean()
    if (means["right"] < above_chance(rows["label"].nunique())).any():
        return CHANCE
    if (means["gradient_is_zero"] > BLIND).any():
        return ZERO
    return NO_ROOM if (means["room"] < ROOM).any() else ""
