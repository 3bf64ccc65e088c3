"""The measured tables in the form in which they are recorded, and back."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import torch
from torch import Tensor

from relevance.metrics.deletion import SHARES

JUDGE, CLASSIFIER, LAYERS = "judge", "classifier", "random layers"


def tables(
    times: Mapping[str, pd.DataFrame], curves: Mapping[str, Mapping[str, Tensor]], layers: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Return what is not a table of rows yet as one: name -> rows.

    Args:
        times: of :func:`measures.speed`, by the name of the classifier.
        curves: of :func:`measures.deletion_curves`.
        layers: of :func:`measures.sanity`.

    Returns:
        ``speed``, ``deletion`` and ``sanity``, which :func:`times_of`, :func:`curves_of` and :func:`layers_of` read.
    """
    deletion = [
        pd.DataFrame(values.cpu().numpy(), columns=[f"{share:g}" for share in SHARES]).assign(
            **{JUDGE: judge, "map": name}
        )
        for judge, panel in curves.items()
        for name, values in panel.items()
    ]
    speed = [rows.reset_index().assign(**{CLASSIFIER: name}) for name, rows in times.items()]
    return {"speed": pd.concat(speed), "deletion": pd.concat(deletion), "sanity": layers.reset_index()}


def times_of(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the table ``speed`` as :func:`relevance.studies.zeng.words.generator_faster` takes it."""
    return {
        str(name): part.drop(columns=CLASSIFIER).set_index("map") for name, part in rows.groupby(CLASSIFIER, sort=False)
    }


def curves_of(rows: pd.DataFrame) -> dict[str, dict[str, Tensor]]:
    """Return the table ``deletion`` as :func:`measures.deletion_curves` gave it."""
    found: dict[str, dict[str, Tensor]] = {}
    for (judge, name), part in rows.groupby([JUDGE, "map"], sort=False):
        found.setdefault(str(judge), {})[str(name)] = torch.tensor(
            part.drop(columns=[JUDGE, "map"]).to_numpy(float, copy=True)
        )
    return found


def layers_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table ``sanity`` as :func:`measures.sanity` gave it."""
    return rows.set_index(LAYERS)


def means(rows: pd.DataFrame, by: str = "map") -> pd.DataFrame:
    """Return the means over the images."""
    return rows.drop(columns="image").groupby(by, sort=False).mean(numeric_only=True)
