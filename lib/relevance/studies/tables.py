"""Parts and summaries of the tables that :mod:`relevance.studies.experiment` gives."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.studies.experiment import Outcome

SETTING = ["attack", "rule", "layer"]
SCORE = "lrp_robustness"


def robustness_table(outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Return the tables of several models under attack as one, with the column ``model`` in front."""
    return pd.concat(
        [outcome.table().assign(model=name) for name, outcome in outcomes.items()], ignore_index=True
    ).pipe(lambda rows: rows[["model", *rows.columns.drop("model")]])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model of a :func:`robustness_table`: accuracies, mean scores, zero-gradient share."""
    scored = table.assign(
        accuracy=table["clean_class"] == table["label"],
        attacked_accuracy=table["attacked_class"] == table["label"],
    )
    columns = {
        "accuracy": "accuracy",
        "accuracy under attack": "attacked_accuracy",
        "softmax robustness": "softmax_robustness",
        "LRP robustness": "lrp_robustness",
        "of unrelated maps": "unrelated_lrp_robustness",
        "of a map with itself": "ceiling_lrp_robustness",
        "share of zero gradients": "gradient_is_zero",
    }
    means = scored.groupby("model", sort=False)[list(columns.values())].mean()
    return means.rename(columns={column: name for name, column in columns.items()})


def surviving(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images that every model classifies rightly, before and after its attack."""
    right = right_throughout(table)
    return table[right.groupby(table["image"]).transform("all")]


def stayed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images whose prediction the attack did not change, in any model and run of the table.

    An explanation that changes where the prediction does not is the paper's own headline. The images are those of each setting:
    another attack changes other predictions.
    """
    kept = table["clean_class"] == table["attacked_class"]
    return table[kept.groupby([*(table[name] for name in SETTING), table["image"]]).transform("all")]


def right_throughout(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether the image was classified rightly before the attack and after it."""
    return (table["clean_class"] == table["label"]) & (table["attacked_class"] == table["label"])


def last_layer(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the layer that explains the class."""
    return table[table["layer"].astype(str) == str(table["layer"].astype(str).unique()[-1])]


def attacks_only(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of attacks, without those of noise."""
    return table[table["attack"] != NOISE]


def only(table: pd.DataFrame, **chosen: str) -> pd.DataFrame:
    """Return the rows that have the chosen values, such as ``attack="FGSM"``; ``layer="last"`` explains the class."""
    for name, value in chosen.items():
        if (name, value) == ("layer", "last"):
            table = last_layer(table)
        else:
            table = table[table[name] == checks.one_of(name, value, table[name].unique())]
    return table
