"""The press: chapters -> notebooks -> executed notebooks -> the rendered book.

For each chapter of ``_toc.yml``, jupytext makes a notebook of the MyST source, papermill executes it with the
parameters of a profile, and Jupyter Book renders all of them together, without executing anything itself.

What was executed is kept under a digest of all that it depends on: source, parameters, library, data, recorded
tables, lock. A page is only ever rendered from finished notebooks, and the rendered book appears whole or not at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from relevance import audit, datasets
from relevance.chapters import Chapter, ChapterError, execute, kernel_sockets, read_chapters
from relevance.digests import digest, of_files, of_parameters

EXECUTED = Path("_build/executed")
EXECUTING = Path("_build/executing")
FAILED = Path("_build/failed")
STAGE = Path("_build/stage")
RENDERING = Path("_build/rendering")
HTML = Path("_build/html")
KEPT_VERSIONS = 6
LIBRARY = Path(__file__).parent


class BookError(Exception):
    """The book cannot be printed; the message is what the reader is told."""


def profile_parameters(root: Path, profile: str, chapters: Sequence[Chapter]) -> dict[str, dict[str, Any]]:
    """Read ``book/profiles/<profile>.yml``: chapter name -> parameters.

    The file's ``common`` parameters go to every chapter that has them; those under ``chapters`` to the one named.

    Raises:
        BookError: the profile, a chapter or a parameter is unknown.
    """
    folder = root / "book" / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yml"))
    if profile not in known:
        raise BookError(f"profile is {profile!r}; it may be one of: {', '.join(known)}.")
    content = yaml.safe_load((folder / f"{profile}.yml").read_text()) or {}
    if odd := sorted(content.keys() - {"common", "chapters"}):
        raise BookError(f"profile {profile} has the sections {', '.join(odd)}; it may have: common, chapters.")
    chosen: dict[str, dict[str, Any]] = {chapter.name: {} for chapter in chapters}
    give_common(chosen, content.get("common") or {}, chapters, f"profile {profile}")
    for name, parameters in (content.get("chapters") or {}).items():
        if name not in chosen:
            raise BookError(f"profile {profile} names the chapter {name!r}; it may be one of: {', '.join(chosen)}.")
        chosen[name].update(parameters or {})
    return chosen


def give_common(
    chosen: dict[str, dict[str, Any]], common: Mapping[str, Any], chapters: Sequence[Chapter], who: str
) -> None:
    """Add ``common`` parameters to every chapter that has them.

    Raises:
        BookError: no chapter has one of them.
    """
    known = sorted({name for chapter in chapters for name in chapter.parameters})
    for name, value in common.items():
        if name not in known:
            raise BookError(
                f"{who} sets the parameter {name!r}, which no chapter has; it may be one of: {', '.join(known)}."
            )
        for chapter in chapters:
            if name in chapter.parameters:
                chosen[chapter.name][name] = value


def resolve(
    root: Path, chapters: Sequence[Chapter], profile: str, common: Mapping[str, Any], single: Mapping[str, Any] | None
) -> dict[str, dict[str, Any]]:
    """Return every chapter's whole parameters: defaults, then the profile's, then those given from outside.

    Args:
        common: given for the whole book, such as the data set.
        single: given for the only chapter of ``chapters``, if it is only one.
    """
    given = profile_parameters(root, profile, chapters)
    give_common(given, common, chapters, "the command")
    if single:
        (chapter,) = chapters
        given[chapter.name].update(single)
    return {chapter.name: chapter.resolved(given[chapter.name]) for chapter in chapters}


class Press:
    """Prints the book of one project folder."""

    def __init__(self, root: Path, *, jobs: int | None = None) -> None:
        self.root = root.resolve()
        self.jobs = jobs or max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
        self.library = of_files(LIBRARY, "*.py")
        self.lock = of_files(self.root / "requirements", "*.txt")
        self.recorded = of_files(self.root / "data" / "recorded", "*")
        self.fingerprints: dict[str, str] = {}

    def key(self, chapter: Chapter, parameters: Mapping[str, Any]) -> str:
        """Return the digest of all that the executed chapter depends on."""
        data = self.fingerprints.get(str(parameters.get("dataset", "")), "")
        source = chapter.path.read_text()
        return digest(source, of_parameters(parameters), self.library, self.lock, self.recorded, data)

    def executed_path(self, chapter: Chapter, parameters: Mapping[str, Any]) -> Path:
        """Return where the executed chapter is kept."""
        return self.root / EXECUTED / chapter.name / f"{self.key(chapter, parameters)}.ipynb"

    def execute(self, chapters: Sequence[Chapter], parameters: Mapping[str, Mapping[str, Any]]) -> None:
        """Execute the chapters that have changed, side by side.

        Raises:
            BookError: chapters failed; the executed ones are kept.
        """
        self._fingerprint(chapters, parameters)
        waiting = [chapter for chapter in chapters if not self._is_finished(chapter, parameters[chapter.name])]
        if waiting:
            self._prepare_data({str(parameters[chapter.name].get("dataset", "")) for chapter in waiting})
        waiting = [chapter for chapter in waiting if not self._is_finished(chapter, parameters[chapter.name])]
        say(f"{len(chapters) - len(waiting)} of {len(chapters)} chapters unchanged, {len(waiting)} to execute.")
        jobs = min(self.jobs, len(waiting)) or 1
        # Side by side on the cores there are, without each chapter's torch asking for all of them.
        threads = str(max(1, self.jobs // jobs))
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "RELEVANCE_PROGRESS": "0"}
        os.environ.update(environment | {name: os.environ[name] for name in environment if name in os.environ})
        errors: list[ChapterError] = []
        with kernel_sockets(), ThreadPoolExecutor(jobs) as pool:
            futures: dict[Future[None], Chapter] = {
                pool.submit(self._execute_one, chapter, parameters[chapter.name], position): chapter
                for position, chapter in enumerate(waiting)
            }
            for future in as_completed(futures):
                try:
                    future.result()
                    say(f"executed {futures[future].name}")
                except ChapterError as error:
                    errors.append(error)
                    say(f"FAILED   {futures[future].name}")
        if errors:
            kept = len(chapters) - len(errors)
            raise BookError(
                "\n\n".join(str(error) for error in errors)
                + f"\n\nThe book was not printed; what the other {kept} chapter(s) made is kept."
            )

    def _execute_one(self, chapter: Chapter, parameters: Mapping[str, Any], position: int) -> None:
        target = self.executed_path(chapter, parameters)
        working, failed = (self.root / folder / f"{chapter.name}.ipynb" for folder in (EXECUTING, FAILED))
        execute(chapter, parameters, target=target, working=working, failed=failed, cwd=self.root, position=position)
        versions = sorted(target.parent.glob("*.ipynb"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in versions[KEPT_VERSIONS:]:
            old.unlink()

    def _is_finished(self, chapter: Chapter, parameters: Mapping[str, Any]) -> bool:
        path = self.executed_path(chapter, parameters)
        if not path.exists():
            return False
        if chapter.is_executed(path):
            os.utime(path)
            return True
        say(f"The executed chapter {path.relative_to(self.root)} is damaged; it is executed again.")
        path.unlink()
        return False

    def _fingerprint(self, chapters: Sequence[Chapter], parameters: Mapping[str, Mapping[str, Any]]) -> None:
        for chapter in chapters:
            name = parameters[chapter.name].get("dataset")
            if name is not None and name not in self.fingerprints:
                try:
                    self.fingerprints[name] = datasets.fingerprint(name)
                except ValueError as error:
                    raise BookError(str(error)) from None

    def _prepare_data(self, names: set[str]) -> None:
        """Read each data set once before the chapters do, so that a download happens once and an error comes early."""
        for name in sorted(names - {""}):
            try:
                datasets.load(name, device="cpu")
            except (ValueError, FileNotFoundError) as error:
                raise BookError(str(error)) from None
            self.fingerprints[name] = datasets.fingerprint(name)

    def stage(self, chapters: Sequence[Chapter], parameters: Mapping[str, Mapping[str, Any]]) -> str:
        """Lay out what Jupyter Book renders, from finished notebooks only; return the digest of it."""
        stage = self.root / STAGE
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(
            self.root / "book", stage / "book", ignore=shutil.ignore_patterns("profiles", ".ipynb_checkpoints")
        )
        for name in ("_config.yml", "_toc.yml"):
            shutil.copy(self.root / name, stage / name)
        for chapter in chapters:
            staged = stage / "book" / f"{chapter.name}.ipynb"
            shutil.copy(self.executed_path(chapter, parameters[chapter.name]), staged)
            staged.with_suffix(".md").unlink()
        return digest(of_files(stage, "*"), self.lock, self.library)

    def render(self, staged: str) -> None:
        """Render the stage with Jupyter Book, audit the pages, and put the book in its place in one move.

        Raises:
            BookError: Jupyter Book warned or failed, or a page breaks a promise.
        """
        mark = self.root / HTML / ".digest"
        if mark.exists() and mark.read_text() == staged:
            say("The rendered book is up to date.")
            return
        copy_mathjax(self.root / STAGE / "book" / "_static" / "mathjax")
        rendering = self.root / RENDERING
        shutil.rmtree(rendering, ignore_errors=True)
        say("rendering with Jupyter Book ...")
        command = [
            *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(self.root / STAGE)),
            *("--path-output", str(rendering), "-W", "-n", "--keep-going", "--quiet"),
        ]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BookError(f"Jupyter Book failed or warned:\n\n{done.stdout}\n{done.stderr}".rstrip())
        pages = rendering / "_build" / "html"
        if problems := audit.problems(pages):
            raise BookError("The pages break a promise:\n  " + "\n  ".join(problems))
        (pages / ".digest").write_text(staged)
        html = self.root / HTML
        old = html.with_name("html.old")
        shutil.rmtree(old, ignore_errors=True)
        if html.exists():
            html.rename(old)
        pages.rename(html)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(rendering, ignore_errors=True)


def copy_mathjax(target: Path) -> None:
    """Copy MathJax, with its fonts, from the installed package to where the pages look for it."""
    import importlib.util

    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None or not package.submodule_search_locations:
        raise BookError("The package sphinx-mathjax-offline is not installed; run `make clean` and `make book`.")
    source = Path(package.submodule_search_locations[0]) / "static" / "mathjax"
    (target / "output" / "chtml").mkdir(parents=True, exist_ok=True)
    shutil.copy(source / "tex-chtml-full.js", target)
    shutil.copytree(source / "output/chtml/fonts", target / "output/chtml/fonts", dirs_exist_ok=True)


def say(text: str) -> None:
    """Print a line without breaking the progress bars."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


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
        root: the project folder, with ``_toc.yml``.
        profile: a file of ``book/profiles``.
        common: parameters for every chapter that has them, such as ``{"dataset": "mnist"}``.
        chapter: execute this chapter alone; nothing is rendered.
        parameters: for that chapter.
        jobs: chapters side by side; the number of cores if not given.

    Returns:
        The first page, or the executed notebook of ``chapter``.

    Raises:
        BookError: with a sentence for the reader.
    """
    try:
        chapters = read_chapters(root)
        if parameters and chapter is None:
            raise BookError("PARAMETERS are for a single chapter; name it with CHAPTER.")
        known = {one.name: one for one in chapters}
        if chapter is not None:
            if chapter not in known:
                raise BookError(f"chapter is {chapter!r}; it may be one of: {', '.join(known)}.")
            own = set(known[chapter].parameters)
            common = {name: value for name, value in (common or {}).items() if name in own}
            whole = resolve(root, chapters, profile, {}, None)[chapter]
            chapters = [known[chapter]]
            chosen = {chapter: known[chapter].resolved({**whole, **common, **(parameters or {})})}
        else:
            chosen = resolve(root, chapters, profile, common or {}, None)
    except ChapterError as error:
        raise BookError(str(error)) from None
    press = Press(root, jobs=jobs)
    press.execute(chapters, chosen)
    if chapter is not None:
        return press.executed_path(chapters[0], chosen[chapter])
    press.render(press.stage(chapters, chosen))
    return press.root / HTML / "index.html"


def _assignments(text: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs; values as YAML writes them."""
    pairs = {}
    for item in text:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise BookError(f"a parameter is given as {item!r}; it must be name=value, such as epsilon=0.1.")
        pairs[name] = yaml.safe_load(value)
    return pairs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the press from the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="relevance.press", description="Execute the chapters and print the book.")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project folder")
    parser.add_argument("--profile", default="quick", help="a file of book/profiles")
    parser.add_argument("--dataset", help="the data set of every chapter")
    parser.add_argument("--chapter", help="execute this chapter alone")
    parser.add_argument("--jobs", type=int, help="chapters side by side")
    parser.add_argument("parameters", nargs="*", metavar="name=value", help="parameters of that chapter")
    given = parser.parse_args(arguments)
    try:
        result = print_book(
            given.root,
            profile=given.profile,
            common={"dataset": given.dataset} if given.dataset else {},
            chapter=given.chapter,
            parameters=_assignments(given.parameters),
            jobs=given.jobs,
        )
    except BookError as error:
        print(f"\nmake book: {error}", file=sys.stderr)
        return 1
    say(f"{'The book is printed' if given.chapter is None else 'The chapter is executed'}: {result}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
