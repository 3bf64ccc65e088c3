from __future__ import annotations

import json
import shutil
import subprocess
import sys

import nbformat
import pytest

from oracles import chapter_text
from relevance.pages.press import chapters, citation, parameters, press
from relevance.pages.press.chapters import BookError, read_chapters
from relevance.pages.press.press import Press, print_book


def keys(root, **given):
    chapters = read_chapters(root)
    chosen = parameters.resolve(root, chapters, given.pop("profile", "quick"), given)
    machine = Press(root)
    return {chapter.name: machine.inputs(chapter, chosen[chapter.name]) for chapter in chapters}


def test_all_that_a_chapter_depends_on_counts_as_change(book, monkeypatch, tmp_path_factory):
    before = keys(book)
    assert keys(book) == before
    (book / "book/one.md").write_text((book / "book/one.md").read_text() + "\nMore.\n")
    changed = keys(book)
    assert changed["one"] != before["one"]
    assert changed["two"] == before["two"]
    assert keys(book, size=4)["two"] != changed["two"]
    seen = [keys(book)["two"]]
    (book / "requirements/base.txt").write_text("another lock\n")
    seen.append(keys(book)["two"])
    (book / "data/recorded").mkdir(parents=True)
    (book / "data/recorded/run.csv").write_text("1\n")
    seen.append(keys(book)["two"])
    library = tmp_path_factory.mktemp("library")
    shutil.copytree(press.LIBRARY, library, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(press, "LIBRARY", library)
    seen.append(keys(book)["two"])
    assert seen.pop() == seen[-1]
    two = book / "book/two.md"
    two.write_text(chapter_text("Two", "from relevance import explanations\nexplanations.Epsilon(0.1)"))
    seen.append(keys(book)["two"])
    rules = library / "explanations/rules.py"
    rules.write_text(rules.read_text().replace("epsilon: float = checks.real(0.1", "epsilon: float = checks.real(0.2"))
    seen.append(keys(book)["two"])
    assert len(set(seen)) == len(seen)


def test_what_changes_no_result_is_no_change(book, monkeypatch, tmp_path_factory):
    (book / "book/two.md").write_text(
        chapter_text("Two", "from relevance import explanations\nexplanations.Epsilon(0.1)")
    )
    library = tmp_path_factory.mktemp("library")
    shutil.copytree(press.LIBRARY, library, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(press, "LIBRARY", library)
    before = keys(book)
    for path in library.rglob("*.py"):
        path.write_text('"""Another text."""\n# A remark.\n' + path.read_text() + "\n# And another.\n")
    (library / "metrics/overlap.py").write_text("x = 1\n")
    (book / "requirements/base.txt").write_text("# what is pinned\nlock  # by hand\n\n")
    assert keys(book) == before


def test_changed_data_count_as_change(book, tmp_path_factory):
    folder, elsewhere = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("elsewhere")
    (folder / "a").mkdir()
    (folder / "a/1.png").write_bytes(b"1")
    (folder / "b").symlink_to(elsewhere)  # followed, as by the reader
    seen = [keys(book, dataset=str(folder))["one"]]
    (folder / "a/1.png").write_bytes(b"2")
    seen.append(keys(book, dataset=str(folder))["one"])
    (folder / "a/1.png").rename(folder / "a/2.png")
    seen.append(keys(book, dataset=str(folder))["one"])
    (elsewhere / "3.png").write_bytes(b"3")
    seen.append(keys(book, dataset=str(folder))["one"])
    assert len(set(seen)) == 4


def test_what_is_installed_counts_as_change(book, monkeypatch):
    before = keys(book)
    monkeypatch.setattr("relevance.base.digests.distributions", lambda: [])
    assert keys(book)["one"] != before["one"]


def executed(root, name):
    (path,) = (root / "_build/executed" / name).glob("*.ipynb")
    return path, nbformat.read(path, as_version=4)


def text_of(notebook):
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.slow
def test_a_failed_chapter_is_named_the_others_are_kept_and_a_second_run_takes_up_from_there(book, capsys):
    (book / "book/two.md").write_text(chapter_text("Two", "ok = 1", "value = {}\nvalue['missing']"))
    with pytest.raises(BookError) as error:
        print_book(book)
    message = str(error.value)
    assert "chapter two failed in its code cell 3, at the line\n    value['missing']\n" in message
    assert str(book / "_build/failed/two.ipynb") in message
    assert "KeyError: 'missing'" in message
    assert text_of(executed(book, "one")[1]) == "size is 3 float\n"
    assert not list((book / "_build/executed").glob("two/*.ipynb"))
    assert (book / "_build/failed/two.ipynb").exists()
    assert not (book / "_build/html").exists()

    # A finished chapter that was damaged meanwhile is made again, and so is the one that failed.
    path, _ = executed(book, "one")
    path.write_text(path.read_text()[:200])
    (book / "book/two.md").write_text(chapter_text("Two", "print('mended')"))
    (book / "book/redirects.yml").write_text("before/one: one\n")
    page = print_book(book, profile="quick")
    printed = capsys.readouterr().out
    assert "is damaged; it is executed again" in printed
    assert "0 of 2 chapters unchanged, 2 to execute" in printed
    assert page == book / "_build/html/index.html"
    assert "mended" in (book / "_build/html/book/two.html").read_text()
    assert not (book / "_build/failed/two.ipynb").exists()
    assert '<a href="../one.html">' in (book / "_build/html/book/before/one.html").read_text()
    assert citation.read(book).title in (book / "_build/html/_static/citation.js").read_text()

    # A page that was lost is rendered again.
    (book / "_build/html/book/one.html").unlink()
    print_book(book)
    assert (book / "_build/html/book/one.html").exists()
    capsys.readouterr()

    # Nothing changed: nothing is executed, nothing is rendered.
    before = page.stat().st_mtime_ns
    print_book(book)
    printed = capsys.readouterr().out
    assert "2 of 2 chapters unchanged, 0 to execute" in printed
    assert "up to date" in printed
    assert page.stat().st_mtime_ns == before

    # A picture without alt text does not get into the book, and the last whole book stays.
    (book / "book/index.md").write_text("# Start\n\n![](_static/favicon.svg)\n")
    with pytest.raises(BookError, match="a picture has no alt text"):
        print_book(book)
    (book / "book/redirects.yml").write_text("before/one: three\n")
    with pytest.raises(BookError, match="leads from before/one to three, but there is no such page"):
        print_book(book)
    assert page.stat().st_mtime_ns == before
    (book / "book/index.md").write_text("# Start\n\nSee {ref}`nothing`.\n")
    with pytest.raises(BookError, match="nothing"):
        print_book(book)


@pytest.mark.slow
def test_a_single_chapter_takes_parameters_from_the_command_line(book):
    command = [sys.executable, "-m", "relevance.pages.press", "--root", str(book), "--chapter", "one"]
    command += ["--parameters", "size=5 share=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, notebook = executed(book, "one")
    assert text_of(notebook) == "size is 5 int\n"
    assert "The chapter is executed" in done.stdout
    assert not (book / "_build/html").exists()
    # The reader of a page sees the values that made it, and the defaults beside them.
    (injected,) = [c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", [])]
    assert "size = 5" in injected.source
    assert "dataset" not in injected.source
    assert not any(str(book) in json.dumps(cell) for cell in notebook.cells)
    assert "papermill" not in notebook.metadata


@pytest.mark.slow
def test_the_command_line_says_what_is_wrong_and_fails(book):
    done = subprocess.run(
        [sys.executable, "-m", "relevance.pages.press", "--root", str(book), "--profile", "huge"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "make: profile is 'huge'; it may be one of: other, quick."
    with pytest.raises(BookError, match="a parameter is given as 'size'; it must be name=value"):
        parameters.assignments("size")


@pytest.mark.slow
def test_a_chapter_that_is_edited_while_it_waits_is_not_served_as_the_new_one(book, monkeypatch):
    real = chapters.execute

    def edit_and_execute(chapter, *arguments, **options):
        real(chapter, *arguments, **options)
        chapter.path.write_text(chapter_text("One", "print('new')"))

    monkeypatch.setattr(press, "execute", edit_and_execute)
    with pytest.raises(BookError, match="was changed while it was executed, so its result is not kept"):
        print_book(book, chapter="one")
    assert not list((book / "_build/executed").rglob("*.ipynb"))
    monkeypatch.undo()
    assert text_of(nbformat.read(print_book(book, chapter="one"), 4)) == "new\n"


def test_two_builds_of_one_book_do_not_meet(book):
    with press.alone(book), pytest.raises(BookError, match="another build of the book in .* is running"):
        print_book(book)


@pytest.mark.slow
def test_other_parameters_results_are_kept(book):
    pages = [print_book(book, chapter="one", parameters={"size": size}) for size in (1, 2)]
    assert all(page.exists() for page in pages)


def test_complaints_name_the_sources():
    errors = (
        "Running ...\n\x1b[91m/a/b/_build/stage/book/x/one.ipynb:70002: WARNING: undefined label: 'q' [ref.ref]\x1b[0m\n"
        "/a/b/_build/stage/book/index.md:23: WARNING: odd\n"
    )
    assert press.complaints("", errors) == (
        "book/x/one.md: WARNING: undefined label: 'q' [ref.ref]\nbook/index.md:23: WARNING: odd"
    )


@pytest.mark.parametrize(("given", "order"), [("", ""), ("a", "a"), ("ab", "ab"), ("abc", "acb"), ("abcdef", "afbecd")])
def test_chapters_are_begun_from_both_ends(given, order):
    assert "".join(press.from_both_ends(list(given))) == order
