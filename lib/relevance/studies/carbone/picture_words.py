"""What the tables of why the authors saw it say, in sentences."""

from __future__ import annotations

import pandas as pd

from relevance.studies.carbone.masking import MASKED
from relevance.studies.carbone.picture import CORRELATED, PARTS, STEADIER
from relevance.studies.carbone.recipes import FROM_BOX, FROM_PRIOR, FROM_SGD, LETTER, MIXED, ONCE, PER_BATCH, POOLED
from relevance.studies.carbone.why import ALL, DESCRIBED
from relevance.studies.phrases import sentence

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


@sentence
def in_short(changes: pd.DataFrame) -> str:
    """Say which choices make the paper's picture: of :func:`relevance.studies.carbone.picture.changes`."""
    before = changes.set_index("what").loc["the picture"].to_dict()
    cell, n_parts = before["cell"], sum(bool(before[part]) for part in PARTS)
    made = f"{CHOICES[before['recipe']]}, and {CELLS.get(cell, f'of what the released code does otherwise, {cell}')}"
    if n_parts == len(PARTS):
        return f"What makes the paper's picture here is {made}."
    return f"Nothing makes the whole of the paper's picture here; nearest is {made}, with {n_parts} of its {len(PARTS)} parts."


@sentence
def left(changes: pd.DataFrame) -> str:
    """Say what is left of the picture of :func:`in_short` when the attack follows the margin, which does not saturate."""
    before, after = (changes.set_index("what").loc[name].to_dict() for name in ("the picture", "the margin followed"))
    there = [name for name, part in (("gain", STEADIER), ("correlation", CORRELATED)) if after[part]]
    what = (
        f"Of gain and correlation, {' and '.join(there)} is left" if there else "Neither gain nor correlation is left"
    )
    gains = [f"{row['k-LRP'] - row['k-LRP of SGD']:+.2f}".replace("-", "\N{MINUS SIGN}") for row in (before, after)]
    return f"{what} when the attack follows the margin: the gain over SGD goes from {gains[0]} to {gains[1]}."


@sentence
def masked(rows: pd.DataFrame, epsilon: float) -> str:
    """Say how near the predictions of masked images are to failing: of :func:`relevance.studies.carbone.masking.by_group`."""
    part = rows[rows["group"] == MASKED]
    if part.empty:
        return "No image has a gradient of zero here: there is nothing to show."
    lost = part[part["wrong"] > 0.5]
    if lost.empty:
        return "Most images without a gradient are still predicted rightly at the end of the way."
    share = lost["distance"].iloc[0] / epsilon
    return f"Most images without a gradient are predicted wrongly after {share:.0%} of the attack's size along the margin's."
