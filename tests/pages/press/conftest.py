from __future__ import annotations

import shutil

import pytest

from oracles import ROOT, chapter_text


@pytest.fixture
def book(tmp_path):
    """A project of three small pages, one of them text, with the real configuration."""
    (tmp_path / "book/profiles").mkdir(parents=True)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/base.txt").write_text("lock\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/one\n  sections:\n  - file: book/two\n"
    )
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(ROOT / "CITATION.cff", tmp_path)
    shutil.copytree(ROOT / "book/_static", tmp_path / "book/_static")
    shutil.copy(ROOT / "book/references.bib", tmp_path / "book")
    (tmp_path / "book/index.md").write_text("# Start\n\nText alone.\n")
    (tmp_path / "book/one.md").write_text(chapter_text("One", "print('size is', size, type(share).__name__)"))
    (tmp_path / "book/two.md").write_text(chapter_text("Two", "print('two')"))
    (tmp_path / "book/profiles/quick.yml").write_text("common: {dataset: digits}\n")
    (tmp_path / "book/profiles/other.yml").write_text("common: {size: 7}\nchapters:\n  two: {size: 8}\n")
    return tmp_path
