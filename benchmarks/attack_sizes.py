"""Attack the deterministic networks of the recorded runs by FGSM of several sizes: by this, the sizes that are judged are chosen.

The networks are those of the store (``RELEVANCE_STORE``) where they are there. Goes to `data/recorded/attack-sizes.csv`.
"""

from __future__ import annotations

from dataclasses import fields

import pandas as pd
from stamps import stamped

from relevance.base.environment import project_root
from relevance.pages.press.recording import read_runs
from relevance.studies.carbone import reproduction, sizes
from relevance.studies.carbone.study import Study

# What chapters call some fields of a study.
CALLED = {"hardening": "adversarial", "sampler": "inference"}


def main() -> None:
    """Measure every run of the first source, and write the table."""
    runs, known, parts = read_runs(project_root()), {field.name for field in fields(Study)}, []
    for run in reproduction.RUNS.values():
        given = {CALLED.get(name, name): value for name, value in runs[run]["parameters"].items()}
        found = sizes.left(Study(**{name: value for name, value in given.items() if name in known}))
        parts.append(found.assign(what=run))
        print(run, found.groupby("epsilon")[["accuracy", sizes.AFTER]].mean(), sizes.halving(found), sep="\n")
    path = project_root() / "data" / "recorded" / "attack-sizes.csv"
    stamped(pd.concat(parts)).to_csv(path, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
