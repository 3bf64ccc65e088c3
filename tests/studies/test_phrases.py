"""Lists of names by direction, and in order, as sentences have them."""

from __future__ import annotations

import pandas as pd

from relevance.studies import phrases


def test_names_stand_under_the_words_of_their_direction():
    directions = pd.Series({"a": 1, "b": -1, "c": 1})
    words = {1: "more for", -1: "less for", 0: "neither for"}
    assert phrases.by_direction(directions, words) == ["more for a and c", "less for b"]
    assert phrases.by_direction(directions, words, "; ".join) == ["more for a; c", "less for b"]


def test_an_interval_has_a_direction_only_if_it_leaves_the_value_out():
    low, high = pd.Series([0.1, -0.2, -0.1, 0.0]), pd.Series([0.2, -0.1, 0.1, 0.3])
    assert phrases.direction(low, high).tolist() == [1, -1, 0, 0]
    assert phrases.direction(low, high, at=0.25).tolist() == [-1, -1, -1, 0]


def test_equal_values_keep_their_order():
    assert phrases.ranked({"a": 0.2, "b": 0.1, "c": 0.2}) == "b 0.100, a 0.200, c 0.200"
    assert phrases.ranked(pd.Series({"a": 0.2, "b": 0.1}), ".1f", ascending=False) == "a 0.2, b 0.1"


def test_what_most_have_in_common_comes_first_and_exceptions_have_names():
    words = {1: "more for", -1: "less for", 0: "neither for"}
    ways = pd.Series({"a": 1, "b": 1, "c": 1, "d": -1, "e": 0})
    assert phrases.mostly(ways, words, "methods") == "more for 3 of 5 methods, less for d, and neither for e"
    assert phrases.mostly(ways[:3], words, "methods") == "more for all 3 methods"
    assert phrases.mostly(ways[:1], words, "methods") == "more for a"
    many = pd.Series([1] * 9 + [0] * 4 + [-1] * 3, index=[f"m{number}" for number in range(16)])
    assert phrases.mostly(many, words, "methods") == "more for 9 of 16 methods, neither for 4, and less for the others"
    # One name that several entries have is said once.
    assert phrases.mostly(pd.Series([1, 1, 1, 0, 0, 0], index=[*"abc", *"ddd"]), words, "settings").endswith(
        "neither for d"
    )
