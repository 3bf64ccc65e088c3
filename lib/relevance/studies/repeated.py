"""Whether a run that is recorded again gives what was recorded: exactly where it must, elsewhere within what chains differ by."""

from __future__ import annotations

import pandas as pd

from relevance.studies.names import ADVERSARIAL, DETERMINISTIC
from relevance.studies.tables import SETTING

# Standard errors that a median may be off: of a normal variable, once in 150,000 cases.
ERRORS = 4.5
# Standard deviations of the median score over the images of digits-small, each the largest of its kind. From training to training
# on images that are changed in their last digits, as another CPU's rounding would (4 of each; the plain network's medians stayed
# the same to three decimals).
OF_TRAINING = {DETERMINISTIC: 0.002, ADVERSARIAL: 0.0055}
OF_CHAIN = {"noise": dict.fromkeys("135", 0.006), "attack": {"1": 0.017, "3": 0.046, "5": 0.031}}
# Three decimals are kept.
ROUNDING = 0.5e-3
# What no training has a part in.
EXACT = ["model", "n_samples", "attack", "rule", "layer", "image", "label"]
SCORE, FLOOR = "lrp_robustness", "unrelated_lrp_robustness"


def differences(recorded: pd.DataFrame, again: pd.DataFrame) -> list[str]:
    """Return a sentence for each thing in which two recordings of digits-small differ by more than chance; none if nothing does.

    Columns, rows and their labels must be the same. Medians over the images may differ by :data:`ERRORS` standard errors: the
    chain that was recorded and the other are two of many, each with its own error.

    Args:
        recorded, again: from :func:`relevance.studies.records.read_run`, or the table of a study of the same settings.
    """
    if missing := sorted(set(recorded.columns) ^ set(again.columns)):
        return [f"Only one of the two has the columns {', '.join(map(str, missing))}."]
    if len(again) != len(recorded):
        return [f"It has {len(again)} rows, and {len(recorded)} were recorded."]
    changed = {name: sum(map(str.__ne__, recorded[name].astype(str), again[name].astype(str))) for name in EXACT}
    if any(changed.values()):
        return [
            f"Its {name} is another in {n_rows} of {len(again)} rows." for name, n_rows in changed.items() if n_rows
        ]
    before, anew = (table.groupby(["model", *SETTING])[[SCORE, FLOOR]].median() for table in (recorded, again))
    found = []
    for model, attack, rule, layer in anew.index:
        trained = model in OF_TRAINING
        error = OF_TRAINING[model] if trained else OF_CHAIN["noise" if attack == "noise" else "attack"][layer]
        may = ERRORS * 2**0.5 * error + ROUNDING
        # Floors of chains differ more than the scores above them.
        for column in (SCORE, FLOOR) if trained else (SCORE,):
            now, was = (float(table.loc[(model, attack, rule, layer), column]) for table in (anew, before))
            if not abs(now - was) < may:
                found.append(
                    f"The median {column} of {model} under {attack}, {rule}, layer {layer} is {now:.3f}; recorded is "
                    f"{was:.3f}, and {may:.3f} is what it may differ by."
                )
    return found
