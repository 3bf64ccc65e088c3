"""How long the playground takes from a change of a choice to its picture, and how large the printed pages are."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from relevance.pages.interactive.playground import Playground
from relevance.studies import names
from relevance.studies.carbone.study import Study

SAMPLER = {"warmup": 50, "n_steps": 60, "prior_scale": 0.2}
PAGES = Path(__file__).parents[1] / "_build" / "html"
# Each is made from the choice before, so that what does not depend on it is remembered.
CHANGES = [
    {"epsilon": 0.11}, {"rule": "gamma"}, {"layer": "3"}, {"image": 1}, {"top_percent": 10}, {"n_samples": 100},
    {"attack": "PGD on the margin"}, {"epsilon": 0.12}, {"attack": "top-k"}, {"epsilon": 0.13}, {"attack": "target region"},
    {"model": names.ADVERSARIAL}, {"epsilon": 0.14},
]  # fmt: skip


def response_times() -> pd.Series:
    """Return the seconds from each change to its picture."""
    study = Study("digits", inference=SAMPLER)
    _ = study.trained
    playground = Playground({"digits": study})
    playground.settle()
    seconds = {}
    for change in CHANGES:
        playground.set(**change)
        playground.settle()
        ((name, value),) = change.items()
        seconds[f"{name}: {value}"] = playground.seconds
    playground.close()
    return pd.Series(seconds, name="seconds")


def page_sizes() -> pd.Series:
    """Return the size of every printed page, in megabytes, the largest first."""
    sizes = {path.relative_to(PAGES).as_posix(): path.stat().st_size / 1e6 for path in PAGES.rglob("book/**/*.html")}
    return pd.Series(sizes, name="MB", dtype=float).sort_values(ascending=False)


def main() -> int:
    """Print both tables."""
    print(response_times().round(2).to_string())
    print(page_sizes().round(2).to_string() if PAGES.exists() else "The book is not printed; run `make book`.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
