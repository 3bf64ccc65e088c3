"""Old addresses lead on, from disk and over the network; a browser follows them below tests/browser."""

from __future__ import annotations

import pytest

from relevance.pages.press import audit, redirects
from relevance.pages.press.chapters import BookError


@pytest.fixture
def pages(tmp_path):
    """Three pages, and what they are linked from."""
    for name in ("one", "part/two", "part/three"):
        page = tmp_path / "book" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"<title>{name}</title><h1 id='top-of'>{name}</h1>")
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=book/one.html" />')
    return tmp_path


def given(root, text):
    (root / redirects.FILE).write_text(text)
    return redirects.read(root)


def test_without_a_file_nothing_has_moved(tmp_path):
    assert redirects.read(tmp_path) == {}


def test_a_page_is_left_at_an_old_address(pages):
    moved = given(pages, "part/old: part/two#top-of\nelsewhere/old: one\n")
    redirects.leave(moved, pages)
    left = (pages / "book/part/old.html").read_text()
    assert '<a href="two.html#top-of">' in left
    assert 'location.replace("two.html" + location.search + (location.hash || "#top-of"))' in left
    assert '<a href="../one.html">' in (pages / "book/elsewhere/old.html").read_text()
    assert audit.problems(pages) == []


def test_the_audit_follows_redirects(pages):
    redirects.leave({"old": "one#nowhere"}, pages)
    assert audit.problems(pages) == ["book/old.html: a link leads nowhere: one.html#nowhere"]
    (pages / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=book/Gone.html" />')
    assert "index.html: a link leads nowhere: book/Gone.html" in audit.problems(pages)


@pytest.mark.parametrize(
    ("moved", "message"),
    [
        ({"old": "four"}, "leads from old to four, but there is no such page"),
        ({"older": "old", "old": "one"}, "leads from older to old, but there is no such page"),
        ({"part/two": "one"}, "leads away from part/two, but there is such a page"),
    ],
)
def test_a_redirect_leads_to_a_page_and_from_none(pages, moved, message):
    with pytest.raises(BookError, match=message):
        redirects.leave(moved, pages)
    assert len(list(pages.rglob("*.html"))) == 4


@pytest.mark.parametrize(
    "text",
    ["- a\n", "a: [b]\n", "a: ../b\n", "/a: b\n", "a: https://example.org\n", "a: b#c#d\n", "a: b.html\n", "a: [\n"],
)
def test_a_mapping_of_another_form_is_refused(pages, text):
    with pytest.raises(BookError, match="book/redirects.yml") as error:
        given(pages, text)
    assert len(str(error.value)) <= 300
