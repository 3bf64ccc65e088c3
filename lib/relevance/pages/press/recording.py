"""`make record`: execute chapters at the sizes of recorded runs, and put their tables into `data/recorded`.

Every chapter leaves its table in ``_build/recorded`` (:mod:`relevance.studies.records`); it is put in its place when the
chapter is done. Posteriors, attacks and maps are in the store, so a run that is stopped, in whatever way, goes on where it
was. Before it starts it says what it is going to make (:mod:`relevance.pages.press.plans`); with ``--dry-run``, that is all.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from relevance.base.environment import asked, noted_in, settle_data_root
from relevance.pages.press import plans
from relevance.pages.press.chapters import BookError, temporary_folder
from relevance.pages.press.press import print_book, say
from relevance.studies import records, repeated

RUNS = Path("book/runs.yml")
# What two chains of it differ by has been measured.
SMALLEST = "digits-small"


def read_runs(root: Path) -> dict[str, dict[str, Any]]:
    """Return the runs of ``book/runs.yml``: name -> ``parameters`` of all its chapters, and ``chapters`` with their own.

    Raises:
        BookError: the file is not of this form.
    """
    try:
        content = yaml.safe_load((root / RUNS).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BookError(f"{RUNS} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    for name, run in content.items() if isinstance(content, dict) and content else [("", None)]:
        if not re.fullmatch(records.NAME, str(name)) and name != "":
            raise BookError(f"run {str(name)[:60]!r} of {RUNS} must have a name of letters, digits and hyphens.")
        if (
            not isinstance(run, dict)
            or run.keys() != {"parameters", "chapters"}
            or not all(isinstance(part, dict) for part in run.values())
        ):
            raise BookError(f"run {name!r} of {RUNS} must have the parts parameters and chapters, names with values.")
    return dict(content)


def record(root: Path, name: str, run: Mapping[str, Any], into: Path) -> None:
    """Execute the chapters of one run, and put what they leave into ``into``.

    Raises:
        BookError: a chapter failed; what others gave is in its place.
    """
    state = plans.state_of(root)
    for chapter, own in run["chapters"].items():
        say(f"{name}: {chapter}")
        parameters = {**run["parameters"], **(own or {}), "record": name}
        left = root / records.FRESH / name
        shutil.rmtree(left, ignore_errors=True)
        pieces = plans.list_of(root, name, chapter)
        pieces.parent.mkdir(parents=True, exist_ok=True)
        noted = pieces.with_suffix(".new")
        noted.write_text(f"{state(chapter, parameters)}\n", "utf-8")
        with noted_in(noted):
            executed = print_book(root, profile="paper", chapter=chapter, parameters=parameters, jobs=1)
            if not left.exists():
                # Executed before, by an unchanged library: the notebook is there, but not what it left.
                executed.unlink()
                print_book(root, profile="paper", chapter=chapter, parameters=parameters, jobs=1)
        noted.replace(pieces)
        target = into / name
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(left.iterdir()):
            # The table first: a story without one would be read.
            shutil.move(file, target / file.name)
            say(f"{name}: recorded {file.name}")


def repeat(root: Path, name: str, run: Mapping[str, Any]) -> list[str]:
    """Record a run again, beside what is recorded, and return a sentence for each thing that differs by more than chance.

    Raises:
        BookError: a chapter failed.
        ValueError: the run is not recorded, or what is recorded is damaged.
    """
    recorded = {experiment: records.read_run(name, experiment) for experiment in records.experiments(name)}
    with temporary_folder() as folder:
        record(root, name, run, folder)
        again = {experiment: records.read_run(name, experiment, folder) for experiment in recorded}
    return [
        f"{name}, {experiment}: {found}"
        for experiment, table in recorded.items()
        for found in repeated.differences(table, again[experiment])
    ]


def check_folder(into: Path) -> Path:
    """Return a folder that can be written into, made where it was not.

    Raises:
        BookError: it cannot be.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=into):
            return into
    except (OSError, ValueError):  # a name with a zero byte in it is a ValueError
        raise BookError(
            f"into is {str(into)[-150:]!r}; it must be a folder that can be made and written into."
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Record what is asked for, or repeat the smallest run; return the exit status."""
    parser = argparse.ArgumentParser(prog="relevance.pages.press.recording", description=__doc__)
    parser.add_argument(
        "runs", nargs="*", default=(asked("RUNS") or "").split(), help="names in book/runs.yml; all if none is given"
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project folder")
    parser.add_argument("--into", type=Path, help="data/recorded of the project if not given")
    parser.add_argument("--dry-run", action="store_true", help="say what there is to make, and make nothing")
    parser.add_argument("--check", action="store_true", help=f"repeat {SMALLEST}, and compare it with what is recorded")
    given = parser.parse_args(arguments)
    settle_data_root()  # chapters run in another folder
    try:
        runs = read_runs(given.root)
        chosen = [SMALLEST] if given.check else given.runs or list(runs)
        # Before anything is recorded: the last of them may be hours away.
        for name in chosen:
            if name not in runs:
                raise BookError(f"run is {name[:60]!r}; it may be one of: {', '.join(runs)}.")
        if given.check:
            if given.runs or given.into:
                raise BookError(
                    f"check repeats {SMALLEST} beside what is recorded; it takes neither runs nor a folder."
                )
            found = repeat(given.root.resolve(), SMALLEST, runs[SMALLEST])
            say("\n".join(found) or f"{SMALLEST} is what was recorded, but for what chains differ by.")
            return int(bool(found))
        into = None if given.dry_run else check_folder(given.into or records.folder())
        planned = plans.read(given.root, {name: runs[name] for name in chosen})
        say("\n".join([*(plan.told() for plan in planned), plans.total(planned)]))
        if into is None:
            return 0
        with plans.watched(given.root, planned):
            for name in chosen:
                record(given.root.resolve(), name, runs[name], into)
    except (BookError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
