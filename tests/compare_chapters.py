"""Do two builds say the same? Compares executed chapters, output by output, but for times, dates and the code itself.

    python tests/compare_chapters.py OLD/_build/executed NEW/_build/executed

What a cell shows is compared in its richest form, byte by byte, with durations, dates and commits taken out.
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

import nbformat

RICHEST = ("text/html", "text/markdown", "image/svg+xml", "image/png", "application/json", "text/plain")
# What no two builds share: how long things took, when, and from which commit.
PASSING = (
    (re.compile(r"\b\d+(\.\d+)?( s\b| seconds| minutes| ms\b)"), "DURATION"),
    (re.compile(r"\b20\d\d-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\bcommit [0-9a-f]{7,}(-dirty)?"), "COMMIT"),
    (re.compile(r"_[0-9a-f]{5}(?=[_\"\s,{])"), "_ID"),  # pandas names styled cells at random
)


def shown(cell: nbformat.NotebookNode) -> list[tuple[str, str]]:
    """Return what a cell shows: kind and content of each output."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        kind = next((kind for kind in RICHEST if kind in data), output.output_type)
        content = str(data.get(kind, output.get("text", output.get("evalue", ""))))
        for pattern, name in PASSING if kind != "image/png" else ():
            content = pattern.sub(name, content)
        found.append((kind, content))
    return found


def cells(path: Path) -> list[nbformat.NotebookNode]:
    """Return the code cells of a chapter's own, without papermill's."""
    read = nbformat.read(path, as_version=4).cells
    return [
        cell for cell in read if cell.cell_type == "code" and "injected-parameters" not in cell.metadata.get("tags", ())
    ]


def differences(old: Path, new: Path) -> list[str]:
    """Return a line for each cell that shows something else than it did, with what is new in it."""
    before, after = cells(old), cells(new)
    if len(before) != len(after):
        return [f"{len(before)} code cells have become {len(after)}"]
    found = []
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        was, now = shown(one), shown(other)
        if was != now:
            changed = [
                f"    {line[:300]}"
                for (kind, left), (_, right) in zip(was, now, strict=False)
                for line in difflib.ndiff(re.split(r"[\n<>]", left), re.split(r"[\n<>]", right))
                if line[0] in "+-" and kind != "image/png"
            ]
            kinds = ", ".join(kind for kind, _ in was) or "nothing"
            found.append(
                "\n".join([f"cell {number} ({kinds}), which ends in {other.source.splitlines()[-1:]}", *changed[:8]])
            )
    return found


def newest(folder: Path) -> dict[str, Path]:
    """Return the last execution of each chapter below a folder of executed chapters."""
    paths = sorted(folder.rglob("*.ipynb"), key=lambda path: path.stat().st_mtime)
    return {path.parent.relative_to(folder).as_posix(): path for path in paths}


def main(old: str, new: str) -> int:
    """Compare two folders of executed chapters; return 1 if anything but what passes differs."""
    before, after = newest(Path(old)), newest(Path(new))
    total = 0
    for name in sorted(before.keys() | after.keys()):
        found = differences(before[name], after[name]) if name in before and name in after else ["only in one of them"]
        outputs = sum(len(cell.outputs) for cell in cells(after[name])) if name in after else 0
        print(f"{name}: {outputs} outputs, " + ("equal" if not found else f"{len(found)} differ"))
        print("".join(f"  {line}\n" for line in found), end="")
        total += len(found)
    print(f"{len(after)} chapters, {total} cells differ")
    return int(total > 0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
