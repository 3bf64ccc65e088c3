"""What the tables of why the authors saw it say, in sentences."""

from __future__ import annotations

import pandas as pd

from relevance.metrics.statistics import Correlation
from relevance.studies.carbone.claims import NEGLIGIBLE
from relevance.studies.carbone.masking import MASKED
from relevance.studies.carbone.picture import CORRELATED, FLAT, PARTS, STEADIER, SURVIVES
from relevance.studies.carbone.recipes import FROM_BOX, FROM_PRIOR, FROM_SGD, LETTER, MIXED, ONCE, PER_BATCH, POOLED
from relevance.studies.carbone.why import ALL, DESCRIBED
from relevance.studies.phrases import join, sentence, signed

# What a recipe is, as a sentence has it.
CHOICES = {
    FROM_BOX: "a chain with the prior N(0, 1) that starts anywhere in [-2, 2]",
    FROM_PRIOR: "a chain that starts at a draw of the prior N(0, 1)",
    FROM_SGD: "a chain with the prior N(0, 1) that starts at a solution of SGD",
    POOLED: "many short chains put together, each on its part of the data and from random weights in [-2, 2]",
    LETTER: "leapfrog steps of 0.5 that are not adapted",
    MIXED: "chains that mix",
    ONCE: "variational inference from a wide start",
    PER_BATCH: "variational inference that charges the KL divergence to every batch",
}
CELLS = {DESCRIBED: "", ALL: ", and with all that the released code does otherwise"}
NAMED = {
    STEADIER: "that maps are steadier", CORRELATED: "that a map and its prediction hold together",
    SURVIVES: "that most predictions survive", FLAT: "that SGD's maps show no link to its predictions",
}  # fmt: skip


@sentence
def in_short(changes: pd.DataFrame, data: str, *, converged: bool = True) -> str:
    """Say which choices make the paper's picture on some data.

    Args:
        changes: of :func:`relevance.studies.carbone.picture.changes`.
        data: what it is of.
        converged: whether the long chains among them have a certificate.
    """
    before = changes.set_index("what").loc["the picture"].to_dict()
    n_parts = sum(bool(before[part]) for part in PARTS)
    other = f", and with one thing that the released code does otherwise ({before['cell']})"
    recipe = CHOICES[before["recipe"]]
    if before["recipe"] == MIXED and not converged:
        recipe = "long chains, which have not converged"
    made = recipe + CELLS.get(before["cell"], other)
    if n_parts == len(PARTS):
        return f"On {data}, the whole of the paper's picture comes out with {made}."
    return f"On {data}, nothing gives the whole of the paper's picture; nearest, with {n_parts} of {len(PARTS)} parts: {made}."


@sentence
def mixed(changes: pd.DataFrame, data: str, plain: Correlation) -> str:
    """Say which parts of the picture chains that mix show under the same attack.

    Args:
        changes: the same table.
        data: what it is of.
        plain: of SGD's two scores under that attack; the last part asks it to be near zero.
    """
    row = changes.set_index("what").loc[MIXED]
    there, missing = ([text for part, text in NAMED.items() if bool(row[part]) == has] for has in (True, False))
    numbers = f" (rank correlation {signed(plain.rho)}, and {NEGLIGIBLE:g} is the limit"
    open_ = plain.low < -NEGLIGIBLE < plain.high or plain.low < NEGLIGIBLE < plain.high
    numbers += f"; its 95 % interval, {signed(plain.low)} to {signed(plain.high)}, holds the limit)" if open_ else ")"
    return (
        f"On {data}, {CHOICES[MIXED]} show {len(there)} of its {len(PARTS)} parts{f': {join(there)}' if there else ''}"
        f"{f'. Missing: {join(missing)}' if there and missing else ''}{'' if bool(row[FLAT]) or not there else numbers}."
    )


@sentence
def frozen(found: pd.DataFrame) -> str:
    """Say how much of the gain images without a gradient make: of :func:`relevance.studies.carbone.picture.populations`."""
    rows = found.set_index("population")
    images, gain = rows["images"], rows["gain over SGD"]
    if not images["frozen"]:
        return f"No image is without a gradient there; the gain over SGD is {signed(gain['both'])}."
    made = gain["frozen"] * images["frozen"] / (gain["both"] * images["both"])
    return (
        f"{images['frozen'] / images['both']:.0%} of the images have no gradient, and make {made:.0%} of the gain over SGD of "
        f"{signed(gain['both'])}; on the others it is {signed(gain['moved'])}."
    )


@sentence
def left(changes: pd.DataFrame) -> str:
    """Say what is left of the picture of :func:`in_short` when the attack follows the margin, which does not saturate."""
    before, after = (changes.set_index("what").loc[name].to_dict() for name in ("the picture", "the margin followed"))
    words = {
        (True, True): "the correlation stays", (True, False): "the correlation is gone",
        (False, True): "a strong correlation appears", (False, False): "there is no strong correlation either",
    }  # fmt: skip
    gains = [signed(row["k-LRP"] - row["k-LRP of SGD"]) for row in (before, after)]
    less = ", less than the picture asks for" if before[STEADIER] and not after[STEADIER] else ""
    kept = words[bool(before[CORRELATED]), bool(after[CORRELATED])]
    return f"When the attack follows the margin, {kept}; the gain over SGD goes from {gains[0]} to {gains[1]}{less}."


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
