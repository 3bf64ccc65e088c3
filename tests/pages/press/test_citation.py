from __future__ import annotations

import json

import pytest

from oracles import ROOT
from relevance.pages.press import citation
from relevance.pages.press.chapters import BookError

TOLD = """title: A book
version: 1.2
date-released: 2026-11-20
authors:
  - {family-names: Doe, given-names: Jo}
  - name: The others
"""


def test_persons_and_groups_are_cited(tmp_path):
    (tmp_path / citation.FILE).write_text(TOLD)
    read = citation.read(tmp_path)
    assert read == citation.Citation("A book", ("Doe, Jo", "The others"), 2026, "1.2", "")
    (tmp_path / citation.FILE).write_text(TOLD + "url: https://example.org/book\n")
    assert citation.read(tmp_path).url == "https://example.org/book"
    (tmp_path / citation.FILE).write_text(TOLD + "url: https://example.org/book\ndoi: 10.1/2\n")
    assert citation.read(tmp_path).url == "https://doi.org/10.1/2"


def test_the_script_holds_it_all():
    text = citation.script(citation.read(ROOT))
    held = json.loads(text.removeprefix("globalThis.relevanceCitation = ").rstrip().removesuffix(";"))
    assert held["title"].startswith("Resilient Relevance: ")
    assert held["authors"] == ["The Resilient Relevance authors"]


@pytest.mark.parametrize(
    "text", [None, "", "- a", TOLD.replace("title", "name"), TOLD.replace("2026-11-20", "now"), "a: ["]
)
def test_what_is_missing_is_said(tmp_path, text):
    if text is not None:
        (tmp_path / citation.FILE).write_text(text)
    with pytest.raises(
        BookError, match="CITATION.cff must have a title, authors, a version and a date-released"
    ) as error:
        citation.read(tmp_path)
    assert len(str(error.value)) <= 300
