"""`make record`: execute chapters at the sizes of recorded runs, and put their tables into `data/recorded`.

Every chapter leaves its table in ``_build/recorded`` (:mod:`relevance.studies.records`); it is put in its place when the
chapter is done. Posteriors, attacks and maps are in the store, so a run that is stopped, in whatever way, goes on where it
was.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from relevance.base.environment import asked, settle_data_root
from relevance.pages.press.chapters import BookError
from relevance.pages.press.press import print_book, say
from relevance.studies import records

RUNS = Path("book/runs.yml")


def read_runs(root: Path) -> dict[str, dict[str, Any]]:
    """Return the runs of ``book/runs.yml``: name -> ``parameters`` of all its chapters, and ``chapters`` with their own.

    Raises:
        BookError: the file is not of this form.
    """
    try:
        content = yaml.safe_load((root / RUNS).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BookError(f"{RUNS} cannot be read: {error}") from None
    for name, run in content.items() if isinstance(content, dict) else [("", None)]:
        if not isinstance(run, dict) or run.keys() != {"parameters", "chapters"}:
            raise BookError(f"run {name!r} of {RUNS} must have the parts parameters and chapters.")
    return dict(content)


def record(root: Path, name: str, run: Mapping[str, Any], into: Path) -> None:
    """Execute the chapters of one run, and put what they leave into ``into``.

    Raises:
        BookError: a chapter failed; what others gave is in its place.
    """
    for chapter, own in run["chapters"].items():
        say(f"{name}: {chapter}")
        parameters = {**run["parameters"], **(own or {}), "record": name}
        left = root / records.FRESH / name
        shutil.rmtree(left, ignore_errors=True)
        executed = print_book(root, profile="paper", chapter=chapter, parameters=parameters, jobs=1)
        if not left.exists():
            # Executed before, by an unchanged library: the notebook is there, but not what it left.
            executed.unlink()
            print_book(root, profile="paper", chapter=chapter, parameters=parameters, jobs=1)
        target = into / name
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(left.iterdir()):
            # The table first: a story without one would be read.
            file.replace(target / file.name)
            say(f"{name}: recorded {file.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="relevance.pages.press.recording", description=__doc__)
    parser.add_argument(
        "runs", nargs="*", default=(asked("RUNS") or "").split(), help="names in book/runs.yml; all if none is given"
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project folder")
    parser.add_argument("--into", type=Path, help="data/recorded of the project if not given")
    given = parser.parse_args(arguments)
    settle_data_root()  # chapters run in another folder
    try:
        runs = read_runs(given.root)
        for name in given.runs or runs:
            if name not in runs:
                raise BookError(f"run is {name!r}; it may be one of: {', '.join(runs)}.")
            record(given.root.resolve(), name, runs[name], given.into or records.folder())
    except (BookError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
