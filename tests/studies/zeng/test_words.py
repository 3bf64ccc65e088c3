from __future__ import annotations

import pandas as pd
import pytest

from oracles import planted_joint, straight_curves
from relevance.studies.phrases import signed
from relevance.studies.zeng import source, tables, words
from relevance.studies.zeng.generator.setting import ALONE, DECODED, MEAN, OF_CLASS, OTHER, STANDARD

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize(
    ("better", "word"), [(0.1, "ones are nearer"), (-0.1, "ones are **farther**"), (0.0, "neither nearer nor farther")]
)
def test_the_sentence_says_which_way_the_difference_goes(better, word):
    rows = pd.DataFrame(
        [
            {
                "map": name,
                "image": image,
                "correlation": 0.5 + (better if name in (DECODED, ALONE) else 0) + 0.01 * image,
            }
            for name in (STANDARD, DECODED, ALONE, OF_CLASS, MEAN, OTHER)
            for image in range(6)
        ]
    )
    assert word in words.generator_aligned(rows)


def test_what_is_said_follows_from_the_table():
    rows = planted_joint()
    pairs = tables.correlations(rows)
    together, against = (pairs["low"] > 0).sum(), (pairs["high"] < 0).sum()
    assert together > 0
    assert against > 0
    assert (
        f"Of the {len(pairs)} pairs that can be made of the scores (listed below), {together} improve together over the models, "
        f"and {against} move" in words.joint(rows)
    )
    # Three of five cannot be told apart; they come first, as the most.
    assert words.faithful(rows) == (
        "Compared with the standard network's map, accuracy falls neither sooner nor later for 3 of 5 models, sooner for d, and "
        "**later** for a."
    )


def test_steadier_maps_are_said_to_be_truer_where_their_ranks_agree():
    rows = planted_joint()
    for name in (*words.tables.SPREAD[:3], "ROAR"):
        rows[name] = [0.1 * place * (-1 if name == "ROAR" else 1) for place in range(len(rows))]
    assert words.steady_and_true(rows).startswith("Yes, by the ranks of 6 models: under 3 of 3 attacks")
    rows[words.tables.SPREAD[0]] = -rows[words.tables.SPREAD[0]]
    assert words.steady_and_true(rows).startswith("Partly, by the ranks of 6 models: under 2 of 3 attacks")
    rows["ROAR"] = 1.0
    assert words.steady_and_true(rows).startswith("That is not seen, by the ranks of 6 models: under 0 of 3 attacks")


@pytest.mark.parametrize(("ensemble", "word"), [(0.81, "beside its own kind"), (0.62, "away from its own kind")])
def test_an_ensemble_is_said_to_stand_where_it_does(ensemble, word):
    area = {"standard": 0.8, "hard": 0.6, "ensemble": ensemble, "ensemble of hard": 0.61}
    told = words.averages(pd.DataFrame({"ROAR": area}), "hard")
    assert told == f"By removal and retraining, each stands {word}."


def test_a_curve_that_rises_as_more_is_removed_is_said():
    falling = straight_curves(good=(0.8, [0, 0.1, 0.2]), Sobel=(0.2, [0, 0.1, 0.2]))
    assert "No curve rises" in words.rises(falling)
    rising = straight_curves(good=(0.8, [0, 0.1, 0.2]), leaky=(-0.4, [0, 0.1, 0.2]))
    assert words.rises(rising) == "Accuracy **rises** as more than 0% is removed for 1 of 2 rankings."


def test_maps_are_counted_beside_each_baseline():
    seeds = [0, 0.1, 0.2]
    rows = straight_curves(random=(0.4, seeds), Sobel=(0.6, seeds), good=(0.8, seeds), bad=(0.1, seeds))
    assert (
        words.roar(rows)
        == "Compared with a random order, accuracy falls sooner for 1 of 2 maps, and **later** for *bad*."
    )
    assert words.roar(rows.assign(accuracy=rows["accuracy"]), "Sobel").startswith("Compared with the image's edges, ")


def test_what_the_holes_tell_is_held_against_the_whole_image():
    whole = straight_curves(random=(0.2, [0, 0.1]), good=(0.8, [0, 0.1]))
    holes = whole[whole["share"] == 0.5].assign(accuracy=0.3)
    assert words.masks(holes, whole) == (
        "From the holes of *good* alone, without an image, a network reads the class with an accuracy of 0.30, and from whole "
        "images with 1.05."
    )


