from __future__ import annotations

import shutil

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from oracles import ROOT
from relevance.pages.press import citation, pdf
from relevance.pages.press.chapters import BookError

HEAD = (
    '<html><head><link rel="stylesheet" href="../_static/a.css"><script src="../_static/other.js"></script>'
    '<script defer src="../_static/mathjax/m.js?v=1"></script></head><body><nav>Chapters</nav><article>'
)
PAGES = {
    "index": '<h1>Start</h1><p><a href="a/one.html#there">one</a>, <a href="two.html#gone">two</a>, '
    '<a href="two.html">all of two</a>, <a href="https://example.org/">away</a>, <a href="../genindex.html">index</a></p>',
    "a/one": '<h1 id="one">One &amp; only<a class="headerlink" href="#one">#</a></h1>'
    '<p id="there">There: <a href="#one">up</a>.</p>'
    '<img src="../../_images/p.png" alt="A map"><img src="data:image/gif;base64,AA" alt="A dot">'
    '<div class="cell"><div class="cell_input">secret = 1</div></div>'
    '<div class="cell"><div class="cell_input">x.shape</div><div class="output text_plain">Size</div></div>'
    '<div class="cell"><details class="hide"><summary>Show code</summary><div class="cell_input">secret</div></details></div>',
    "two": '<h1>"Two" &lt;3</h1><label for="there">as in one</label><p id="there">There too.</p>'
    "<details><summary>Few rows</summary><table><tr><td>7.25</td></tr></table></details>"
    f"<details><summary>Many rows</summary><table>{'<tr><td>8.25</td></tr>' * 13}</table></details>"
    '<div class="text_html"><div><canvas></canvas><button>Play</button></div></div>'
    '<div class="text_html"><figure><canvas></canvas><img src="data:," alt="The first state"></figure></div>',
    "last": '<h1><span class="section-number">7. </span>Last</h1><p>The end.</p>',
}


@pytest.fixture
def root(tmp_path):
    """A project whose book was printed."""
    for name, article in PAGES.items():
        page = tmp_path / pdf.HTML / "book" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"{HEAD}{article}</article></body></html>")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n- caption: First\n  chapters:\n  - file: book/a/one\n"
        "- caption: Appendix\n  chapters:\n  - file: book/two\n  - file: book/last\n"
    )
    shutil.copy(ROOT / citation.FILE, tmp_path)
    (tmp_path / pdf.STYLE).parent.mkdir(parents=True)
    shutil.copy(ROOT / pdf.STYLE, tmp_path / pdf.STYLE)
    return tmp_path


@pytest.fixture
def soup(root):
    return BeautifulSoup(pdf.document(root, citation.read(root)), "html.parser")


def test_chapters_stand_in_order_with_their_numbers(soup):
    assert [one["id"] for one in soup.select(".chapter")] == ["c0", "c1", "c2", "c3"]
    headings = [heading.get_text() for heading in soup.select(".chapter h1")]
    assert headings == ["Start", "1\N{EN SPACE}One & only", 'A\N{EN SPACE}"Two" <3', "7\N{EN SPACE}Last"]
    listed = [line.get_text(" ", strip=True) for line in soup.select(".contents li")]
    assert listed == ["Start", "First", "1 One & only", "Appendix", 'A "Two" <3', "7 Last"]
    assert "The Resilient Relevance authors" in soup.select_one(".title-page").get_text()
    assert soup.find("nav") is None


def test_links_lead_into_the_document_or_away(soup):
    links = [link["href"] for link in soup.select(".chapter a")]
    assert links == ["#c1-there", "#c2", "#c2", "https://example.org/", "#c1-one"]
    named = [one["id"] for one in soup.select("[id]")]
    assert len(named) == len(set(named))
    assert all(link["href"][1:] in named for link in soup.select('a[href^="#"]'))
    assert soup.find("label")["for"] == "c2-there"


def test_pictures_and_styles_come_from_the_printed_pages(root, soup):
    html = (root / pdf.HTML).resolve()
    assert [one["src"] for one in soup.select("#c1 img")] == [
        (html / "_images/p.png").as_uri(),
        "data:image/gif;base64,AA",
    ]
    assert [one["src"] for one in soup.select("script")] == [(html / "_static/mathjax/m.js").as_uri()]
    assert soup.select_one("link")["href"] == (html / "_static/a.css").as_uri()


def test_what_paper_cannot_do_is_left_out(soup):
    one, two = (soup.select_one(mark).get_text(" ", strip=True) for mark in ("#c1", "#c2"))
    assert "secret" not in one
    assert "Show code" not in one
    assert "x.shape" in one  # without which its result says nothing
    assert len(soup.select("#c1 .cell")) == 1
    assert "7.25" in two
    assert "8.25" not in two
    assert "Many rows: in the book's pages." in two
    assert "Play" not in two
    assert two.count("is played with") == 1
    assert soup.find("img", alt="The first state") is not None


def test_it_refuses_without_a_browser_or_a_book(root, monkeypatch, capsys):
    (root / pdf.HTML / "book/last.html").unlink()
    with pytest.raises(BookError, match="the book is not printed, or not since book/last came into _toc.yml"):
        pdf.document(root, citation.read(root))
    monkeypatch.setattr(pdf, "chromium", lambda: "chromium")
    shutil.rmtree(root / pdf.HTML)
    assert pdf.main(["--root", str(root)]) == 1
    assert capsys.readouterr().err == "make: the book is not printed; run make book first.\n"
    monkeypatch.undo()
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.main(["--root", str(root)]) == 1
    assert capsys.readouterr().err.startswith("make: no Chromium is installed")


def test_a_browser_that_prints_nothing_is_named(root, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "chromium", lambda: "/bin/false")
    with pytest.raises(BookError, match="Chromium has not printed the PDF: status 1"):
        pdf.print_pdf(root)


def links(reader):
    """The pages, from 1, to which the links of a PDF lead in it."""
    found = [one.get_object() for page in reader.pages for one in page.get("/Annots", [])]
    places = reader.named_destinations
    return [reader.get_destination_page_number(places[one["/Dest"]]) + 1 for one in found if "/Dest" in one]


@pytest.mark.slow
def test_the_pdf_has_numbers_links_and_an_outline(root):
    if not any(map(shutil.which, pdf.BROWSERS)):
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    (root / pdf.HTML / "_static/mathjax").mkdir(parents=True)
    (root / pdf.HTML / "_static/a.css").touch()
    (root / pdf.HTML / "_static/mathjax/m.js").touch()
    reader = PdfReader(pdf.print_pdf(root))
    texts = [page.extract_text() for page in reader.pages]
    # A title page, the table of contents, and a page for each chapter.
    assert len(texts) == 6
    assert [line.split()[-1] for line in texts[1].splitlines() if "Last" in line or "only" in line] == ["4", "6"]
    assert "There too." in texts[4]
    assert texts[5].count("Last") == 2  # its heading, and at the head of the page
    outline = {" ".join(one.title.split()): reader.get_destination_page_number(one) + 1 for one in reader.outline}
    assert outline == {"Contents": 2, "Start": 3, "1 One & only": 4, 'A "Two" <3': 5, "7 Last": 6}
    assert links(reader) == [*range(3, 7), 4, 5, 5, 4]
