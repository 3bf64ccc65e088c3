"""The printed book: run after `make book`, by .ci/run, as `pytest tests/pages --pages _build/html`."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from relevance.pages.press import audit
from relevance.pages.press.chapters import read_chapters

ROOT = Path(__file__).parents[2]


YOURS = "own/your-own"  # whose numbers are of what a reader brings
COMMANDS = "appendix/released-code"  # which has calls, and no numbers
THEIRS = "appendix/architectures"  # whose numbers are the paper's


class Article(HTMLParser):
    """The text of a page's article, its pictures and its captions."""

    def __init__(self, path):
        super().__init__()
        self.text, self.pictures, self.captions = "", 0, 0
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        names = (dict(attrs).get("class") or "").split()
        self.pictures += tag == "img" or (tag == "svg" and "rr-figure" in names and "rr-narrow" not in names)
        self.captions += tag == "figcaption"

    def handle_data(self, data):
        self.text += data


def all_chapters():
    return [chapter.name for chapter in read_chapters(ROOT)]


def test_the_pages_keep_their_promises(pages):
    assert audit.problems(pages) == []


@pytest.mark.parametrize("chapter", all_chapters())
def test_every_chapter_is_a_page_with_its_figures(pages, chapter):
    path = pages / "book" / f"{chapter}.html"
    article = Article(path)
    source = (ROOT / "book" / f"{chapter}.md").read_text()
    # A picture that turns has its caption too; its other frames are no elements of the page.
    own = sum(
        source.count(call)
        for call in ("mystnb:", "interactive.turning(", "interactive.swapping(", "interactive.playground(")
    )
    assert article.pictures == article.captions == own
    assert article.pictures or "<table" in path.read_text()
    assert "<IPython.core.display" not in path.read_text()
    assert "This build." in article.text or "Recorded" in article.text or chapter in (YOURS, COMMANDS, THEIRS)


def test_the_answer_on_the_first_page_is_the_chapter_s(pages):
    first = Article(pages / "book/index.html").text
    chapter = Article(pages / "book/experiments/when.html").text
    (answer,) = re.findall(r"five runs of every model.*?\):\s+(.*?)\s+A number is", first, re.DOTALL)
    assert re.search(r"[+\N{MINUS SIGN}]0\.\d", answer)
    assert " ".join(answer.split()) in " ".join(chapter.split())


@pytest.mark.parametrize("run", ["mnist-dense", "mnist-convolutional", "fashion-dense"])
def test_numbers_on_the_page_follow_from_the_recorded_table(pages, run):
    # Anew from the file: mean differences of each setting, without the library's own way to them.
    table = pd.read_csv(ROOT / f"data/recorded/{run}/layers.csv.xz")
    table = table[table["attack"].isin(["FGSM", "PGD"])]
    wide = table.pivot_table(index=["attack", "layer", "image"], columns="model", values="lrp_robustness")
    most = max((name for name in wide if name.startswith("Bayesian")), key=lambda name: int(name.split()[1]))
    means = (wide[most] - wide["deterministic"]).groupby(level=[0, 1]).mean()
    low, high = (f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") for value in (means.min(), means.max()))
    text = " ".join(Article(pages / "book/experiments/layers.html").text.split())
    assert re.search(rf"Differences from {re.escape(low)} \[\S+ \S+\] \([^)]*\) to {re.escape(high)} \[", text)
