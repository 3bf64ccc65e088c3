"""Whether attacks found what there is: reasons to doubt that a network stood, where an attack may have failed.

The checks are those of Carlini et al. (2019, arXiv:1902.06705) and Athalye et al. (2018, arXiv:1802.00420).
"""

from __future__ import annotations

import pandas as pd

from relevance.attacks.evaluation import HALF, OTHERS, TITLES

TOLERATED = 0.02  # more than such a share of the images, and a check says so
APART = 0.05  # accuracies of two attacks on the same images that differ by more are not the same


def concerns(
    table: pd.DataFrame, by_epsilon: pd.DataFrame | None = None, by_steps: pd.DataFrame | None = None
) -> list[str]:
    """Return a sentence for each reason to doubt that the attacks found what there is; none if there is no reason.

    Args:
        table: from :func:`relevance.attacks.evaluate`.
        by_epsilon: from :func:`relevance.attacks.accuracy_by_epsilon`, up to a ball that
            holds a grey image (0.5 in the maximum norm).
        by_steps: from :func:`relevance.attacks.loss_by_steps`.
    """
    found = []
    accuracy, zero, alone = (table[name] for name in ("accuracy", "zero gradients", "alone"))
    entropy, by_margin = TITLES["cross_entropy"], TITLES["margin"]
    for title in TITLES.values():
        if zero[title] > TOLERATED:
            found.append(f"{title}: the gradient is exactly zero at {zero[title]:.0%} of the images.")
    pair = accuracy[[entropy, by_margin]]
    if pair.max() - pair.min() > APART:
        found.append(
            f"{pair.idxmax()} leaves an accuracy of {pair.max():.1%}, {pair.idxmin()} of {pair.min():.1%}: the first is not "
            "the attack to report."
        )
    if OTHERS in table.index and accuracy[OTHERS] - accuracy[HALF] > APART:
        found.append(
            f"An attack made on half of its networks leaves that half an accuracy of {accuracy[HALF]:.0%}, and the other half "
            f"{accuracy[OTHERS]:.0%}: it fools the networks it saw, not all that could have been drawn."
        )
    if accuracy["FGSM"] < accuracy[list(TITLES.values())].min() - TOLERATED:
        found.append("One step breaks more images than many do.")
    for title, what in (("squares", "random squares, which need no gradient,"), ("transfer", "a transferred attack")):
        if title in table.index and alone[title] > TOLERATED:
            found.append(f"{alone[title]:.1%} of the images are broken by {what} alone.")
    if accuracy["random corners"] < accuracy[by_margin]:
        found.append("Random corners of the ball break more images than PGD on the margin does.")
    if by_epsilon is not None and by_epsilon["accuracy"].iloc[-1] > TOLERATED:
        last = by_epsilon.iloc[-1]
        found.append(f"In a ball of {last['epsilon']:g} the accuracy is still {last['accuracy']:.1%}.")
    if by_steps is not None:
        best = by_steps["best"]
        gained, late = best.iloc[-1] - best.iloc[0], best.iloc[-1] - best.iloc[3 * len(best) // 4]
        if gained <= 0:
            found.append("The loss did not rise at any step.")
        elif late > 0.05 * gained:
            found.append(f"The last quarter of the steps still brought {late / gained:.0%} of what the loss gained.")
    return found
