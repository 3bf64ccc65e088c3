"""The page that says what ran where: chapters with their times, versions, and recorded runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import nbformat

from relevance.base.environment import default_device, device_name
from relevance.studies import records

# A line of the page's source, in place of which the tables stand.
PLACE = "% The press puts the tables here."
FOLDED = "```{rst-class} folded\n```\n"
PACKAGES = ("torch", "numpy", "pyro-ppl", "captum", "jupyter-book", "jupytext", "papermill", "matplotlib", "ipywidgets")


class Executed(NamedTuple):
    """A chapter, the parameters that it was given, and its executed notebook."""

    name: str
    parameters: Mapping[str, Any]
    path: Path


def filled(source: str, executed: Sequence[Executed]) -> str:
    """Return the page's source with its tables.

    Args:
        source: text with :data:`PLACE` in it.
        executed: the chapters.
    """
    import platform

    installed = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    parts = [
        FOLDED,
        "## Chapters\n",
        _table(("chapter", "data", "executed", "seconds"), [_chapter(one) for one in executed]),
        f"\nOn {device_name(default_device())}, with Python {platform.python_version()}, {installed}. Seconds are those of the "
        "chapter's own cells; work kept from earlier, by this chapter or another, is not counted.\n",
        FOLDED,
        "## Recorded runs\n",
        _table(("run", "tables", "date", "seconds", "hardware", "commit"), _runs()),
    ]
    return source.replace(PLACE, "\n".join(parts))


def _chapter(executed: Executed) -> Sequence[str]:
    notebook = nbformat.read(executed.path, as_version=4)
    ran = [cell.metadata.get("papermill", {}) for cell in notebook.cells if cell.cell_type == "code"]
    seconds = sum(cell.get("duration") or 0.0 for cell in ran)
    ends = [cell["end_time"] for cell in ran if cell.get("end_time")]
    day = datetime.fromisoformat(max(ends)).date().isoformat() if ends else "unknown"
    data = _plain(str(executed.parameters.get("dataset", "")))
    return f"{{doc}}`/book/{executed.name}`", data, day, f"{seconds:.0f}"


def _runs() -> list[Sequence[str]]:
    """Return a row for each run, and for each of its tables that was recorded at another time."""
    made: dict[tuple[str, ...], list[str]] = {}
    for run in records.runs():
        for experiment in records.experiments(run):
            told = records.provenance(run, experiment)
            parts = (told["date"], f"{told['seconds']:,.0f}", told["hardware"], told["commit"])
            made.setdefault((run, *parts), []).append(experiment)
    return [(run, ", ".join(tables), *(_plain(part) for part in parts)) for (run, *parts), tables in made.items()]


def _plain(text: str) -> str:
    """Return text for a cell of a table as it is, without meaning anything in Markdown or HTML."""
    # As character references, which Markdown reads as text; a line break would end the row.
    return re.sub(r"[^\w\s/.,:-]|_", lambda sign: f"&#{ord(sign[0])};", " ".join(text.split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns of numbers stand to the right."""
    rule = ["---:" if name == "seconds" else "---" for name in head]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))
