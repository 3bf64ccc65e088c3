"""The press: chapters -> notebooks -> executed notebooks -> the rendered book.

For each chapter of ``_toc.yml``, jupytext makes a notebook of the MyST source, papermill executes it with the
parameters of a profile, and Jupyter Book renders all of them together, without executing anything itself.

What was executed is kept under a digest of all that it depends on: source, parameters, what it uses of the library, data, lock;
and it is executed anew if a file that it read, such as a recorded table, has changed. A page is only ever rendered from
finished notebooks, and the rendered book appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import chdir, contextmanager, suppress
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
from tqdm import tqdm

from relevance.base import checks
from relevance.base.digests import digest, of_files, of_installed, of_parameters
from relevance.base.environment import data_root, pages_printed, store_root
from relevance.base.sources import Library
from relevance.datasets import reading
from relevance.pages.press import audit, citation, inlining, notebooks, parts, redirects, status
from relevance.pages.press.chapters import BookError, Chapter, ChapterError, execute, kernel_sockets, read_chapters
from relevance.pages.press.parameters import resolve
from relevance.pages.press.reads import Reads
from relevance.studies import records

EXECUTED = Path("_build/executed")
EXECUTING = Path("_build/executing")
FAILED = Path("_build/failed")
STAGE = Path("_build/stage")
RENDERING = Path("_build/rendering")
HTML = Path("_build/html")
OLD = Path("_build/html.old")  # the book before, while the new one takes its place
PAGE = Path("_build/page")  # of a chapter alone
NO_PAGES = ("profiles", "runs.yml", ".ipynb_checkpoints")  # below book/
MARK = ".digest"
RECORDED = Path("data/recorded")
PARTS = Path("book/_static/parts")  # of the stage: what pages run when a reader asks for it
CITATION = Path("book/_static/citation.js")  # of the stage
LIBRARY = Path(__file__).parents[2]


class Job(NamedTuple):
    """A chapter with all that it depends on settled.

    Attributes:
        parameters: all of them.
        key: digest of all that the result depends on.
        path: where the executed notebook is kept.
    """

    chapter: Chapter
    parameters: dict[str, Any]
    key: str
    path: Path


class Press:
    """Prints the book of one project folder, which must be the working folder."""

    def __init__(self, root: Path, *, jobs: int | None = None) -> None:
        self.root = root
        self.jobs = jobs or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        self.installed = of_installed()
        self.reads = RecordedReads(root)

    def key(self, chapter: Chapter, parameters: Mapping[str, Any]) -> str:
        """Return the digest, now, of all that the executed chapter depends on but for the files that it will read.

        Raises:
            BookError: there is no such data set.
        """
        data = ""
        if "dataset" in parameters:
            try:
                data = reading.fingerprint(parameters["dataset"])
            except ValueError as error:
                raise BookError(str(error)) from None
        code, lock = present_library(LIBRARY).behind_text(chapter.code), _pinned(self.root / "requirements")
        return digest(chapter.source, of_parameters(parameters), code, lock, data, self.installed)

    def inputs(self, chapter: Chapter, parameters: Mapping[str, Any]) -> str:
        """Return the digest, now, of all that the executed chapter can depend on, whatever it reads.

        Raises:
            BookError: there is no such data set.
        """
        files = of_files(self.root / RECORDED, "*"), of_files(LIBRARY / "pages" / "static", "*")
        return digest(self.key(chapter, parameters), *files)

    def plan(self, chapters: Sequence[Chapter], parameters: Mapping[str, dict[str, Any]]) -> list[Job]:
        """Settle what each chapter depends on; read data sets that unfinished ones need, so that a download is done."""
        jobs = [self._job(chapter, parameters[chapter.name]) for chapter in chapters]
        unread = {job.parameters["dataset"] for job in jobs if "dataset" in job.parameters and not job.path.exists()}
        for name in sorted(unread):
            try:
                reading.load(name, device="cpu")
            except (ValueError, FileNotFoundError) as error:
                raise BookError(str(error)) from None
        return [self._job(job.chapter, job.parameters) for job in jobs] if unread else jobs

    def _job(self, chapter: Chapter, parameters: dict[str, Any]) -> Job:
        key = self.key(chapter, parameters)
        return Job(chapter, parameters, key, self.root / EXECUTED / chapter.name / f"{key}.ipynb")

    def execute(self, jobs: Sequence[Job], ending: str = "") -> None:
        """Execute the chapters that have changed, side by side.

        Args:
            jobs: what there is to execute.
            ending: what an error says at its end of what was not made.

        Raises:
            BookError: chapters failed; the executed ones are kept.
        """
        waiting = [job for job in jobs if not self._is_finished(job)]
        say(f"{len(jobs) - len(waiting)} of {len(jobs)} chapters unchanged, {len(waiting)} to execute.")
        if not waiting:
            return
        # One more than there are cores: chapters wait for posteriors that another one is training.
        side_by_side = min(self.jobs + 1, len(waiting)) if self.jobs > 1 else 1
        errors: list[ChapterError] = []
        # Side by side on the cores there are, without each chapter's torch asking for all of them.
        with pages_printed(max(1, self.jobs // side_by_side)), kernel_sockets():
            pool = ThreadPoolExecutor(side_by_side)
            futures: dict[Future[None], Job] = {
                pool.submit(self._execute_one, job, position): job
                for position, job in enumerate(from_both_ends(waiting))
            }
            try:
                for future in as_completed(futures):
                    name = futures[future].chapter.name
                    try:
                        future.result()
                        say(f"executed {name}")
                    except ChapterError as error:
                        errors.append(error)
                        say(f"FAILED   {name}")
            finally:
                # After Ctrl-C nothing that still waits is begun, and nothing that runs is waited for.
                pool.shutdown(wait=False, cancel_futures=True)
        if errors:
            kept = len(jobs) - len(errors)
            others = f"What {kept} other chapter(s) made is kept." if kept else ""
            raise BookError("\n\n".join([*map(str, errors), f"{ending} {others}".strip()]).strip())

    def _execute_one(self, job: Job, position: int) -> None:
        working, failed = (self.root / folder / f"{job.chapter.name}.ipynb" for folder in (EXECUTING, FAILED))
        before = self.inputs(job.chapter, job.parameters)
        execute(
            job.chapter,
            job.parameters,
            key=job.key,
            working=working,
            failed=failed,
            reads=self.reads,
            cwd=self.root,
            position=position,
        )
        now = Chapter(job.chapter.name, job.chapter.path)
        if self.inputs(now, job.parameters) != before or self.key(now, job.parameters) != job.key:
            raise ChapterError(
                f"chapter {job.chapter.name}, or the library, the data or the lock, was changed while it was executed, so "
                "its result is not kept; run it again."
            )
        job.path.parent.mkdir(parents=True, exist_ok=True)
        working.replace(job.path)

    def _is_finished(self, job: Job) -> bool:
        if not job.path.exists():
            return False
        states = job.chapter.states_read(job.path, job.key)
        if states is None:
            say(f"The executed chapter {job.path.relative_to(self.root)} is damaged; it is executed again.")
            job.path.unlink()
            return False
        if not self.reads.are_unchanged(states):
            return False
        (self.root / FAILED / f"{job.chapter.name}.ipynb").unlink(missing_ok=True)  # an earlier try's
        return True

    def stage(self, jobs: Sequence[Job]) -> str:
        """Lay out what Jupyter Book renders, from finished notebooks only; return the digest of it."""
        stage = self.root / STAGE
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(
            self.root / "book",
            stage / "book",
            ignore=shutil.ignore_patterns(*NO_PAGES),
        )
        for name in ("_config.yml", "_toc.yml"):
            shutil.copy(self.root / name, stage / name)
        cite(self.root, stage)
        clone = notebooks.repository(self.root)
        for job in jobs:
            put(job.path, job.chapter.name, stage, clone)
            (stage / "book" / f"{job.chapter.name}.md").unlink()
        told = stage / "book" / "appendix" / "status.md"
        if told.exists():
            told.write_text(
                status.filled(
                    told.read_text(encoding="utf-8"),
                    [status.Executed(job.chapter.name, job.parameters, job.path) for job in jobs],
                )
            )
        code = present_library(LIBRARY).behind(__name__)
        return digest(
            of_files(stage, "*"), self.installed, parts.state(), code, of_files(LIBRARY / "pages" / "static", "*")
        )

    def render(self, staged: str) -> None:
        """Render the stage with Jupyter Book, audit the pages, and put the book in its place in one move.

        Raises:
            BookError: Jupyter Book warned or failed, or a page breaks a promise.
        """
        html = self.root / HTML
        mark = html / MARK
        if mark.exists() and mark.read_text() == digest(staged, _inventory(html)):
            say("The rendered book is up to date.")
            return
        carry_along(self.root / STAGE)
        rendering = self.root / RENDERING
        tidy(self.root)
        say("rendering with Jupyter Book ...")
        jupyter_book(self.root / STAGE, rendering, "-W", "-n", "--keep-going")
        pages = rendering / "_build" / "html"
        inlining.figures(pages)
        redirects.leave(redirects.read(self.root / STAGE), pages)
        if problems := audit.problems(pages):
            raise BookError("The pages break a promise:\n  " + "\n  ".join(problems))
        (pages / MARK).write_text(digest(staged, _inventory(pages)))
        if html.exists():
            html.rename(self.root / OLD)
        pages.rename(html)
        tidy(self.root)


class RecordedReads(Reads):
    """What chapters read of the project and of the library's scripts and styles.

    Code counts by what is used of it, data sets by their parameter, and what the store keeps by its own keys.
    """

    def __init__(self, root: Path) -> None:
        built = [root / name for name in ("_build", ".venv", ".git")]
        super().__init__({"recorded": root / RECORDED, "static": LIBRARY / "pages" / "static", "project": root}, built)
        self.library = present_library(LIBRARY)

    def state(self, name: str) -> str:
        """Return a digest of a file's content, with whether it was recorded by the code that there is now, which pages say."""
        state = super().state(name)
        if match := re.fullmatch(r"recorded:(.+/(.+)\.json)", name):
            # What cannot be read as a story stops its chapter.
            with suppress(OSError, ValueError, AttributeError, KeyError):
                told = json.loads((self.folders["recorded"] / match[1]).read_text(encoding="utf-8"))
                return f"{state} {told.get('code') == records.code_now(match[2], self.library)}"
        return state

    def _is_left_out(self, path: Path) -> bool:
        if path.is_relative_to(self.folders["recorded"]) or path.is_relative_to(self.folders["static"]):
            return False
        kept = [LIBRARY, data_root().resolve(), store_root().resolve(), self.folders["project"] / "data"]
        return super()._is_left_out(path) or any(path.is_relative_to(place) for place in kept)


