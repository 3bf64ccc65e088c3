"""The measured tables in the forms that figures and sentences take."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor


def curves_of(rows: pd.DataFrame) -> dict[str, dict[str, Tensor]]:
    """Return the rows of :func:`measures.deletion_curves` as curves: judge -> map -> [N, shares]."""
    found: dict[str, dict[str, Tensor]] = {}
    for (judge, name), part in rows.groupby(["judge", "map"], sort=False):
        values = part.drop(columns=["judge", "map"]).to_numpy(float, copy=True)
        found.setdefault(str(judge), {})[str(name)] = torch.tensor(values)
    return found


def means(rows: pd.DataFrame, by: str = "map") -> pd.DataFrame:
    """Return the means over the images."""
    return rows.drop(columns="image").groupby(by, sort=False).mean(numeric_only=True)
