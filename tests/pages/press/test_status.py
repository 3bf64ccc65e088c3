from __future__ import annotations

import html

import nbformat
import pytest
from markdown_it import MarkdownIt

from relevance.pages.press import status


@pytest.mark.parametrize(
    "typed",
    ["a|b", "<script>alert(1)</script>", "`x`", "*x* _y_ __z__", "[a](http://b)", "{doc}`c`", "a &amp; b", "$x$", "back\\|slash",
     "~/data/images", "größe", "![a](b)"],
)  # fmt: skip
def test_a_path_that_was_typed_is_text_on_the_status_page(typed, tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    told = status.filled(status.PLACE, [status.Executed("one", {"dataset": typed}, path)])
    page = MarkdownIt().enable("table").render(told)
    assert f"<td>{html.escape(typed)}</td>" in page


def test_a_line_break_does_not_end_a_row(tmp_path):
    path = tmp_path / "one.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), path)
    told = status.filled(status.PLACE, [status.Executed("one", {"dataset": "a\n\n# b"}, path)])
    assert "| a &#35; b |" in told
