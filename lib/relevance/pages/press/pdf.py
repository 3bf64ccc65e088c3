"""`make pdf`: the printed book as one PDF, by Chromium's print.

All articles become one document, in the order of ``_toc.yml``, whose identifiers carry the chapter's number, so that links
between chapters lead from page to page of the PDF. It is printed twice: the table of contents has the numbers of the pages
where the first print put the chapters. Code and what is played with are left to the pages; pictures that turn stand as they
start.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, SoupStrainer, Tag
from pypdf import PdfReader

from relevance.pages.press import citation
from relevance.pages.press.chapters import BookError, listed, temporary_folder
from relevance.pages.press.press import HTML, alone, say

PDF = Path("_build/resilient-relevance.pdf")
STYLE = Path("book/_static/pdf.css")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Rows of tables that a fold may have and be printed open.
FOLDED_ROWS = 12
# Code stays where what it printed would say nothing without it.
LEFT_OUT = (
    ".cell:not(:has(.text_plain)) .cell_input, .rr-narrow, .rr-file, .made-with, .headerlink, .toctree-wrapper, script, "
    "noscript, button, form"
)
# Attributes that name elements of the page.
NAMING = ("id", "for", "headers", "aria-labelledby", "aria-describedby")
APPENDIX = "Appendix"
SECONDS = 600


class Page(NamedTuple):
    """A page of the book as it goes into the PDF.

    Attributes:
        mark: what its identifiers begin with, and its own.
        part: the caption of its part; empty without.
        number: of the chapter, a letter in the appendix; empty for the first page.
        title: the heading, without its number.
        path: the printed page.
        article: its article, without what is left out.
    """

    mark: str
    part: str
    number: str
    title: str
    path: Path
    article: Tag


def _pages(root: Path) -> list[Page]:
    """Read the printed pages.

    Raises:
        BookError: one is not there.
    """
    pages = []
    numbers, letters = count(1), count(ord("A"))
    for index, (part, file) in enumerate(listed(root)):
        path = root / HTML / f"{file}.html"
        if not path.is_file():
            raise BookError(f"the book is not printed, or not since {file} came into _toc.yml; run make book first.")
        only = SoupStrainer("article")
        article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser", parse_only=only).find("article")
        assert isinstance(article, Tag)
        for left_out in article.select(LEFT_OUT):
            left_out.decompose()
        number = "" if index == 0 else chr(next(letters)) if part == APPENDIX else str(next(numbers))
        # Sphinx has numbered it itself where _toc.yml asks for that.
        if told := article.select_one("h1 .section-number"):
            number = told.get_text().strip().rstrip(".")
            told.decompose()
        heading = article.find("h1")
        title = " ".join(heading.get_text().split()) if heading else file
        if heading and number:
            heading.insert(0, f"{number}\N{EN SPACE}")
        pages.append(Page(f"c{index}", part, number, title, path, article))
    return pages


def document(root: Path, told: citation.Citation) -> str:
    """Return the book as one page of HTML, which loads styles, pictures and MathJax from the printed one.

    Args:
        root: the project folder.
        told: for the title page.

    Raises:
        BookError: a page is not printed.
    """
    pages = _pages(root)
    marks = {page.path: page for page in pages}
    named = {page.path: {str(one["id"]) for one in page.article.select("[id]:not(svg *)")} for page in pages}
    for page in pages:
        _mark(page)
        _link(page, marks, named)
        _flatten(page)
    head = BeautifulSoup(pages[0].path.read_text(encoding="utf-8"), "html.parser").head
    assert head is not None
    for link in head.select("link[rel=stylesheet]"):
        link["href"] = _address(pages[0].path, str(link["href"]))
    styles = "".join(map(str, head.select("link[rel=stylesheet]")))
    for script in head.select("script[src]"):
        script["src"] = _address(pages[0].path, str(script["src"]))
    mathjax = "".join(str(script) for script in head.select("script") if "mathjax" in str(script).lower())
    running = "".join(
        f"@page {page.mark} {{ @top-left {{ content: {_quoted(f'{page.number}  {page.title}'.strip())}; }} }}\n"
        f"#{page.mark} {{ page: {page.mark}; }}\n"
        for page in pages
    )
    chapters = "".join(f'<section class="chapter" id="{page.mark}">{page.article}</section>' for page in pages)
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"<title>{escape(told.title)}</title>{styles}{mathjax}"
        f'<link rel="stylesheet" href="{(root / STYLE).resolve().as_uri()}"><style>{running}</style></head>'
        f'<body><main class="bd-main"><div class="bd-content"><div class="bd-article-container">'
        f"{_front(told, pages)}{chapters}</div></div></main></body></html>"
    )


def _address(page: Path, link: str) -> str:
    return (page.parent / unquote(urlsplit(link).path)).resolve().as_uri()


def _quoted(text: str) -> str:
    """Return text as a string of CSS inside HTML."""
    return json.dumps(text, ensure_ascii=False).replace("<", r"\3c ")


def _front(told: citation.Citation, pages: Sequence[Page]) -> str:
    """Return the title page and the table of contents, with the places of page numbers (:func:`numbered`)."""
    title, _, below = told.title.partition(": ")
    lines, part = [], ""
    for page in pages:
        if page.part != part:
            part = page.part
            lines.append(f'<li class="part">{escape(part)}</li>')
        lines.append(
            f'<li><a href="#{page.mark}"><span>{page.number}</span> <span>{escape(page.title)}</span>'
            f'<span data-page="{page.mark}"></span></a></li>'
        )
    return (
        f'<section class="title-page"><p class="title">{escape(title)}</p><p class="subtitle">{escape(below)}</p>'
        f"<p>{escape('; '.join(told.authors))}</p><p>Version {escape(told.version)}, {told.year}</p></section>"
        f'<section class="contents"><h1>Contents</h1><ol>{"".join(lines)}</ol>'
        "<p>Code, and what is played with, are in the book's pages.</p></section>"
    )


def numbered(text: str, pdf: Path) -> str:
    """Return the document with the numbers, from 1, of the pages on which its PDF has the chapters."""
    reader = PdfReader(pdf)
    places = reader.named_destinations
    return re.sub(
        r'(<span data-page="(\w+)">)',
        lambda found: f"{found[1]}{(reader.get_destination_page_number(places[f'/{found[2]}']) or 0) + 1}",
        text,
    )


def _mark(page: Page) -> None:
    """Put the chapter's mark before the article's identifiers, and wherever they are named; those of figures are their own."""
    for one in page.article.select(", ".join(f"[{name}]:not(svg *)" for name in NAMING)):
        for name in set(NAMING) & one.attrs.keys():
            given = one[name]
            words = given if isinstance(given, list) else str(given).split()
            one[name] = " ".join(f"{page.mark}-{word}" for word in words)


def _link(page: Page, marks: Mapping[Path, Page], named: Mapping[Path, set[str]]) -> None:
    """Let links to the book's pages lead into the document, and pictures come from where the pages are.

    Args:
        page: whose article is changed.
        marks: the pages of the document, by their paths.
        named: their identifiers, as the pages have them.
    """
    for link in page.article.select("a[href]"):
        parts = urlsplit(str(link["href"]))
        if parts.scheme or parts.netloc:
            continue
        target = Path(os.path.normpath(page.path.parent / unquote(parts.path))) if parts.path else page.path
        if target in marks:
            anchor = unquote(parts.fragment)
            link["href"] = f"#{marks[target].mark}" + (f"-{anchor}" if anchor in named[target] else "")
        else:
            link.unwrap()  # a download, or the index
    for picture in page.article.select("[src], [srcset]"):
        for name in {"src", "srcset"} & picture.attrs.keys():
            if not urlsplit(str(picture[name])).scheme:
                picture[name] = _address(page.path, str(picture[name]).split()[0])


def _flatten(page: Page) -> None:
    """Take away what paper cannot do: what is played with, folds, and cells of which nothing is left."""
    for played in page.article.select(".text_html > *"):
        if played.find("canvas") and not played.find(["img", "svg"]):
            played.replace_with(_said("This part of the page is played with; it is in the book's pages."))
    for fold in page.article.select("details"):
        summary = fold.find("summary")
        text = summary.extract().get_text(" ", strip=True) if summary else ""
        if _is_empty(fold):
            fold.decompose()  # code, which is left out
        elif len(fold.select("tr")) > FOLDED_ROWS:
            # What the theme writes there names the code.
            name = "A table" if "hide" in fold.get_attribute_list("class") else text
            fold.replace_with(_said(f"{name}: in the book's pages."))
        else:
            fold.name = "div"
    for cell in filter(_is_empty, page.article.select(".cell")):
        cell.decompose()


def _is_empty(element: Tag) -> bool:
    return not element.get_text(strip=True) and not element.find(["img", "svg"])


def _said(text: str) -> Tag:
    said = BeautifulSoup("", "html.parser").new_tag("p", attrs={"class": "left-out"})
    said.string = text
    return said


def chromium() -> str:
    """Return the path of Chromium.

    Raises:
        BookError: none is installed.
    """
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise BookError("no Chromium is installed, which prints the PDF (Debian: apt install chromium).")


def _print(browser: str, text: str, folder: Path) -> Path:
    """Print a document, with an outline, and return the PDF."""
    source, target = folder / "book.html", folder / "book.pdf"
    source.write_text(text, encoding="utf-8")
    target.unlink(missing_ok=True)
    command = [browser, "--headless", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []  # which root's processes cannot have
    command += ["--no-pdf-header-footer", "--generate-pdf-document-outline", f"--user-data-dir={folder / 'profile'}"]
    # Until MathJax is done: this time passes only while nothing is computed and nothing loaded.
    command += ["--virtual-time-budget=60000", f"--print-to-pdf={target}", source.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise BookError(f"Chromium has not printed the PDF within {SECONDS} seconds.") from None
    if not target.is_file():
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise BookError(f"Chromium has not printed the PDF: {last[-200:]}")
    return target


def print_pdf(root: Path) -> Path:
    """Print the book of a project folder, as ``make book`` left it, into :data:`PDF`.

    Raises:
        BookError: with a sentence for the reader.
    """
    root = root.resolve()
    browser, told = chromium(), citation.read(root)
    if not (root / HTML).is_dir():
        raise BookError("the book is not printed; run make book first.")
    with alone(root), temporary_folder() as folder:
        text = document(root, told)
        text = numbered(text, _print(browser, text, folder))
        shutil.move(_print(browser, text, folder), root / PDF)
    return root / PDF


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the PDF; return the exit status."""
    parser = argparse.ArgumentParser(prog="relevance.pages.press.pdf", description="Print the book as a PDF.")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project folder")
    given = parser.parse_args(arguments)
    try:
        printed = print_pdf(given.root)
    except BookError as error:
        print(f"make: {error}", file=sys.stderr)
        return 1
    say(f"The PDF is printed: {printed}, {len(PdfReader(printed).pages)} pages, {printed.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