@lru_cache(maxsize=2)
def _same(folder: Path, sources: str) -> Library:
    return Library(folder)


def present_library(folder: Path) -> Library:
    """Return the source of the library as it is on disk now, read once for as long as it does not change."""
    return _same(folder, of_files(folder, "*.py"))


def _pinned(folder: Path) -> str:
    """Return a digest of what is pinned, without what is said of it."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.txt"))]
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for text in texts for line in text.splitlines())
    return digest(*filter(None, lines))


def tidy(root: Path) -> None:
    """Take away what a build leaves when it is killed; if that was while it put its book in place, the one before comes back."""
    if (root / OLD).exists() and not (root / HTML).exists():
        (root / OLD).rename(root / HTML)
    for left in (OLD, RENDERING, EXECUTING):
        shutil.rmtree(root / left, ignore_errors=True)


def put(executed: Path, chapter: str, stage: Path, clone: str | None) -> None:
    """Put an executed chapter where Jupyter Book finds it, ready to be handed out, and what it runs in the page beside it."""
    staged = stage / "book" / f"{chapter}.ipynb"
    notebook = nbformat.read(executed, as_version=4)
    notebooks.ready(notebook, chapter, clone)
    staged.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, staged)
    parts.set_aside(staged, stage / PARTS)


def jupyter_book(source: Path, target: Path, *flags: str) -> None:
    """Render a folder with Jupyter Book.

    Raises:
        BookError: it failed, or it warned where the flags make warnings errors.
    """
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source)),
        *("--path-output", str(target), *flags, "--quiet"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BookError(f"Jupyter Book failed or warned:\n{complaints(done.stdout, done.stderr)}")


def page_of(root: Path, chapter: str, executed: Path) -> Path:
    """Render one executed chapter by itself, for a look at it: what it refers to in other chapters leads nowhere.

    Args:
        root: the project folder.
        chapter: its name.
        executed: its notebook.

    Raises:
        BookError: Jupyter Book failed.
    """
    folder = root / PAGE / chapter
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "book", folder / "book", ignore=shutil.ignore_patterns("*.md", *NO_PAGES))
    put(executed, chapter, folder, None)
    shutil.copy(root / "_config.yml", folder / "_config.yml")
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: book/{chapter}\n", encoding="utf-8")
    cite(root, folder)
    carry_along(folder)
    jupyter_book(folder, folder)
    inlining.figures(folder / "_build" / "html")
    return folder / "_build" / "html" / "book" / f"{chapter}.html"


def from_both_ends(jobs: Sequence[Job]) -> list[Job]:
    """Return the first, the last, the second, the last but one, ...: neighbours tend to wait for the same posteriors."""
    half = (len(jobs) + 1) // 2
    pairs = zip_longest(jobs[:half], reversed(jobs[half:]))
    return [job for pair in pairs for job in pair if job is not None]


def complaints(output: str, errors: str) -> str:
    """Return what Jupyter Book complains of, in terms of the sources: no colours, and no lines of the staged copies."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", errors)
    plain = re.sub(r"\S*/_build/stage/book/(\S+?)\.ipynb(:\d+)?", r"book/\1.md", plain)
    plain = re.sub(r"\S*/_build/stage/(\S+)", r"\1", plain)
    lines = [line for line in plain.splitlines() if line.strip()]
    found = [line for line in lines if re.search("WARNING|ERROR|CRITICAL|Error", line)]
    return "\n".join(found or lines or output.splitlines())


