from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks import HEAD
from relevance import chapters as chapters_module
from relevance import press, profiles
from relevance.chapters import BookError, Chapter, ChapterError, read_chapters
from relevance.press import Press, print_book

PROJECT = Path(__file__).parents[1]


def chapter_text(title, *cells, parameters="dataset = 'digits'\nsize = 3\nshare = 0.5\nnames = ['a']"):
    blocks = [f"```{{code-cell}} ipython3\n:tags: [parameters]\n\n{parameters}\n```"] if parameters is not None else []
    blocks += [f"```{{code-cell}} ipython3\n{cell}\n```" for cell in cells]
    return HEAD + f"# {title}\n\n" + "\n\n".join(blocks) + "\n"


@pytest.fixture
def book(tmp_path):
    """A project of three small pages, one of them text, with the real configuration."""
    (tmp_path / "book/profiles").mkdir(parents=True)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/base.txt").write_text("lock\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n- file: book/one\n  sections:\n  - file: book/two\n"
    )
    shutil.copy(PROJECT / "_config.yml", tmp_path)
    shutil.copytree(PROJECT / "book/_static", tmp_path / "book/_static")
    shutil.copy(PROJECT / "book/references.bib", tmp_path / "book")
    (tmp_path / "book/index.md").write_text("# Start\n\nText alone.\n")
    (tmp_path / "book/one.md").write_text(chapter_text("One", "print('size is', size, type(share).__name__)"))
    (tmp_path / "book/two.md").write_text(chapter_text("Two", "print('two')"))
    (tmp_path / "book/profiles/quick.yml").write_text("common: {dataset: digits}\n")
    (tmp_path / "book/profiles/other.yml").write_text("common: {size: 7}\nchapters:\n  two: {size: 8}\n")
    return tmp_path


def keys(root, **given):
    chapters = read_chapters(root)
    chosen = profiles.resolve(root, chapters, given.pop("profile", "quick"), given)
    machine = Press(root)
    return {chapter.name: machine.inputs(chapter, chosen[chapter.name]) for chapter in chapters}


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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"profile": "huge"}, "profile is 'huge'; it may be one of: other, quick"),
        ({"common": {"colour": 1}}, "the command sets the parameter 'colour', which no chapter has; it may be one of: "
         "dataset, names, share, size"),
        ({"chapter": "three"}, "chapter is 'three'; it may be one of: one, two"),
        ({"chapter": "one", "parameters": {"sise": 2}}, "chapter one has no parameter 'sise'; it may be one of: data"),
        ({"chapter": "one", "parameters": {"size": "big"}}, "parameter size of chapter one is 'big'; it must be a "
         "whole number such as 3"),
        ({"chapter": "one", "parameters": {"size": 2.5}}, "it must be a whole number"),
        ({"chapter": "one", "parameters": {"size": True}}, "it must be a whole number"),
        ({"chapter": "one", "parameters": {"names": ["a", 1]}}, "it must be a list such as"),
        ({"chapter": "one", "common": {"colour": 1}}, "chapter one has no parameter 'colour'"),
        ({"common": {"dataset": ""}}, "dataset is ''; it may be one of"),
        ({"common": {"dataset": "nowhere"}}, "dataset is 'nowhere'; it may be one of: cifar10, digits"),
    ],
)  # fmt: skip
def test_bad_choices_get_a_sentence_before_anything_runs(book, given, message):
    with pytest.raises(BookError, match=message):
        print_book(book, **given)
    assert not (book / "_build/executed").exists()


def test_profiles_may_name_only_what_there_is(book):
    (book / "book/profiles/quick.yml").write_text("chapters: {four: {size: 1}}\n")
    with pytest.raises(BookError, match="profile quick names the chapter 'four'; it may be one of: one, two"):
        print_book(book)
    (book / "book/profiles/quick.yml").write_text("chapter: {}\n")
    with pytest.raises(BookError, match="profile quick has the sections chapter; it may have: common, chapters"):
        print_book(book)


def test_parameters_go_from_defaults_over_profile_to_what_is_given(book):
    chapters = read_chapters(book)
    chosen = profiles.resolve(book, chapters, "other", {"share": 1})
    assert [chosen[name]["size"] for name in ("one", "two")] == [7, 8]
    assert chosen["one"]["share"] == 1
    assert chosen["one"]["dataset"] == "digits"


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
    assert seen[-1] == seen[-2]
    rules = library / "explanations/rules.py"
    rules.write_text(rules.read_text() + "\n")
    seen[-1] = keys(book)["two"]
    assert len(set(seen)) == len(seen)


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
    monkeypatch.setattr("relevance.digests.distributions", lambda: [])
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
    page = print_book(book, profile="quick")
    printed = capsys.readouterr().out
    assert "is damaged; it is executed again" in printed
    assert "0 of 2 chapters unchanged, 2 to execute" in printed
    assert page == book / "_build/html/index.html"
    assert "mended" in (book / "_build/html/book/two.html").read_text()
    assert not (book / "_build/failed/two.ipynb").exists()

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
    assert page.stat().st_mtime_ns == before
    (book / "book/index.md").write_text("# Start\n\nSee {ref}`nothing`.\n")
    with pytest.raises(BookError, match="nothing"):
        print_book(book)


