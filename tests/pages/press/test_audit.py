from __future__ import annotations

import pytest

from relevance.pages.press import audit

GOOD = """<html><head><link rel="stylesheet" href="_static/a.css"><link rel="canonical" href="https://example.org/">
<script src="_static/a.js"></script></head><body><img src="_images/abc.png" alt="A map">
<a href="https://example.org/paper">the paper</a><p>We print https://example.org as text.</p></body></html>"""


@pytest.fixture
def pages(tmp_path):
    (tmp_path / "index.html").write_text(GOOD)
    return tmp_path


def test_a_page_that_keeps_its_promises_passes(pages):
    (pages / "a.css").write_text("@import 'b.css'; p { background: url(c.png) url('data:image/png;base64,AA//') }")
    assert audit.problems(pages) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<img src="_images/abc.png">', "a picture has no alt text: _images/abc.png"),
        ('<img src="_images/abc.png" alt=" ">', "no alt text"),
        ('<img src="../_images/abc.png" alt="_images/abc.png">', "no alt text"),  # what Sphinx writes for none
        ('<script src="https://cdn.example.org/x.js"></script>', "<script src> asks another host: https://cdn"),
        ('<script src="//cdn.example.org/x.js"></script>', "asks another host"),
        ('<link rel="preload stylesheet" href="http://x.org/y.css">', "<link href> asks another host"),
        ('<link rel="preconnect" href="https://fonts.example.org">', "asks another host"),
        ('<img alt="m" src="a.png" srcset="a.png 1x, https://x.org/a.png 2x">', "<img srcset> asks another host"),
        ('<iframe src="https://x.org"></iframe>', "asks another host"),
        ("<style>@import 'https://x.org/y.css';</style>", "a style asks another host: https://x.org/y.css"),
        ("<p style=\"background: url('//x.org/y.png')\">", "a style asks another host"),
        ("<pre>Traceback (most recent call last):</pre>", "a cell's error is shown"),
    ],
)
def test_a_page_that_breaks_one_is_named(pages, html, problem):
    (pages / "sub").mkdir()
    (pages / "sub/page.html").write_text(f"<html><body>{html}</body></html>")
    found = audit.problems(pages)
    assert len(found) == 1
    assert found[0].startswith("sub/page.html: ")
    assert problem in found[0]


def test_links_are_followed_to_files_and_their_anchors(pages):
    (pages / "sub").mkdir()
    (pages / "sub/page.html").write_text("<h1 id='a b'>A</h1><a name='old'></a><p id='x'></p>")
    (pages / "notebook.ipynb").write_text("{}")
    here = """<a href="sub/page.html">1</a> <a href="sub/page.html#x">2</a> <a href="sub/page.html?v=1#a%20b">3</a>
    <a href="sub/page.html#old">4</a> <a href="#">5</a> <a href="#top">6</a> <a id="own" href="#own">7</a>
    <a href="notebook.ipynb">8</a> <a href="https://example.org/#y">9</a> <a href="mailto:a@example.org">10</a>"""
    (pages / "here.html").write_text(here)
    assert audit.problems(pages) == []
    lost = ["gone.html", "page.html#gone", "#gone", "..", "../page.html"]
    (pages / "sub/lost.html").write_text("".join(f"<a href='{link}'>to</a>" for link in lost))
    assert audit.problems(pages) == [f"sub/lost.html: a link leads nowhere: {link}" for link in lost]


def test_a_playground_reads_choices_in_the_place_of_an_anchor(pages):
    (pages / "play.html").write_text('<figure class="x rr-scene"></figure><a href="#model=bayesian">one</a>')
    (pages / "here.html").write_text(
        '<a href="play.html#model=bayesian&top=5">one</a> <a href="#model=bayesian">here</a>'
    )
    assert audit.problems(pages) == ["here.html: a link leads nowhere: #model=bayesian"]


def test_stylesheets_are_read_too(pages):
    (pages / "a.css").write_text("@font-face { src: url(https://fonts.example.org/a.woff2) }")
    assert audit.problems(pages) == ["a.css: asks another host: https://fonts.example.org/a.woff2"]


def test_a_book_without_a_first_page_is_none(tmp_path):
    assert "there is no index.html" in audit.problems(tmp_path)[0]
