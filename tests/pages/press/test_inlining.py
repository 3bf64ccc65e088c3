"""Figures inside of their pages."""

from __future__ import annotations

from relevance.pages.figures.style import new_figure
from relevance.pages.press import inlining


def test_a_page_has_the_drawing_and_its_text_in_the_place_of_its_address(tmp_path):
    with new_figure(1, 1, (3, 2)) as (figure, axes):
        axes[0, 0].plot([0, 1])
    images = tmp_path / "_images"
    images.mkdir()
    (images / "a b.svg").write_text(figure.drawing)
    page = tmp_path / "book" / "page.html"
    page.parent.mkdir()
    (images / "mark.svg").write_text('<svg id="mark"></svg>')
    other = '<img alt="mark" src="../_static/favicon.svg"><img alt="mark" src="../_images/mark.svg">'
    shown = '<img alt="two &amp; a line" class="x" src="../_images/a%20b.svg" />'
    page.write_text(
        f'<p>{other}</p><a class="reference internal image-reference" href="../_images/a%20b.svg">{shown}</a>{shown}'
    )
    inlining.figures(tmp_path)
    text = page.read_text()
    assert text.count('<svg class="rr-figure" role="img" aria-label="two &amp; a line"') == 2
    assert other in text
    assert "a%20b" not in text
    assert "<a" not in text
