"""Who wrote the book, and how to cite it: from ``CITATION.cff``, for the pages and the PDF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from relevance.pages.press.chapters import BookError

FILE = Path("CITATION.cff")


class Citation(NamedTuple):
    """What is cited.

    Attributes:
        title: of the book.
        authors: "family, given", or the name of a group.
        year: of its release.
        version: of the book and its library.
        url: where it can be read; empty where that is not known.
    """

    title: str
    authors: tuple[str, ...]
    year: int
    version: str
    url: str


def read(root: Path) -> Citation:
    """Return what ``CITATION.cff`` says of the book.

    Raises:
        BookError: there is no such file, or it lacks something.
    """
    try:
        told = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))
        authors = tuple(_author(one) for one in told["authors"])
        address = f"https://doi.org/{told['doi']}" if "doi" in told else told.get("url", "")
        return Citation(told["title"], authors, told["date-released"].year, str(told["version"]), address)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BookError(
            f"{FILE} must have a title, authors, a version and a date-released; it cannot be read: "
            f"{' '.join(f'{type(error).__name__}: {error}'.split())[:120]}."
        ) from None


def _author(told: dict[str, Any]) -> str:
    return told["name"] if "name" in told else f"{told['family-names']}, {told['given-names']}"


def script(citation: Citation) -> str:
    """Return the script that leaves the citation to ``book.js``: a page that is opened from disk may not fetch a file."""
    held = json.dumps(citation._asdict(), ensure_ascii=False)
    return f"globalThis.relevanceCitation = {held};\n"
