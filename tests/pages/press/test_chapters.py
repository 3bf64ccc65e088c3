from __future__ import annotations

import pytest

from oracles import chapter_text
from relevance.pages.press import chapters
from relevance.pages.press.chapters import BookError, Chapter, ChapterError, read_chapters
from relevance.pages.press.press import print_book


def test_chapters_are_those_of_the_toc_that_have_code(book):
    assert [chapter.name for chapter in read_chapters(book)] == ["one", "two"]
    assert read_chapters(book)[0].parameters == {"dataset": "digits", "size": 3, "share": 0.5, "names": ["a"]}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "chapter one has 0 cells with the tag 'parameters'; it must have exactly one"),
        ("size = 2 * 3", "the parameters cell of chapter one has the line 'size = 2 \\* 3'"),
        ("import os", "has the line 'import os'"),
        ("a, b = 1, 2", "each line must give one name a literal value"),
        ("a = b = 1", "has the line 'a = b = 1'"),
    ],
)
def test_a_parameters_cell_that_is_none_gets_a_sentence(book, parameters, message):
    (book / "book/one.md").write_text(chapter_text("One", "1", parameters=parameters))
    with pytest.raises(BookError, match=message):
        print_book(book)


def test_a_missing_chapter_gets_a_sentence(book):
    (book / "book/two.md").unlink()
    with pytest.raises(BookError, match=r"_toc.yml names book/two, but there is no file book/two.md"):
        print_book(book)


@pytest.mark.slow
def test_only_a_notebook_as_it_was_written_is_finished(book):
    page = print_book(book, chapter="one")
    chapter, key = read_chapters(book)[0], page.stem
    assert chapter.is_executed(page, key)
    assert not chapter.is_executed(page, "another key")
    assert not read_chapters(book)[1].is_executed(page, key)
    assert not chapter.is_executed(book / "nowhere.ipynb", key)
    text = page.read_text()
    page.write_text(text.replace("size is 3", "size is 9"))
    assert not chapter.is_executed(page, key)
    page.write_text(text[:-20])
    assert not chapter.is_executed(page, key)


@pytest.mark.slow
def test_an_unfinished_execution_leaves_no_finished_notebook(book, monkeypatch):
    def die(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(chapters.nbformat, "write", die)  # killed while the result is being written
    with pytest.raises(KeyboardInterrupt):
        print_book(book, chapter="one")
    assert not list((book / "_build/executed").rglob("*.ipynb"))


def test_a_page_of_text_may_show_code(book):
    (book / "book/index.md").write_text("# Start\n\n```python\nprint(1)\n```\n")
    assert [chapter.name for chapter in read_chapters(book)] == ["one", "two"]


def test_a_chapter_outside_the_press_is_the_same_chapter(book):
    chapter = Chapter("one", book / "book/one.md")
    with pytest.raises(ChapterError, match="chapter one has no parameter 'colour'"):
        chapter.resolved({"colour": 1})
    assert chapter.resolved({"size": 9})["size"] == 9
