"""What a chapter reads while it is executed: noted by its kernel, and compared with what is there before it is executed again.

As compilers note which files they included: a chapter that did not open a recorded table is not executed anew when the table
changes, and one that looked for a table is when it comes. Code is no part of it, since that is known beforehand
(:mod:`relevance.base.sources`). Nothing of the library is imported here, since kernels use this module too.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib.util import source_from_cache
from pathlib import Path

# Listed, or opened; a name that is asked for without either, as Path.exists does, is not noticed.
LISTED = ("os.listdir", "os.scandir")


def note(log: str, folders: Iterable[str]) -> None:
    """Write down, from now on, each file and folder below some folders that this process reads; a line of JSON for each."""
    # Held open for as long as the process lives, and written line by line: it may be killed.
    file = open(log, "w", buffering=1, encoding="utf-8")  # noqa: SIM115
    below = tuple(os.path.join(folder, "") for folder in folders)
    seen: set[str] = set()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in LISTED and event != "open":
            return
        if event in LISTED and sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
            return  # looking for a module; what is imported is opened
        place, *how = arguments
        only_written = event == "open" and isinstance(how[-1], int) and how[-1] & os.O_ACCMODE == os.O_WRONLY
        if only_written or not isinstance(place, (str, bytes, os.PathLike, type(None))):
            return
        path = os.path.abspath(os.fsdecode(place or "."))
        if path not in seen and os.path.join(path, "").startswith(below):
            seen.add(path)
            file.write(json.dumps(path) + "\n")

    sys.addaudithook(hook)


class Reads:
    """What was read, by names that are the same wherever the project lies.

    Args:
        folders: those whose files count, by their names here; where one is in another, the inner one comes first.
        without: files and folders that do not count.
    """

    def __init__(self, folders: Mapping[str, Path], without: Iterable[Path]) -> None:
        self.folders = dict(folders)
        self.without = list(without)

    def states(self, log: Path) -> dict[str, str]:
        """Return what was noted -> its state now.

        Raises:
            OSError: nothing was noted, not even that nothing was read.
        """
        found = {}
        for line in log.read_text(encoding="utf-8").splitlines():
            path = Path(json.loads(line))
            if path.parent.name == "__pycache__":
                path = Path(source_from_cache(path))
            inside = [name for name, folder in self.folders.items() if path.is_relative_to(folder)]
            if inside and not self._is_left_out(path):
                name = f"{inside[0]}:{path.relative_to(self.folders[inside[0]]).as_posix()}"
                found[name] = self.state(name)
        return dict(sorted(found.items()))

    def state(self, name: str) -> str:
        """Return a digest of a file's content, or of the names in a folder."""
        inside, _, place = name.partition(":")
        path = self.folders[inside] / place
        try:
            content = json.dumps(sorted(os.listdir(path))).encode() if path.is_dir() else path.read_bytes()
        except OSError:
            return "missing"
        return f"{'folder' if path.is_dir() else 'file'} {hashlib.sha256(content).hexdigest()}"

    def are_unchanged(self, states: Mapping[str, str]) -> bool:
        """Return whether everything is as it was."""
        return all(
            name.partition(":")[0] in self.folders and self.state(name) == state for name, state in states.items()
        )

    def _is_left_out(self, path: Path) -> bool:
        return any(path.is_relative_to(place) for place in self.without)
