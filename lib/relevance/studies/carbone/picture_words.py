"""What the tables of why the authors saw it say, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from relevance.inference.certificate import NOT_CONVERGED
from relevance.studies.carbone.claims import MODEST, STRONG
from relevance.studies.carbone.criteria import ANOTHER, CHANGES, NO, OPEN, YES
from relevance.studies.carbone.masking import MASKED
from relevance.studies.carbone.picture import CORRELATED, PARTS, STEADIER
from relevance.studies.carbone.recipes import FROM_BOX, FROM_PRIOR, FROM_SGD, LETTER, MIXED, ONCE, PER_BATCH, POOLED
from relevance.studies.carbone.why import ALL, DESCRIBED
from relevance.studies.phrases import join, sentence

# What a recipe is, as a sentence has it.
CHOICES = {
    FROM_BOX: "a chain with the prior N(0, 1) that starts anywhere in [-2, 2]",
    FROM_PRIOR: "a chain that starts at a draw of the prior N(0, 1)",
    FROM_SGD: "a chain with the prior N(0, 1) that starts at a solution of SGD",
    POOLED: "the pooled draws of short chains on parts of the data, from [-2, 2]",
    LETTER: "leapfrog steps of 0.5 that are not adapted",
    MIXED: "chains that mix",
    ONCE: "variational inference from a wide start",
    PER_BATCH: "variational inference that charges the divergence to every batch",
}
CELLS = {DESCRIBED: "the attack as the paper prints it", ALL: "all that the released code does otherwise"}


def _cell(cell: str) -> str:
    return CELLS.get(cell, f"of what the released code does otherwise, {cell}")


def _rho(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


@sentence
def in_short(changes: pd.DataFrame) -> str:
    """Say which choices make the paper's picture: of :func:`relevance.studies.carbone.picture.changes`."""
    before = changes.set_index("what").loc["the picture"].to_dict()
    made = f"{CHOICES[before['recipe']]}, and {_cell(before['cell'])}"
    n_parts = sum(bool(before[part]) for part in PARTS)
    if n_parts == len(PARTS):
        return f"What makes the paper's picture here is {made}."
    return (
        f"No set of choices makes the whole of the paper's picture here; nearest to it comes {made}, with {n_parts} of its "
        f"{len(PARTS)} parts."
    )


@sentence
def headline(changes: pd.DataFrame) -> str:
    """Say what :func:`in_short` says, and what becomes of the picture when the margin is followed.

    Args:
        changes: of :func:`relevance.studies.carbone.picture.changes`, of the first of
            :func:`relevance.studies.carbone.picture.pictures`.
    """
    rows = changes.set_index("what")
    before, after = (rows.loc[name].to_dict() for name in ("the picture", "the margin followed"))
    left = [name for name, part in ((f"the gain (more than {MODEST:g})", STEADIER), (f"rho (at least {STRONG:g})", CORRELATED))
            if after[part]]  # fmt: skip
    gone = f"Of it, {join(left)} is left" if left else "Neither gain nor correlation is left"
    follows = "follows" if before[CORRELATED] else "does not follow"
    return (
        f"**{in_short(changes)}** Explanations then score {before['k-LRP']:.2f} where SGD's score {before['k-LRP of SGD']:.2f}, "
        f"and their robustness {follows} that of predictions (rho {_rho(before['rho'])}). {gone} when the attack follows the "
        f"margin, which does not saturate: {after['k-LRP']:.2f} and {after['k-LRP of SGD']:.2f}, rho {_rho(after['rho'])}, and "
        f"an accuracy under attack of {after['accuracy under attack']:.0%} in place of {before['accuracy under attack']:.0%}."
    )


