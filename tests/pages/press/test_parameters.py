from __future__ import annotations

import pytest

from oracles import chapter_text
from relevance.pages.press import parameters
from relevance.pages.press.chapters import BookError, read_chapters
from relevance.pages.press.press import print_book


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
        ({"chapter": "one", "parameters": {"names": ["a", 1]}}, "it must be a list of texts, not empty, such as"),
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
    chosen = parameters.resolve(book, chapters, "other", {"share": 1})
    assert [chosen[name]["size"] for name in ("one", "two")] == [7, 8]
    assert chosen["one"]["share"] == 1
    assert chosen["one"]["dataset"] == "digits"


def test_parameters_without_a_chapter_are_for_all_that_have_them(book):
    with pytest.raises(BookError, match="the command sets the parameter 'colour', which no chapter has"):
        print_book(book, parameters={"colour": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-3", 0.001), ("true", True), ("None", None), ("[1, 10]", [1, 10]), ("['a']", ["a"]), ("abc", "abc"),
     ("010", "010"), ("1:30", "1:30"), ("[1,", "[1,"), ("", ""), ("@x", "@x")],
)  # fmt: skip
def test_values_are_read_as_they_are_written(text, value):
    assert parameters.assignments(f"x={text}") == {"x": value}
    assert type(parameters.assignments(f"x={text}")["x"]) is type(value)
    assert parameters.assignments(f"a=1  x={text} b=[2, 3]") == {"a": 1, "x": value, "b": [2, 3]}


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