def test_what_size_steps_and_norm_do_is_by_paired_areas():
    names = {"PGD-l2 1, 20 steps": 0.2, "PGD-l2 2.5, 20 steps": 0.4, "PGD-l2 1, 40 steps": 0.2, "PGD-l2 2.5, 40 steps": 0.4,
             "PGD-linf 4/255, 20 steps": 0.3, "PGD-linf 4/255, 40 steps": 0.3,
             "PGD-linf 16/255, 20 steps": 0.4, "PGD-linf 16/255, 40 steps": 0.4}  # fmt: skip
    said = words.settings(
        straight_curves(**{name: (slope, [0, 0.1]) for name, slope in names.items()}, random=(0.9, [0, 0.1]))
    )
    assert said.startswith("By this score, yes: from the smallest attack")
    assert "by \N{MINUS SIGN}0.050 in l2 and \N{MINUS SIGN}0.025 in linf" in said
    assert said.endswith("With more steps it changes by 0.000, no more than seeds explain.")
    rising = {"PGD-l2 1, 20 steps": (0.4, [0, 0.1]), "PGD-l2 2.5, 20 steps": (0.2, [0, 0.1])}
    assert words.settings(straight_curves(**rising)).startswith("No, the other way round")
    # By hand from the source's table: means of its trapezoids.
    whole = source.table_1().pivot(index=["norm", "epsilon", "steps"], columns="share", values="accuracy")
    areas = (whole[0.2] / 2 + whole[0.4] + whole[0.6] + whole[0.8] / 2) / 3
    gap = areas["l2", "2.5"].mean() - areas["l2", "1"].mean()
    told = words.settings(source.as_roar())
    assert told.startswith(
        "From the smallest attack in training to the largest the area under the curve (lower: more found) changes by "
        f"{signed(gap)} in"
    )


def attacked(**by_training):
    columns = ["PGD linf", "margin linf", "PGD l2", "margin l2"]
    return pd.DataFrame.from_dict(by_training, orient="index", columns=columns)


def test_a_gain_that_a_fair_attack_undoes_is_told_as_undone():
    rows = attacked(standard=[0.1, 0.1, 0.2, 0.2], distillation=[0.8, 0.12, 0.3, 0.2])
    assert words.undone(rows) == (
        "Distillation gains 70 points of accuracy under PGD on the cross-entropy, and 2 on the margin: the gain is **undone**."
    )
    rows.loc["distillation", "margin linf"] = 0.7
    assert "the gain stays" in words.undone(rows)
    rows.loc["distillation"] = 0.1
    assert "nothing to undo" in words.undone(rows)
    assert words.undone(rows.drop(index="distillation")) == ""
    rows.loc["PGD-l2 1"] = [0.9, 0.5, 0.9, 0.6]
    assert "*PGD-l2 1* keeps the highest accuracy, 50%; standard training keeps 10%" in words.withstood(rows)
    assert words.transfer(rows, source.settings(["standard", "PGD-l2 1"])) == (
        "It helps against the other norm too in PGD-l2 1."
    )


def test_lengths_are_said_to_grow_where_they_do():
    one = {"norm": "l2", "epsilon": 1.0, "quantity": "alignment", "gain low": 0.1, "gain high": 0.2}
    curve = pd.DataFrame([one, {**one, "quantity": "rho"}, {**one, "epsilon": 0.0, "gain low": 0, "gain high": 0}])
    assert words.alignment(curve).startswith(
        "As the attack in training grows, so do all 2 lengths: how far an image reaches"
    )
    curve.loc[1, ["gain low", "gain high"]] = -0.2, -0.1
    assert "shorter become" in words.alignment(curve)


def test_a_map_of_the_generator_is_timed_beside_each_classifier():
    rows = pd.DataFrame({"map": [ALONE, STANDARD, ALONE], "classifier": ["a", "a", "b"], "time": [2.5, 1.0, 0.15]})
    assert words.generator_faster(rows) == (
        "A map of the generator alone takes 2.50 times as long as a gradient of the a and 0.15 times as long as a "
        "gradient of the b."
    )


def test_a_curve_is_said_to_fall_sooner_or_later_than_another():
    rows = straight_curves(steep=(0.8, [0, 0.1, 0.2]), flat=(0.2, [0, 0.1, 0.2]))
    assert words.pair(rows, "steep", "flat").startswith(
        "The curve of *steep* falls sooner than that of *flat*: the areas"
    )
    assert words.pair(rows, "flat", "steep").startswith("The curve of *flat* falls **later** than that of *steep*")
    with pytest.raises(ValueError, match="attribution is 'x'"):
        words.pair(rows, "x", "flat")
