"""Every parameter of every chapter with values that it cannot have: refused by name, before anything is executed."""

from __future__ import annotations

import pytest

from campaign.sentences import assert_sentence
from oracles import chapters
from relevance.pages.press.chapters import ChapterError

pytestmark = pytest.mark.slow

NAN, INFINITE, HUGE = float("nan"), float("inf"), 10**400
NUMBERS = ["a", "", None, True, [], [1], {}, NAN, INFINITE, -INFINITE, -1]
BAD = {
    int: [*NUMBERS, 0.5],
    float: [*NUMBERS, HUGE],
    str: [0, 1.5, None, True, [], ["a"], {}],
    list: [0, "a", None, True, {}, [None], [True], [[]], [{}]],
    dict: [0, "a", None, True, [], ["a"]],
}
ITEMS = {
    int: ["a", 0.5, -1, NAN],
    float: ["a", -1, NAN, INFINITE, HUGE],
    str: [0, 0.5],
    list: [0, "a", [], ["a"], [NAN]],
}


def bad(default):
    """Values that a parameter with this default cannot have, whatever its name is."""
    yield from BAD[type(default)]
    if isinstance(default, list) and default:
        yield []
        for item in ITEMS[type(default[0])]:
            yield [item]
            yield [default[0], item]
    if isinstance(default, dict):
        yield from ({**default, name: -1} for name, value in default.items() if not isinstance(value, list))
        yield from ({**default, name: NAN} for name, value in default.items() if not isinstance(value, list))


CASES = [
    pytest.param(chapter.name, name, value, id=f"{chapter.name}-{name}-{repr(value)[:30]}")
    for chapter in chapters().values()
    for name, default in chapter.parameters.items()
    for value in bad(default)
    if default or value not in ([None], [True], [[]], [{}])  # of an empty default, the items may be anything
]
UNKNOWN = ["", "epsilons", "Seed", "n images", "__class__", "x" * 5]


@pytest.mark.parametrize(("chapter", "name", "value"), CASES)
def test_a_bad_value_is_refused_by_its_parameters_name(chapter, name, value):
    with pytest.raises(ChapterError) as caught:
        chapters()[chapter].resolved({name: value})
    assert_sentence(caught.value, f"parameter {name} of chapter {chapter}")


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("chapter", list(chapters()))
def test_an_unknown_parameter_is_named(chapter, name):
    with pytest.raises(ChapterError) as caught:
        chapters()[chapter].resolved({name: 1})
    assert_sentence(caught.value, chapter, repr(name), "it may be one of: ")


@pytest.mark.parametrize("chapter", list(chapters()))
def test_the_defaults_are_not_refused(chapter):
    assert chapters()[chapter].resolved(chapters()[chapter].parameters) == chapters()[chapter].parameters
