"""What a reader takes away from the printed book: its PDF, and how it is cited."""

from __future__ import annotations

import json

import pytest
from pybtex.database import parse_string
from pypdf import PdfReader

from browsing import axe
from oracles import ROOT
from relevance.pages.press import citation, pdf
from relevance.pages.press.chapters import listed, read_chapters

MEGABYTES = 60


@pytest.fixture(scope="module")
def book(pages):
    path = pages.parent / pdf.PDF.name
    assert path.exists(), "make pdf comes first"
    assert path.stat().st_size < MEGABYTES * 1e6
    return PdfReader(path)


def flat(outline):
    for one in outline:
        yield from flat(one) if isinstance(one, list) else [one]


def test_the_pdf_has_every_chapter_in_order(book):
    told = [" ".join(one.title.split()) for one in flat(book.outline)]
    numbers = [book.get_destination_page_number(one) for one in flat(book.outline)]
    assert numbers == sorted(numbers)
    contents = book.pages[1].extract_text() + book.pages[2].extract_text()
    for chapter in read_chapters(ROOT):
        heading = chapter.source.split("\n# ", 1)[1].split("\n")[0].replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
        assert heading in " ".join(contents.split())
        assert any(title.endswith(heading) for title in told)
    assert len(book.pages) > 2 * len(listed(ROOT))


def test_every_link_in_the_pdf_leads_somewhere(book):
    found = [one.get_object() for page in book.pages for one in page.get("/Annots", [])]
    inside = [one["/Dest"] for one in found if "/Dest" in one]
    assert len(inside) > 100
    assert set(inside) <= book.named_destinations.keys()
    away = [one["/A"]["/URI"] for one in found if "/A" in one]
    assert [address for address in away if not address.startswith(("http", "mailto:"))] == []


def test_the_pdf_has_its_equations_and_no_code(book):
    text = "".join(page.extract_text() for page in book.pages)
    assert "Lemma VII.1" in text
    assert "\\mathbb" not in text
    assert 'record = ""' not in text  # of the cells with parameters


@pytest.fixture
def dialogue(page, pages):
    """A chapter with a numbered figure, open; its dialogue is not."""
    page.emulate_media(reduced_motion="reduce")  # colours that change at once
    paths = (pages / "book" / f"{chapter.name}.html" for chapter in read_chapters(ROOT))
    page.goto(next(path for path in paths if 'class="caption-number"' in path.read_text()).as_uri())
    return page.locator("dialog.cite")


def cited(dialogue):
    """The text, and what BibTeX reads."""
    text, entry = (area.input_value() for area in dialogue.locator("textarea").all())
    (read,) = parse_string(entry, "bibtex").entries.values()
    return text, read


def test_a_chapter_and_the_book_are_cited_by_keys_alone(page, dialogue):
    told = citation.read(ROOT)
    page.locator(".cite-page").focus()
    page.keyboard.press("Enter")
    dialogue.wait_for(state="visible")
    assert axe(page) == []
    title = page.locator(".bd-article h1").evaluate("one => one.firstChild.textContent")
    text, entry = cited(dialogue)
    assert f"“{title}”. In: {told.title}" in text
    assert (entry.type, entry.fields["title"], entry.fields["booktitle"]) == (
        "incollection", f"{{{title}}}", f"{{{told.title}}}",
    )  # fmt: skip
    page.keyboard.press("ArrowUp")
    text, entry = cited(dialogue)
    assert text.startswith(f"{told.authors[0]}. {told.title}. Version {told.version}, {told.year}.")
    assert (entry.type, entry.fields["year"]) == ("misc", str(told.year))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert dialogue.get_by_role("status").inner_text() == "Text copied."
    page.keyboard.press("Escape")
    dialogue.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.className").endswith("cite-page")


def test_a_figure_has_its_link_and_its_citation(page, dialogue):
    figure = page.locator("figure:has(.caption-number)").first
    number = figure.locator(".caption-number").inner_text()
    figure.get_by_role("link", name=number).click()
    assert page.evaluate("location.hash") == f"#{figure.get_attribute('id')}"
    figure.get_by_role("button", name=f"Cite {number}").click()
    text, entry = cited(dialogue)
    assert f"”, {number}. In: " in text
    assert entry.fields["note"].startswith(f"{number}, version ")
    assert entry.key.endswith(figure.get_attribute("id"))
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert axe(page) == []


def test_the_pages_carry_the_citation(pages):
    held = (pages / "_static/citation.js").read_text()
    assert json.dumps(citation.read(ROOT).title) in held
