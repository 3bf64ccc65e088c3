from __future__ import annotations

import pandas as pd
import pytest

from relevance.studies.carbone import picture_words as words
from relevance.studies.carbone import recipes
from relevance.studies.carbone.criteria import CHANGES, NO, OPEN, YES
from relevance.studies.carbone.picture import PARTS
from relevance.studies.carbone.recipes import FROM_BOX, FROM_SGD, LETTER, MIXED

CHAINS = {"n_chains": 4, "n_gradients": 502818, "rhat": 1.36, "certificate": "not converged"}
PARTS_OF = {"picture": dict.fromkeys(PARTS, True), "gone": dict.fromkeys(PARTS[:3], False) | {PARTS[3]: True}}


def changes(before="picture", after="gone", cell="as described"):
    same = {"recipe": FROM_BOX, "cell": cell}
    return pd.DataFrame([
        {"what": "the picture", **same, "k-LRP": 0.8, "k-LRP of SGD": 0.5, "rho": 0.6, "accuracy under attack": 0.7,
         **PARTS_OF[before]},
        {"what": "the margin followed", **same, "k-LRP": 0.51, "k-LRP of SGD": 0.52, "rho": -0.1, "accuracy under attack": 0.0,
         **PARTS_OF[after]},
    ])  # fmt: skip


def test_the_headline_names_the_choices_and_what_takes_the_picture_away():
    told = words.headline(changes())
    assert told.startswith(
        "**What makes the paper's picture here is a chain with the prior N(0, 1) that starts anywhere in [-2, 2], and the attack "
        "as the paper prints it.**"
    )
    assert "score 0.80 where SGD's score 0.50" in told
    assert "their robustness follows that of predictions" in told
    assert "Neither gain nor correlation is left when the attack follows the margin" in told
    assert "rho \N{MINUS SIGN}0.10, and an accuracy under attack of 0% in place of 70%" in told


def test_the_headline_does_not_claim_what_is_not_there():
    told = words.headline(changes("gone", "picture", "top by sign"))
    assert told.startswith("**No set of choices makes the whole of the paper's picture here; nearest to it comes ")
    assert "of what the released code does otherwise, top by sign, with 1 of its 4 parts.**" in told
    assert "their robustness does not follow that of predictions" in told
    assert "Of it, the gain (more than 0.1) and rho (at least 0.5) is left when" in told


def test_the_choices_by_themselves_are_one_sentence():
    assert words.headline(changes()).startswith(f"**{words.in_short(changes())}** Explanations")


def test_chains_that_have_not_converged_settle_nothing():
    told = words.judge(CHAINS)
    assert told.startswith(
        "4 chains from SGD and from the prior, 502,818 gradients (R-hat 1.36): they have **not converged**"
    )
    assert "they are certified" in words.judge(CHAINS | {"certificate": "certified", "rhat": 1.005})


def test_every_recipe_has_words():
    assert set(words.CHOICES) == set(recipes.KNOWN) - {recipes.SGD, recipes.ENSEMBLE}


def test_starts_are_told_by_the_gradients_that_they_leave():
    rows = pd.DataFrame({"recipe": [FROM_SGD, FROM_BOX, MIXED, LETTER], "saturated": [0.0, 0.6, 0.01, 0.1],
                         "draws": [20, 20, 480, 10], "accuracy": [0.9, 0.7, 0.9, 0.125],
                         "accepted": [0.9, 0.8, 0.9, 0.0]})  # fmt: skip
    told = words.starts(rows)
    assert f"{FROM_BOX} 60%, {FROM_SGD} 0% and {MIXED} 1%" in told
    assert "0% of 10 proposals are accepted here, and the draws are right on 12% of the images" in told
    assert "Table IV" not in words.starts(rows[:3])
    assert words.starts(rows[:0]) == ""


@pytest.fixture
def by_group():
    return pd.DataFrame({
        "group": ["masked"] * 3 + ["not masked"] * 3, "distance": [0.0, 0.01, 0.02] * 2, "images": [30] * 3 + [10] * 3,
        "wrong": [0.0, 0.4, 0.9, 0.5, 1.0, 1.0],
    })  # fmt: skip


def test_masked_images_are_told_by_how_near_they_are_to_failing(by_group):
    told = words.masked(by_group, 0.2)
    assert told.startswith("On 30 images the loss is flat")
    assert "A step of 0.02, 10% of the attack's size, along the margin's gradient" in told
    assert told.endswith("has 90% of them predicted wrongly.")
    assert words.masked(by_group[3:], 0.2) == "No image has a gradient of zero here: there is nothing to show."
    assert words.masked(by_group[:2], 0.2).startswith("Most of 30 masked images are still predicted rightly")


def test_populations_are_told_apart():
    rows = pd.DataFrame({"population": ["frozen", "moved", "both"], "images": [60, 40, 100], "k-LRP": [0.9, 0.5, 0.74],
                         "softmax robustness": [1.0, 0.6, 0.84], "rho": [float("nan"), 0.02, 0.55]})  # fmt: skip
    told = words.populations(rows)
    assert "leaves 60 images as they are" in told
    assert told.endswith("Together they have a rho of +0.55. Among the images that it moves, rho is +0.02.")
    still = rows.assign(images=[0, 100, 100])
    assert words.populations(still) == "The attack moves every image; rho is +0.55."


def test_what_explains_and_what_does_not_are_both_told():
    rows = pd.DataFrame(
        {"switch": list("abcd"), "figures": ["3", "14", "all", "13"], "explains": [YES, NO, CHANGES, OPEN]}
    )
    another = words.explains(rows.assign(explains=["another attack", NO, NO, NO]))
    assert "Another attack than the one that is named comes of a (3), which does not say why scores differ." in another
    told = words.explains(rows)
    assert "What would explain figures, by the criteria, is a (3)." in told
    assert "without such a criterion, by c. Not by b. Not measured in this run: d." in told
    assert words.explains(rows[1:2]) == "By the criteria, no switch would explain a figure. Not by b."
