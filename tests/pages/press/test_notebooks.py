"""Notebooks that run where they are downloaded, and the files that Binder and Colab ask for."""

from __future__ import annotations

import ast
import subprocess

import nbformat
import pytest

from relevance.pages.press import notebooks
from relevance.pages.press.chapters import BookError


def notebook(*cells):
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_markdown_cell("(label)=\n# Title\n\nText."), *map(nbformat.v4.new_code_cell, cells)]
    return made


@pytest.mark.parametrize(
    "address",
    ["https://github.com/own.er/na-me", "https://github.com/own.er/na-me.git", "git@github.com:own.er/na-me.git"],
)
def test_the_public_clone_is_git_s_origin_or_what_is_given(address, tmp_path, monkeypatch):
    monkeypatch.delenv("RELEVANCE_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert notebooks.repository(tmp_path) is None
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", address], check=True)
    assert notebooks.repository(tmp_path) == "own.er/na-me"
    monkeypatch.setenv("RELEVANCE_REPOSITORY", "https://github.com/a/b")
    assert notebooks.repository(tmp_path) == "a/b"
    monkeypatch.setenv("RELEVANCE_REPOSITORY", "a/b")
    with pytest.raises(BookError, match="RELEVANCE_REPOSITORY is 'a/b'; it must be the address of a clone on GitHub"):
        notebooks.repository(tmp_path)


def test_a_page_says_where_it_runs():
    with_clone, without = notebook("x = 1"), notebook("x = 1")
    notebooks.ready(with_clone, "method/some-chapter", "a/b")
    notebooks.ready(without, "method/some-chapter", None)
    for made in (with_clone, without):
        nbformat.validate(made)
        assert made.cells[1].source == "(label)=\n# Title\n\nText."
        assert made.cells[-1].source.startswith("## Run this page\n\nAs {download}`a notebook <some-chapter.ipynb>`")
        assert made.cells[0].metadata.tags == ["remove-cell"]
    told = with_clone.cells[-1].source
    assert "https://mybinder.org/v2/gh/a/b/HEAD?urlpath=lab%2Ftree%2Fbook%2Fmethod%2Fsome-chapter.md" in told
    assert "https://colab.research.google.com/github/a/b/blob/HEAD/binder/colab.ipynb" in told
    assert "http" not in without.cells[-1].source


def test_what_made_a_figure_is_folded_under_it(monkeypatch):
    monkeypatch.setattr(notebooks, "commit", lambda: "abc1234")
    made = notebook("n = 1", "n = 2", "draw()", "1 < 2")
    _, one, other, drawn, _ = made.cells
    one.metadata.tags, other.metadata.tags = ["parameters"], ["injected-parameters"]
    drawn.metadata.mystnb = {"figure": {"name": "fig-a"}}
    notebooks.ready(made, "a/b", None)
    nbformat.validate(made)
    assert [cell.cell_type for cell in made.cells] == [
        "code",
        "markdown",
        *["code"] * 3,
        "markdown",
        "code",
        "markdown",
    ]
    told = made.cells[5].source
    assert told.startswith('<details class="rr-folded made-with"><summary>Made with</summary>Commit abc1234, ')
    assert "<pre>n = 1\nn = 2</pre>" in told


def test_the_first_cell_does_nothing_where_the_library_is_and_says_what_to_do_where_not(monkeypatch):
    made = notebook()
    notebooks.ready(made, "explore", None)
    exec(made.cells[0].source)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match="is not installed in this kernel; open the notebook with the project's own"
    ):
        exec(made.cells[0].source)


def test_with_a_clone_the_first_cell_fetches_it():
    made = notebook()
    notebooks.ready(made, "explore", "a/b")
    assert "git clone --quiet --depth 1 https://github.com/a/b relevance-book" in made.cells[0].source
    from IPython.core.inputtransformer2 import TransformerManager

    ast.parse(TransformerManager().transform_cell(made.cells[0].source))
