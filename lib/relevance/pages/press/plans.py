"""What a recording has to make: the pieces that its chapters used when they were last recorded here, and what each then cost.

A piece is a result that the store keeps. Which ones a chapter uses is only known when it runs, since an attack needs its network
first; so each recording leaves a list of them, and the next one's plan is read from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple

from relevance.base.digests import digest, of_parameters
from relevance.base.environment import bar, store_root
from relevance.pages.press.chapters import read_chapters
from relevance.pages.press.parameters import resolve
from relevance.pages.press.press import LIBRARY, present_library
from relevance.studies import records

PLANS = Path("_build/plans")


class Plan(NamedTuple):
    """What is known of the pieces of one chapter of a run.

    Attributes:
        run, chapter: their names.
        pieces: names of kept results -> seconds that they took when they were made, on whatever machine.
        there: those of them that are in the store.
        is_same: whether chapter, parameters and library are those that used these pieces; else they may be others now.
    """

    run: str
    chapter: str
    pieces: Mapping[str, float]
    there: frozenset[str]
    is_same: bool

    @property
    def missing(self) -> float:
        """Seconds of the pieces that are not in the store, one after the other."""
        return sum(seconds for name, seconds in self.pieces.items() if name not in self.there)

    def told(self) -> str:
        """Return what there is to do, for a reader."""
        head = f"{self.run}: {self.chapter}:"
        if not self.pieces:
            return f"{head} not recorded here yet, so its pieces are not known{_recorded(self.run)}"
        by_kind: dict[str, list[float]] = {}
        for name, seconds in self.pieces.items():
            by_kind.setdefault(name.rpartition("-")[0], []).append(seconds)
        dearest = sorted(by_kind.items(), key=lambda kind: -sum(kind[1]))
        lines = [f"  {len(each):4} {kind}, {_time(sum(each))} when last made" for kind, each in dearest]
        doubt = "" if self.is_same else "; chapter, parameters or library have changed since, so it may be more"
        total = f"{len(self.pieces)} pieces, {len(self.there)} of them kept"
        return "\n".join([f"{head} {total}; {_time(self.missing)} of work left{doubt}", *lines])


def read(root: Path, runs: Mapping[str, Mapping[str, Any]]) -> list[Plan]:
    """Return the plans of all chapters of runs, in their order.

    Args:
        root: the project folder.
        runs: as :func:`relevance.pages.press.recording.read_runs` gives them.
    """
    kept = {path.name for path in store_root().glob("*")}
    states = state_of(root)
    plans = []
    for run, content in runs.items():
        for chapter, own in content["chapters"].items():
            path = list_of(root, run, chapter)
            head, pieces = _pieces(path)
            is_same = head == states(chapter, {**content["parameters"], **(own or {}), "record": run})
            plans.append(Plan(run, chapter, pieces, frozenset(kept & pieces.keys()), is_same))
    return plans


def state_of(root: Path) -> Callable[[str, Mapping[str, Any]], str]:
    """Return what gives a digest, now, of a chapter, its parameters, and the library that it uses."""
    chapters = {one.name: one for one in read_chapters(root)}
    chosen = resolve(root, list(chapters.values()), "paper", {})

    def state(name: str, parameters: Mapping[str, Any]) -> str:
        if name not in chapters:
            return ""  # which whoever executes it will say
        chapter = chapters[name]
        code = present_library(LIBRARY).behind_text(chapter.code)
        return digest(chapter.source, of_parameters({**chosen[name], **parameters}), code)

    return state


def list_of(root: Path, run: str, chapter: str) -> Path:
    """Return the file that lists the pieces of a chapter of a run."""
    return root.resolve() / PLANS / run / f"{chapter.replace('/', '.')}.txt"


def total(plans: Iterable[Plan]) -> str:
    """Return what is left to do of all plans, in one line."""
    plans = list(plans)
    unknown = sum(not plan.pieces for plan in plans)
    # Pieces that several chapters share are made once.
    left = {name: spent for one in plans for name, spent in one.pieces.items() if name not in one.there}
    also = f", and {unknown} chapter(s) of which nothing is known here" if unknown else ""
    return f"left in all: {len(left)} pieces, {_time(sum(left.values()))} of work, one after the other{also}."


@contextmanager
def watched(root: Path, plans: Iterable[Plan]) -> Iterator[None]:
    """Show a line for the whole: how many pieces were used or made of those that the plans know."""
    plans = list(plans)
    paths = [list_of(root, plan.run, plan.chapter).with_suffix(".new") for plan in plans]
    for path in paths:
        path.unlink(missing_ok=True)
    ended = Event()

    def watch() -> None:
        with bar(sum(len(plan.pieces) for plan in plans), "recording", "piece") as shown:
            while not ended.wait(1.0):
                done = [path if path.exists() else path.with_suffix(".txt") for path in paths[: _begun(paths)]]
                if more := sum(len(_pieces(path)[1]) for path in done) - shown.n:
                    shown.update(more)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _begun(paths: list[Path]) -> int:
    """Return how many chapters were begun: up to the one that leaves its list now."""
    now = [place for place, path in enumerate(paths) if path.exists()]
    return now[-1] + 1 if now else 0


def _pieces(path: Path) -> tuple[str, dict[str, float]]:
    """Return what a list was made by, and its pieces with their seconds; lines that are none are left out."""
    try:
        head, *lines = path.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return "", {}
    pieces = {}
    for line in lines:
        name, _, seconds = line.partition(" ")
        if seconds.replace(".", "", 1).isdigit():
            pieces[name] = float(seconds)
    return head, pieces


def _recorded(run: str) -> str:
    if run not in records.runs():
        return "."
    stories = [records.provenance(run, experiment) for experiment in records.experiments(run)]
    longest = max(stories, key=lambda story: float(story["seconds"]))
    return f"; recorded before in {_time(longest['seconds'])} ({longest['hardware']})."


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 100 else f"{seconds:.1f} s"