def _inventory(pages: Path) -> str:
    """Return a digest of the names and the sizes of all pages and their files."""
    files = sorted(path for path in pages.rglob("*") if path.is_file() and path.name != MARK)
    return digest(*(f"{path.relative_to(pages).as_posix()} {path.stat().st_size}" for path in files))


def carry_along(stage: Path) -> None:
    """Put beside the pages what they load: MathJax, and what runs in them."""
    copy_mathjax(stage / "book" / "_static" / "mathjax")
    parts.copy(stage / PARTS)


def cite(root: Path, stage: Path) -> None:
    """Put beside the pages how the book is cited."""
    (stage / CITATION).write_text(citation.script(citation.read(root)), encoding="utf-8")


def copy_mathjax(target: Path) -> None:
    """Copy MathJax, with its fonts, from the installed package to where the pages look for it."""
    import importlib.util

    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None or not package.submodule_search_locations:
        raise BookError("The package sphinx-mathjax-offline is not installed; run `make distclean` and `make book`.")
    source = Path(package.submodule_search_locations[0]) / "static" / "mathjax"
    (target / "output" / "chtml").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "tex-chtml-full.js", target)
    shutil.copytree(source / "output/chtml/fonts", target / "output/chtml/fonts", dirs_exist_ok=True)


def say(text: str) -> None:
    """Print a line without breaking the progress bars."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Work in the project folder, and keep other builds of the same book out of it meanwhile."""
    (root / "_build").mkdir(exist_ok=True)
    with (root / "_build" / ".lock").open("w") as lock, chdir(root):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BookError(f"another build of the book in {root} is running; wait for it, or stop it.") from None
        tidy(root)
        yield


