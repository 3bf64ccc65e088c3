"""One chapter: its source, its parameters, and its execution."""

from __future__ import annotations

import ast
import copy
import fcntl
import json
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import yaml
from jupyter_core.paths import jupyter_runtime_dir
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from relevance.base import checks
from relevance.base.digests import digest
from relevance.pages.press import limits
from relevance.pages.press.kernels import ForkedKernelManager, Notes
from relevance.pages.press.reads import Reads

TAG = "parameters"
SEAL = "relevance"
# Temporary folders begin with it, and hold a file that their process holds.
TEMPORARY, HELD = "relevance-", "held"
DAY = 24 * 3600


class BookError(Exception):
    """The book cannot be printed; the message is what the reader is told."""


class ChapterError(BookError):
    """A chapter cannot be read or executed."""


@dataclass(frozen=True)
class Chapter:
    """A MyST notebook of the book.

    Attributes:
        name: its path below ``book`` without the suffix.
        path: the file.
    """

    name: str
    path: Path

    @cached_property
    def source(self) -> str:
        """The text of the file, read once: what is executed is what counts as the source."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ChapterError(f"chapter {self.name} cannot be read: {error}.") from None

    @cached_property
    def notebook(self) -> NotebookNode:
        """The source as a notebook without outputs."""
        try:
            return jupytext.reads(self.source, fmt="md:myst")
        except Exception as error:  # jupytext and its YAML parser raise many kinds
            raise ChapterError(f"chapter {self.name} is not a MyST notebook: {error}") from error

    @property
    def has_code(self) -> bool:
        """Whether there is anything to execute; a page of text alone is rendered as it is."""
        return "```{code-cell}" in self.source

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The parameters and their defaults, from the one cell with the tag ``parameters``.

        Raises:
            ChapterError: there is no such cell, or more than one, or it holds anything but assignments of literals.
        """
        cells = [
            cell for cell in self.notebook.cells if cell.cell_type == "code" and TAG in cell.metadata.get("tags", [])
        ]
        if len(cells) != 1:
            raise ChapterError(
                f"chapter {self.name} has {len(cells)} cells with the tag {TAG!r}; it must have exactly one, "
                "which assigns the defaults."
            )
        defaults: dict[str, Any] = {}
        try:
            statements = ast.parse(cells[0].source).body
        except SyntaxError as error:
            raise ChapterError(f"the parameters cell of chapter {self.name} is not Python: {error}") from None
        for statement in statements:
            try:
                if not isinstance(statement, ast.Assign):
                    raise ValueError
                (target,) = statement.targets
                if not isinstance(target, ast.Name):
                    raise ValueError
                value = ast.literal_eval(statement.value)
                if json.loads(json.dumps(value)) != value:  # what papermill and the digest can carry
                    raise ValueError
                defaults[target.id] = value
            except (ValueError, TypeError):
                raise ChapterError(
                    f"the parameters cell of chapter {self.name} has the line {ast.unparse(statement)!r}; each line "
                    "must give one name a literal value, such as epsilon = 0.2; derived values come after the cell."
                ) from None
        return defaults

    def resolved(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the defaults with ``given`` over them.

        Raises:
            ChapterError: a name is unknown, or a value is not what it may be (:mod:`relevance.pages.press.limits`).
        """
        known = self.parameters
        try:
            for name, value in given.items():
                if name not in known:
                    raise ValueError(
                        f"chapter {self.name} has no parameter {name!r}; it may be one of: {checks.among(name, known)}."
                    )
                limits.check(self.name, name, value, known[name])
            limits.check_together(self.name, {**known, **given})
        except ValueError as error:
            raise ChapterError(str(error)) from None
        return {**known, **given}

    @property
    def code(self) -> str:
        """What is executed, as one text."""
        return "\n".join(cell.source for cell in self.notebook.cells if cell.cell_type == "code")

    def is_executed(self, path: Path, key: str) -> bool:
        """Whether ``path`` holds this chapter's notebook, wholly executed under ``key``, just as it was written."""
        return self.states_read(path, key) is not None

    def states_read(self, path: Path, key: str) -> dict[str, str] | None:
        """Return what the executed notebook in ``path`` read, in the state it was in; None if :meth:`is_executed` is false."""
        try:
            notebook = nbformat.read(path, as_version=4)
            seal = notebook.metadata.pop(SEAL)
            states = dict(seal["reads"])
            return states if seal == _seal(self, notebook, key, states) else None
        except Exception:  # damaged in whatever way: it is recomputed
            return None


def listed(root: Path) -> list[tuple[str, str]]:
    """Return the files of ``_toc.yml`` in its order, each after the caption of its part, which is empty where there is none.

    Raises:
        ChapterError: it cannot be read.
    """
    path = root / "_toc.yml"
    try:
        return _files(yaml.safe_load(path.read_text(encoding="utf-8")), "")
    except (OSError, yaml.YAMLError) as error:
        raise ChapterError(f"{path} cannot be read: {error}. It lists the chapters of the book.") from None


def read_chapters(root: Path) -> list[Chapter]:
    """Return the chapters of ``_toc.yml`` that have code, in its order.

    Raises:
        ChapterError: a chapter's file is missing, or its parameters cell is.
    """
    chapters = []
    for _, file in listed(root):
        chapter = Chapter(file.removeprefix("book/"), root / f"{file}.md")
        if not chapter.path.exists():
            raise ChapterError(f"_toc.yml names {file}, but there is no file {file}.md.")
        if chapter.has_code:
            chapter.parameters  # noqa: B018  # an error here comes before anything is executed
            chapters.append(chapter)
    if not chapters:
        raise ChapterError(f"{root / '_toc.yml'} names no chapter with code; there is nothing to execute.")
    return chapters


def _files(entry: Any, part: str) -> list[tuple[str, str]]:
    if isinstance(entry, list):
        return [file for one in entry for file in _files(one, part)]
    if not isinstance(entry, dict):
        return []
    part = str(entry.get("caption", part))
    own = [(part, str(entry[key])) for key in ("root", "file") if key in entry]
    return own + [file for key in ("parts", "chapters", "sections") for file in _files(entry.get(key), part)]


class LocalKernelManager(ForkedKernelManager):
    """Talks to its kernel through files that only this user can open: no ports, so none that two kernels both take."""

    @default("transport")
    def _transport(self) -> str:
        # A socket's path may have about 100 characters; elsewhere than in a short temporary folder, ports must do.
        return "ipc" if os.name == "posix" and len(jupyter_runtime_dir()) < 50 else "tcp"

    @default("connection_file")
    def _connection_file(self) -> str:
        # The sockets are named after this file; without a name of its own, kernels side by side would share them.
        return os.path.join(jupyter_runtime_dir(), f"kernel-{uuid.uuid4().hex}.json")


@contextmanager
def kernel_sockets() -> Iterator[None]:
    """Keep the kernels' connection files and sockets in a temporary folder of their own, and take them away."""
    before = os.environ.get("JUPYTER_RUNTIME_DIR")
    with temporary_folder() as folder:
        os.environ["JUPYTER_RUNTIME_DIR"] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ["JUPYTER_RUNTIME_DIR"]
            else:
                os.environ["JUPYTER_RUNTIME_DIR"] = before


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Have a temporary folder, and take it away; those that killed processes left are taken away too."""
    for left in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with suppress(OSError):  # another user's, held, or gone meanwhile
            if not (left / HELD).exists() and time.time() - left.stat().st_mtime > DAY:
                shutil.rmtree(left)  # somebody was killed while it was made or taken away
            with (left / HELD).open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY) as folder:
        # It has its name when it is held already, since others may take away what nobody holds.
        making = Path(folder, f"{HELD}.new")
        with making.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            making.rename(Path(folder, HELD))
            yield Path(folder)


def execute(
    chapter: Chapter,
    parameters: Mapping[str, Any],
    *,
    key: str,
    working: Path,
    failed: Path,
    reads: Reads,
    cwd: Path,
    position: int = 0,
) -> None:
    """Execute a chapter; leave it in ``working`` if it finished, as it stopped in ``failed`` if it did not.

    Args:
        chapter: what to execute.
        parameters: all of them, already resolved.
        key: digest of all that the result depends on; written into it.
        working: holds the notebook while it is executed, and sealed (:meth:`Chapter.is_executed`) once it is finished.
        failed: for looking at what went wrong; never rendered.
        reads: which of the files that the chapter opens are noted in it.
        cwd: where the chapter's code runs.
        position: row of the progress bar.

    Raises:
        ChapterError: a cell failed; the message names chapter, cell and error.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)
    log = working.with_suffix(".reads")
    for path in (working, failed, log):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)

    class NotingKernelManager(LocalKernelManager):
        notes = Notes(str(log), [str(folder) for folder in reads.folders.values()])

    try:
        notebook = papermill.execute_notebook(
            copy.deepcopy(chapter.notebook),
            str(working),
            # papermill shows a cell with what it is given; the defaults stand in the chapter already.
            parameters={name: value for name, value in parameters.items() if value != chapter.parameters[name]},
            kernel_name="python3",
            cwd=str(cwd),
            kernel_manager_class=NotingKernelManager,
            extra_arguments=["--IPKernelApp.log_level=50"],  # it calls its own orderly end an error
            progress_bar={"desc": chapter.name, "position": position, "disable": None, "leave": False},
        )
    except Exception as error:  # also a kernel that died, or one that did not start
        if working.exists():
            working.replace(failed)
        raise ChapterError(_failure(chapter, parameters, error, failed)) from error
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in notebook.cells):
        # The page shows what it was made with; the defaults are there, folded.
        (defaults,) = (cell for cell in notebook.cells if TAG in cell.metadata.get("tags", []))
        defaults.metadata["tags"].append("hide-cell")
    del notebook.metadata["papermill"]  # paths and times of this machine; what matters is in the pages
    notebook = nbformat.reads(nbformat.writes(notebook), as_version=4)
    notebook.metadata[SEAL] = _seal(chapter, notebook, key, reads.states(log))
    nbformat.write(notebook, working)
    log.unlink()


def _seal(chapter: Chapter, notebook: NotebookNode, key: str, states: Mapping[str, str]) -> dict[str, Any]:
    """Return what ties a finished notebook to its chapter, to what it depends on and read, and to its own content."""
    content = json.dumps([notebook, states], sort_keys=True)
    return {"chapter": chapter.name, "key": key, "reads": dict(states), "content": digest(content)}


def _failure(chapter: Chapter, parameters: Mapping[str, Any], error: Exception, failed: Path) -> str:
    if not isinstance(error, PapermillExecutionError):
        return f"chapter {chapter.name} failed: {type(error).__name__}: {error}"
    # papermill adds a cell with the parameters that are not the defaults; the reader counts without it.
    injected = any(value != chapter.parameters[name] for name, value in parameters.items())
    number = (error.exec_count or 0) - injected
    plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
    arrow = re.search(r"^-+> *\d+ (.*)$", plain, re.MULTILINE)
    line = arrow.group(1).strip() if arrow else error.source.strip().splitlines()[0]
    return (
        f"chapter {chapter.name} failed in its code cell {number}, at the line\n    {line}\n"
        f"{error.ename}: {error.evalue}\n(The notebook as it stopped: {failed})"
    )
