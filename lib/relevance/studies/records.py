"""Recorded runs: tables measured once at a size or in an environment that a build does not have, and committed.

A run is a name with parameters of chapters (``book/runs.yml``). A chapter that is executed with ``record`` set to that
name leaves its table and the story of it in ``_build/recorded``; ``make record`` puts both into ``data/recorded``.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import platform
import re
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
from relevance.base.sources import Library, code_behind
from relevance.datasets.dataset import Dataset
from relevance.inference.certificate import NOT_CONVERGED
from relevance.networks.posterior import Posterior
from relevance.studies import schema
from relevance.studies.names import BAYESIAN
from relevance.studies.store import seconds_spent

FRESH = Path("_build/recorded")
# Scores are shares of some hundred pixels: three decimals tell them apart. Softmax robustness crowds near 0 and 1, where its
# ranks are all that is asked of it: it keeps as many digits as a single-precision probability has.
DECIMALS, DIGITS = 3, 7
# A run's.
NAME = "[A-Za-z0-9-]{1,60}"
# What finds results, keeps them, shares the work out and checks what came of it hands on what it is given, and changes no table.
KEEPING = frozenset(f"relevance.studies.{name}" for name in ("files", "parallel", "schema", "store"))
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


def check_name(record: str) -> str:
    """Return the name of a run if it is one: letters, digits and hyphens, and so never a path."""
    if not isinstance(record, str) or not re.fullmatch(NAME, record):
        raise ValueError(
            f"record is {str(record)[:60]!r}; it must be a name of at most 60 letters, digits and hyphens."
        )
    return record


def read(record: str) -> pd.DataFrame:
    """Return the table ``record`` of a program in ``benchmarks``, from ``data/recorded`` of the project.

    Raises:
        ValueError: there is no such table, or it is damaged.
    """
    checks.one_of("record", record, [name for name in schema.BENCHMARKS if (folder() / f"{name}.csv").exists()])
    path = folder() / f"{record}.csv"
    table = _parsed(path, path.read_bytes(), f"`git checkout {_named(path)}` brings it back")
    if fault := schema.table_fault(schema.BENCHMARKS[record], table):
        raise ValueError(f"{_named(path)} {fault}; `git checkout {_named(path)}` brings it back.")
    return table


def runs(experiment: str | None = None) -> list[str]:
    """Return the names of all recorded runs, or of those that have the table of ``experiment``."""
    return sorted({path.parent.name for path in _files() if experiment in (None, _experiment(path))})


def experiments(run: str) -> list[str]:
    """Return the names of the tables of a recorded run."""
    return sorted({_experiment(path) for path in _files() if path.parent.name == run})


def _files(within: Path | None = None) -> list[Path]:
    """Return all tables and all stories: one without the other is a damage, and not an absence."""
    return [path for form in ("*/*.json", "*/*.csv.xz") for path in (within or folder()).glob(form)]


def _experiment(path: Path) -> str:
    return path.name.partition(".")[0]


def read_run(run: str, experiment: str, within: Path | None = None) -> pd.DataFrame:
    """Return the table of a recorded run as it was given to :func:`keep`, and rounded as that does.

    Args:
        run: a name in ``book/runs.yml``.
        experiment: such as ``"layers"``.
        within: where the runs are, if not in :func:`folder`.

    Raises:
        ValueError: it is not recorded, or it is not what was recorded: the file is named, and how to get it back.
    """
    told = provenance(run, experiment, within)
    path = (within or folder()) / run / f"{experiment}.csv.xz"
    if not path.exists():
        raise ValueError(f"{_named(path)} is missing; {_mended(path)}.")
    return _table(path, path.stat().st_mtime_ns, told["sha256"], told["rows"]).copy()


@lru_cache(maxsize=4)
def _table(path: Path, changed: int, sha256: str, n_rows: int) -> pd.DataFrame:
    """Read a table once for as long as its file does not change."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{_named(path)} is not the file that its story tells of; {_mended(path)}.")
    table = _parsed(path, content, _mended(path))
    form = schema.FORMS[_experiment(path)]._replace(rows=n_rows)
    if fault := schema.table_fault(form, table):
        raise ValueError(f"{_named(path)} {fault}; {_mended(path)}.")
    if "gradient_is_zero" in table:
        table["gradient_is_zero"] = table["gradient_is_zero"].astype(bool)
        table[EXCESS] = table["lrp_robustness"] - table["unrelated_lrp_robustness"]
    return table


