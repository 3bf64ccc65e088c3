"""Recorded runs: tables measured once at a size or in an environment that a build does not have, and committed.

A run is a name with parameters of chapters (``book/runs.yml``). A chapter that is executed with ``record`` set to that
name leaves its table and the story of it in ``_build/recorded``; ``make record`` puts both into ``data/recorded``.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pandas as pd
import torch

import relevance
from relevance.base import checks, digests
from relevance.base.environment import default_device, device_name, project_root
from relevance.datasets.dataset import Dataset
from relevance.networks.posterior import Posterior
from relevance.studies.store import seconds_spent

FRESH = Path("_build/recorded")
# Scores are shares of some hundred pixels: three decimals tell them apart. Softmax robustness crowds near 0 and 1, where its
# ranks are all that is asked of it: it keeps as many digits as a single-precision probability has.
DECIMALS, DIGITS = 3, 7
SOFTMAX = "softmax_robustness"
PARTS = ("train_images", "train_labels", "test_images", "test_labels")
EXCESS = "excess_lrp_robustness"


class Subject(Protocol):
    """What a story can be told of: a dataclass of settings, its data, and its trained models by name."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def data(self) -> Dataset:
        """The data set."""

    @property
    def trained(self) -> Mapping[str, Posterior]:
        """The trained models."""


def folder() -> Path:
    """Return where recorded tables are, ``data/recorded`` of the project."""
    return project_root() / "data" / "recorded"


def read(name: str) -> pd.DataFrame:
    """Return the recorded table ``name``, from ``data/recorded`` of the project.

    Raises:
        ValueError: there is no such table.
    """
    checks.one_of("name", name, [file.stem for file in folder().glob("*.csv")])
    return pd.read_csv(folder() / f"{name}.csv")


def runs(experiment: str | None = None) -> list[str]:
    """Return the names of all recorded runs, or of those that have the table of ``experiment``."""
    return sorted(path.parent.name for path in folder().glob(f"*/{experiment or '*'}.json")) if experiment else sorted(
        {path.parent.name for path in folder().glob("*/*.json")}
    )  # fmt: skip


def read_run(run: str, experiment: str) -> pd.DataFrame:
    """Return the table of a recorded run as it was given to :func:`keep`, and rounded as that does.

    Args:
        run: a name in ``book/runs.yml``.
        experiment: such as ``"layers"``.

    Raises:
        ValueError: it is not recorded.
    """
    checks.one_of("run", run, runs(experiment))
    path = folder() / run / f"{experiment}.csv.xz"
    return _table(path, path.stat().st_mtime_ns).copy()


@lru_cache(maxsize=4)
def _table(path: Path, changed: int) -> pd.DataFrame:
    """Read a table once for as long as its file does not change."""
    table = pd.read_csv(path, dtype={"layer": str})
    if "gradient_is_zero" in table:
        table["gradient_is_zero"] = table["gradient_is_zero"].astype(bool)
        table[EXCESS] = table["lrp_robustness"] - table["unrelated_lrp_robustness"]
    return table


def provenance(run: str, experiment: str) -> dict[str, Any]:
    """Return the story of a recorded table: data, settings, posteriors, versions, hardware, seconds, commit, date."""
    checks.one_of("run", run, runs(experiment))
    story: dict[str, Any] = json.loads((folder() / run / f"{experiment}.json").read_text())
    return story


def keep(run: str, experiment: str, table: pd.DataFrame, about: Subject | Mapping[str, Any], **also: Any) -> None:
    """Leave a table and its story for ``make record``; nothing if ``run`` is empty, as in an ordinary build.

    Args:
        run: name of the run.
        experiment: name of the table.
        table: from :meth:`relevance.studies.carbone.study.Study.table`, or any other.
        about: the study that it is of, or settings.
        also: more for the story, such as ``attack``: what was done, where it is not attacks of the study's size.
    """
    if not run:
        return
    target = project_root() / FRESH / run
    target.mkdir(parents=True, exist_ok=True)
    rows = table.drop(columns=EXCESS, errors="ignore").round(DECIMALS)
    if SOFTMAX in rows:
        rows[SOFTMAX] = table[SOFTMAX].map(lambda value: float(f"{value:.{DIGITS}g}"))
    rows = rows.astype(dict.fromkeys(rows.select_dtypes("bool"), int))
    rows.to_csv(target / f"{experiment}.csv.xz", index=False)
    (target / f"{experiment}.json").write_text(json.dumps(story(about, **also), indent=1) + "\n")


def story(about: Subject | Mapping[str, Any], **also: Any) -> dict[str, Any]:
    """Return what a table stands on: what :func:`provenance` gives when it is recorded."""
    told: dict[str, Any] = {"settings": dict(about)} if isinstance(about, Mapping) else _of_study(about)
    return {
        **told,
        **also,
        # Of training, attacking and explaining, whenever that was done.
        "seconds": round(seconds_spent(), 1),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": device_name(default_device()),
        "versions": {
            "relevance": relevance.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "commit": _commit(),
    }


def _of_study(study: Subject) -> dict[str, Any]:
    parts = (getattr(study.data, part) for part in PARTS)
    kept = ("method", "settings", "dataset", "n_train", "seconds", "date", "hardware", "versions", "diagnostics")
    return {
        "settings": {field.name: getattr(study, field.name) for field in fields(study)},
        "data": {"source": study.data.source, "digest": digests.of_tensors(*parts)},
        "posteriors": {
            name: {part: one.record[part] for part in kept if part in one.record} for name, one in study.trained.items()
        },
    }


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=project_root(), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
