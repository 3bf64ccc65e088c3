"""Recorded runs: small tables, measured once at a size or in an environment that a build does not have, and committed."""

from __future__ import annotations

import pandas as pd

from relevance import checks
from relevance.datasets import project_root


def read(name: str) -> pd.DataFrame:
    """Return the recorded table ``name``, from ``data/recorded`` of the project.

    Raises:
        ValueError: there is no such table.
    """
    folder = project_root() / "data" / "recorded"
    checks.one_of("name", name, [file.stem for file in folder.glob("*.csv")])
    return pd.read_csv(folder / f"{name}.csv")