def print_book(
    root: Path,
    *,
    profile: str = "quick",
    common: Mapping[str, Any] | None = None,
    chapter: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    jobs: int | None = None,
) -> Path:
    """Execute what changed and render the book; or execute one chapter alone, with parameters of its own.

    Args:
        root: the project folder, with ``_toc.yml``; relative paths among the parameters are meant from there.
        profile: a file of ``book/profiles``.
        common: parameters for every chapter that has them, such as ``{"dataset": "mnist"}``.
        chapter: execute this chapter alone; nothing is rendered.
        parameters: for that chapter; without one, for every chapter that has them, like ``common``.
        jobs: chapters side by side; the number of cores if not given.

    Returns:
        The first page, or the executed notebook of ``chapter``.

    Raises:
        BookError: with a sentence for the reader.
    """
    root = root.resolve()
    chapters = read_chapters(root)
    if chapter is None:
        common, parameters = {**(common or {}), **(parameters or {})}, None
    known = {one.name: one for one in chapters}
    if chapter is not None and chapter not in known:
        raise BookError(f"chapter is {chapter!r}; it may be one of: {checks.among(chapter, known)}.")
    chosen = resolve(root, chapters, profile, common or {} if chapter is None else {})
    if chapter is not None:
        chapters = [known[chapter]]
        own = {**(common or {}), **(parameters or {})}
        chosen = {chapter: known[chapter].resolved({**chosen[chapter], **own})}
    store_root()  # which says now, not in the midst of a chapter, that there can be none
    with alone(root):
        press = Press(root, jobs=jobs)
        work = press.plan(chapters, chosen)
        if chapter is not None:
            press.execute(work)
            return work[0].path
        press.execute(work, "The book was not printed.")
        press.render(press.stage(work))
    return root / HTML / "index.html"