def _parsed(path: Path, content: bytes, mended: str) -> pd.DataFrame:
    try:
        plain = lzma.decompress(content) if path.suffix == ".xz" else content
        return pd.read_csv(io.BytesIO(plain), dtype={"layer": str})
    except (ValueError, lzma.LZMAError):  # pandas' errors are ValueErrors
        raise ValueError(f"{_named(path)} cannot be read as a table; {mended}.") from None


def provenance(run: str, experiment: str, within: Path | None = None) -> dict[str, Any]:
    """Return the story of a recorded table: data, settings, posteriors, versions, hardware, seconds, commit, date.

    Args:
        run, experiment, within: as for :func:`read_run`.

    Raises:
        ValueError: it is not recorded, or its story is not one.
    """
    files = _files(within)
    checks.one_of("run", run, {path.parent.name for path in files})
    known = {_experiment(path) for path in files if path.parent.name == run}
    checks.one_of("experiment", experiment, known & schema.FORMS.keys())
    path = (within or folder()) / run / f"{experiment}.json"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise ValueError(f"{_named(path)} cannot be read as a story; {_mended(path)}.") from None
    if fault := schema.story_fault(schema.FORMS[experiment], told):
        raise ValueError(f"{_named(path)} {fault}; {_mended(path)}.")
    return dict(told)


def is_of_older_code(run: str, experiment: str) -> bool:
    """Return whether a table was recorded by other code than there is now, or by code that its story does not know."""
    return provenance(run, experiment).get("code") != code_now(experiment)


def code_now(experiment: str, library: Library | None = None) -> str:
    """Return a digest of the code that would make a table now, with all of the library that it uses.

    Pages are no part of it, nor is how results are kept, shared out and checked (:data:`KEEPING`).

    Args:
        experiment: name of the table.
        library: whose source counts; that of the running library if not given.
    """
    behind = code_behind if library is None else library.behind
    return digests.digest(*(behind(schema.STUDIES + name, without=KEEPING) for name in schema.FORMS[experiment].code))


def _named(path: Path) -> str:
    """Return how a sentence names a file: from the project's folder where it is in there."""
    root = project_root()
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _mended(path: Path) -> str:
    run = path.parent.name
    return f"`git checkout {_named(path.parent)}` brings it back, and `make record RUNS={run}` records it anew"


def keep(record: str, experiment: str, table: pd.DataFrame, about: Subject | Mapping[str, Any], **also: Any) -> None:
    """Leave a table and its story for ``make record``; nothing if ``record`` is empty, as in an ordinary build.

    Args:
        record: name of the run: letters, digits and hyphens.
        experiment: name of the table, one of :data:`relevance.studies.schema.FORMS`.
        table: from :meth:`relevance.studies.carbone.study.Study.table`, or any other.
        about: the study that it is of, or settings.
        also: more for the story, such as ``attack``: what was done, where it is not attacks of the study's size.

    Raises:
        ValueError: the name is not one, or the table is not of the form of its experiment.
    """
    if not isinstance(experiment, str) or experiment not in schema.FORMS:
        known = checks.among(str(experiment), schema.FORMS)
        raise ValueError(f"experiment is {checks.shown(experiment)}; it may be one of: {known}.")
    if record == "":
        return
    target = project_root() / FRESH / check_name(record)
    rows = table.drop(columns=EXCESS, errors="ignore").round(DECIMALS)
    if SOFTMAX in rows:
        rows[SOFTMAX] = table[SOFTMAX].map(lambda value: float(f"{value:.{DIGITS}g}"))
    rows = rows.astype(dict.fromkeys(rows.select_dtypes("bool"), int))
    if fault := schema.table_fault(schema.FORMS[experiment], rows):
        raise ValueError(f"table {fault}, so it cannot be kept as {experiment!r}.")
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"{experiment}.csv.xz"
    rows.to_csv(path, index=False)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    told = story(about, **also) | {"code": code_now(experiment), "rows": len(rows), "sha256": sha256}
    (target / f"{experiment}.json").write_text(json.dumps(told, indent=1) + "\n")


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
        "commit": commit(),
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


def is_unmixed(run: str, experiment: str) -> bool:
    """Return whether a recorded posterior is one of chains that have not converged: of another algorithm it is not."""
    about = provenance(run, experiment)["posteriors"][BAYESIAN].get("diagnostics") or {}
    return bool(about) and about.get("certificate", NOT_CONVERGED) == NOT_CONVERGED


def commit() -> str:
    """Return which commit the project is at, with ``-dirty`` where files differ from it; ``unknown`` without git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=project_root(), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
