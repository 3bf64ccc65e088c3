"""The press from the command line: ``python -m relevance.pages.press``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from relevance.base import checks
from relevance.base.environment import asked, settle_data_root
from relevance.pages.press.chapters import BookError
from relevance.pages.press.parameters import assignments
from relevance.pages.press.press import page_of, print_book, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the press from the command line; return the exit status.

    What no argument says is as make was asked, by ``PROFILE``, ``DATASET``, ``CHAPTER`` and ``PARAMETERS``.
    """
    parser = argparse.ArgumentParser(
        prog="relevance.pages.press", description="Execute the chapters and print the book."
    )
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project folder")
    parser.add_argument("--profile", default=asked("PROFILE") or "quick", help="a file of book/profiles")
    parser.add_argument("--dataset", default=asked("DATASET") or None, help="the data set of every chapter")
    parser.add_argument("--chapter", default=asked("CHAPTER"), help="execute this chapter alone")
    parser.add_argument("--jobs", type=int, help="chapters side by side")
    parser.add_argument(
        "--parameters",
        default=asked("PARAMETERS") or "",
        help="name=value ..., of that chapter, or of all that have them",
    )
    given = parser.parse_args(arguments)
    settle_data_root()  # chapters run in another folder
    try:
        result = print_book(
            given.root,
            profile=given.profile,
            common={"dataset": given.dataset} if given.dataset is not None else {},
            chapter=given.chapter,
            parameters=assignments(given.parameters),
            jobs=None if given.jobs is None else checks.count("jobs", given.jobs),
        )
    except (BookError, ValueError) as error:
        print(f"\nmake: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake: stopped; what is finished is kept.", file=sys.stderr, flush=True)
        # The threads that wait for kernels cannot be stopped; the kernels end when this process does.
        os._exit(130)
    if given.chapter is None:
        say(f"The book is printed: {result}")
    else:
        say(f"The chapter is executed: {result}")
        try:
            say(f"Its page: {page_of(given.root.resolve(), given.chapter, result)}")
        except BookError as error:
            print(f"make: it has no page: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