@sentence
def starts(each: pd.DataFrame) -> str:
    """Say of :func:`relevance.studies.carbone.recipes.of_each` how many single draws leave an attack no gradient."""
    rows = {str(row["recipe"]): row for row in each.to_dict("records")}
    looked_at = (FROM_BOX, FROM_SGD, MIXED)
    told = [f"{name} {rows[name]['saturated']:.0%}" for name in looked_at if name in rows]
    letter = (
        f" With ten steps of 0.5 (Table IV of the paper) that are not adapted, {rows[LETTER]['accepted']:.0%} of "
        f"{rows[LETTER]['draws']} proposals are accepted here, and the draws are right on {rows[LETTER]['accuracy']:.0%} of the "
        "images. The paper does not say whether its step adapts."
        if LETTER in rows
        else ""
    )
    alone = (
        f"The loss of a single draw has a gradient of exactly zero on this share of the images: {join(told)}."
        if told
        else ""
    )
    return f"{alone}{letter}".strip()


@sentence
def judge(settings: Mapping[str, Any]) -> str:
    """Say whether recorded chains settle which start tells the truth, by the settings that their table was kept with."""
    told = (
        f"{settings['n_chains']} chains from SGD and from the prior, {settings['n_gradients']:,} gradients (R-hat "
        f"{settings['rhat']:.2f})"
    )
    if settings["certificate"] == NOT_CONVERGED:
        return f"{told}: they have **not converged**, so the question is open. What each of them gives:"
    return f"{told}: they are {settings['certificate']}, so what they give is what this posterior gives:"


@sentence
def masked(rows: pd.DataFrame, epsilon: float) -> str:
    """Say how near the predictions of masked images are to failing: of :func:`relevance.studies.carbone.masking.by_group`."""
    part = rows[rows["group"] == MASKED]
    if part.empty:
        return "No image has a gradient of zero here: there is nothing to show."
    lost = part[part["wrong"] > 0.5]
    if lost.empty:
        return f"Most of {part['images'].iloc[0]} masked images are still predicted rightly at the end of the way."
    first = lost.iloc[0]
    return (
        f"On {first['images']:.0f} images the loss is flat, and its gradient exactly zero. A step of {first['distance']:.3g}, "
        f"{first['distance'] / epsilon:.0%} of the attack's size, along the margin's gradient has {first['wrong']:.0%} of them "
        "predicted wrongly."
    )


@sentence
def populations(rows: pd.DataFrame) -> str:
    """Say how a correlation comes of two populations: of :func:`relevance.studies.carbone.picture.populations`."""
    by = rows.set_index("population")
    frozen, moved, both = (by.loc[name].to_dict() for name in ("frozen", "moved", "both"))
    if frozen["images"] == 0:
        return f"The attack moves every image; rho is {_rho(both['rho'])}."
    within: str = "" if pd.isna(moved["rho"]) else f" Among the images that it moves, rho is {_rho(moved['rho'])}."
    return (
        f"The attack leaves {frozen['images']:.0f} images as they are, which keeps map and prediction ({frozen['k-LRP']:.2f} and "
        f"{frozen['softmax robustness']:.2f}, less than 1 only by ties), and moves {moved['images']:.0f}, which score "
        f"{moved['k-LRP']:.2f} and {moved['softmax robustness']:.2f}. Together they have a rho of {_rho(both['rho'])}."
        f"{within}"
    )


@sentence
def explains(rows: pd.DataFrame) -> str:
    """Say which switches of :func:`relevance.studies.carbone.criteria.explained` explain figures, and which do not."""
    found = {
        word: list(part["switch"] + " (" + part["figures"] + ")" if word in (YES, ANOTHER) else part["switch"])
        for word, part in rows.groupby("explains", sort=False)
    }
    told = [
        f"What would explain figures, by the criteria, is {join(found[YES])}."
        if YES in found
        else "By the criteria, no switch would explain a figure.",
        *([f"Another attack than the one that is named comes of {join(found[ANOTHER])}, which does not say why scores differ."]
          if ANOTHER in found else []),
        *([f"Scores or maps are changed by more than a tenth, without such a criterion, by {join(found[CHANGES])}."]
          if CHANGES in found else []),
        *([f"Not by {join(found[NO])}."] if NO in found else []),
        *([f"Not measured in this run: {join(found[OPEN])}."] if OPEN in found else []),
    ]  # fmt: skip
    return " ".join(told)