@pytest.mark.slow
def test_a_single_chapter_takes_parameters_from_the_command_line(book):
    command = [sys.executable, "-m", "relevance.press", "--root", str(book), "--chapter", "one"]
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


def test_the_command_line_says_what_is_wrong_and_fails(book):
    done = subprocess.run(
        [sys.executable, "-m", "relevance.press", "--root", str(book), "--profile", "huge"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "make: profile is 'huge'; it may be one of: other, quick."
    with pytest.raises(BookError, match="a parameter is given as 'size'; it must be name=value"):
        profiles.assignments("size")


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


def test_a_chapter_that_is_edited_while_it_waits_is_not_served_as_the_new_one(book, monkeypatch):
    real = press.execute

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
    with press._alone(book), pytest.raises(BookError, match="another build of the book in .* is running"):
        print_book(book)


def test_an_unfinished_execution_leaves_no_finished_notebook(book, monkeypatch):
    def die(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(chapters_module.nbformat, "write", die)  # killed while the result is being written
    with pytest.raises(KeyboardInterrupt):
        print_book(book, chapter="one")
    assert not list((book / "_build/executed").rglob("*.ipynb"))


def test_other_parameters_results_are_kept(book):
    pages = [print_book(book, chapter="one", parameters={"size": size}) for size in (1, 2)]
    assert all(page.exists() for page in pages)


def test_parameters_without_a_chapter_are_for_all_that_have_them(book):
    with pytest.raises(BookError, match="the command sets the parameter 'colour', which no chapter has"):
        print_book(book, parameters={"colour": 1})


def test_complaints_name_the_sources():
    errors = (
        "Running ...\n\x1b[91m/a/b/_build/stage/book/x/one.ipynb:70002: WARNING: undefined label: 'q' [ref.ref]\x1b[0m\n"
        "/a/b/_build/stage/book/index.md:23: WARNING: odd\n"
    )
    assert press.complaints("", errors) == (
        "book/x/one.md: WARNING: undefined label: 'q' [ref.ref]\nbook/index.md:23: WARNING: odd"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-3", 0.001), ("true", True), ("None", None), ("[1, 10]", [1, 10]), ("['a']", ["a"]), ("abc", "abc"),
     ("010", "010"), ("1:30", "1:30"), ("[1,", "[1,"), ("", ""), ("@x", "@x")],
)  # fmt: skip
def test_values_are_read_as_they_are_written(text, value):
    assert profiles.assignments(f"x={text}") == {"x": value}
    assert type(profiles.assignments(f"x={text}")["x"]) is type(value)
    assert profiles.assignments(f"a=1  x={text} b=[2, 3]") == {"a": 1, "x": value, "b": [2, 3]}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("_toc.yml", "a: [", "_toc.yml cannot be read"),
        ("_toc.yml", "", "names no chapter with code"),
        ("book/profiles/quick.yml", "a: [", "profile quick is not YAML"),
        ("book/profiles/quick.yml", "[1]", "profile quick is \\[1\\]; it must be names with values"),
        ("book/profiles/quick.yml", "common: [a]", "section common of profile quick is \\['a'\\]"),
        ("book/profiles/quick.yml", "chapters: {one: [1]}", "chapter one of profile quick is \\[1\\]"),
        (
            "book/one.md",
            chapter_text("One", "1", parameters="size = ="),
            "the parameters cell of chapter one is not Python",
        ),
        ("book/one.md", chapter_text("One", "1", parameters="size = {1}"), "has the line 'size = .1.'"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_gets_a_sentence(book, file, text, message):
    (book / file).write_text(text)
    with pytest.raises(BookError, match=message):
        print_book(book)


def test_a_page_of_text_may_show_code(book):
    (book / "book/index.md").write_text("# Start\n\n```python\nprint(1)\n```\n")
    assert [chapter.name for chapter in read_chapters(book)] == ["one", "two"]


def test_a_chapter_outside_the_press_is_the_same_chapter(book):
    chapter = Chapter("one", book / "book/one.md")
    with pytest.raises(ChapterError, match="chapter one has no parameter 'colour'"):
        chapter.resolved({"colour": 1})
    assert chapter.resolved({"size": 9})["size"] == 9


@pytest.mark.parametrize(("given", "order"), [("", ""), ("a", "a"), ("ab", "ab"), ("abc", "acb"), ("abcdef", "afbecd")])
def test_chapters_are_begun_from_both_ends(given, order):
    assert "".join(press.from_both_ends(list(given))) == order
