from __future__ import annotations

import pandas as pd
import pytest

from relevance.metrics.statistics import Correlation
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


def test_chains_are_not_said_to_mix_where_they_have_not_converged():
    rows = changes().assign(recipe=recipes.MIXED)
    assert "with chains that mix" in words.in_short(rows, "few")
    assert "with long chains, which have not converged" in words.in_short(rows, "few", converged=False)


def test_chains_that_mix_are_told_by_the_parts_that_it_has_and_lacks():
    rows = pd.concat([changes(), changes("gone").iloc[:1].assign(what=recipes.MIXED)])
    near = Correlation(-0.21, -0.33, -0.08, 0.001, 250)
    told = words.mixed(rows, "few", near)
    assert told.startswith("On few, chains that mix show 1 of its 4 parts: ")
    assert ". Missing: that maps are steadier, " in told
    assert "limit" not in told
    whole = pd.concat([changes(), changes().iloc[:1].assign(what=recipes.MIXED)])
    assert "issing" not in words.mixed(whole, "few", near)


@pytest.mark.parametrize(("rho", "is_open"), [((-0.21, -0.33, -0.08), True), ((0.5, 0.3, 0.7), False)])
def test_a_missing_link_has_its_number_and_the_limit(rho, is_open):
    lacks = changes().iloc[:1].assign(what=recipes.MIXED, **{PARTS[3]: False})
    told = words.mixed(pd.concat([changes(), lacks]), "few", Correlation(*rho, 0.001, 250))
    assert "SGD's maps show no link to its predictions (rank correlation " in told
    assert ("holds the limit" in told) == is_open


def test_how_much_of_the_gain_is_of_frozen_images():
    found = pd.DataFrame({
        "population": ["frozen", "moved", "both"], "images": [20, 80, 100], "gain over SGD": [0.3, 0.05, 0.1],
    })  # fmt: skip
    assert words.frozen(found) == (
        "20% of the images have no gradient, and make 60% of the gain over SGD of +0.100; on the others it is +0.050."
    )
    assert words.frozen(found.assign(images=[0, 100, 100])).startswith("No image is without a gradient there; ")


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
