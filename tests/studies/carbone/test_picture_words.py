from __future__ import annotations

import pandas as pd
import pytest

from relevance.studies.carbone import picture_words as words
from relevance.studies.carbone import recipes
from relevance.studies.carbone.picture import PARTS
from relevance.studies.carbone.recipes import FROM_BOX

PARTS_OF = {"picture": dict.fromkeys(PARTS, True), "gone": dict.fromkeys(PARTS[:3], False) | {PARTS[3]: True}}


def changes(before="picture", after="gone", cell="as described"):
    same = {"recipe": FROM_BOX, "cell": cell}
    return pd.DataFrame([
        {"what": "the picture", **same, "k-LRP": 0.8, "k-LRP of SGD": 0.5, "rho": 0.6, "accuracy under attack": 0.7,
         **PARTS_OF[before]},
        {"what": "the margin followed", **same, "k-LRP": 0.51, "k-LRP of SGD": 0.52, "rho": -0.1, "accuracy under attack": 0.0,
         **PARTS_OF[after]},
    ])  # fmt: skip


def test_the_choices_are_named_and_what_takes_the_picture_away():
    assert words.in_short(changes(), "all images") == (
        "On all images, the whole of the paper's picture comes out with a chain with the prior N(0, 1) that starts anywhere in "
        "[-2, 2]."
    )
    assert words.left(changes()) == (
        "When the attack follows the margin, the correlation is gone; the gain over SGD goes from +0.300 to "
        "\N{MINUS SIGN}0.010, less than the picture asks for."
    )


def test_what_is_not_there_is_not_claimed():
    told = words.in_short(changes("gone", "picture", "top by sign"), "few")
    assert told.startswith(
        "On few, nothing gives the whole of the paper's picture; nearest, with 1 of 4 parts: a chain"
    )
    assert told.endswith(", and with one thing that the released code does otherwise (top by sign).")
    assert "a strong correlation appears; the gain" in words.left(changes("gone", "picture"))


def test_chains_that_mix_are_told_by_the_parts_that_it_has_and_lacks():
    rows = pd.concat([changes(), changes("gone").iloc[:1].assign(what=recipes.MIXED)])
    told = words.mixed(rows, "few")
    assert told.startswith("On few, chains that mix show 1 of its 4 parts: ")
    assert ". Missing: that maps are steadier, " in told
    whole = pd.concat([changes(), changes().iloc[:1].assign(what=recipes.MIXED)])
    assert "lack" not in words.mixed(whole, "few")


def test_every_recipe_has_words():
    assert set(words.CHOICES) == set(recipes.KNOWN) - {recipes.SGD, recipes.ENSEMBLE}


@pytest.fixture
def by_group():
    return pd.DataFrame({
        "group": ["masked"] * 3 + ["not masked"] * 3, "distance": [0.0, 0.01, 0.02] * 2, "images": [30] * 3 + [10] * 3,
        "wrong": [0.0, 0.4, 0.9, 0.5, 1.0, 1.0],
    })  # fmt: skip


def test_masked_images_are_told_by_how_near_they_are_to_failing(by_group):
    assert words.masked(by_group, 0.2) == (
        "Most images without a gradient are predicted wrongly after 10% of the attack's size along the margin's."
    )
    assert words.masked(by_group[3:], 0.2) == "No image has a gradient of zero here: there is nothing to show."
    assert words.masked(by_group[:2], 0.2).startswith("Most images without a gradient are still predicted rightly")
