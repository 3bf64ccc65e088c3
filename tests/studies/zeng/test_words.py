from __future__ import annotations

import pandas as pd
import pytest

from oracles import planted_joint, straight_curves
from relevance.studies.zeng import source, words
from relevance.studies.zeng.generator.setting import ALONE, DECODED, MEAN, OF_CLASS, OTHER, STANDARD

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize(
    ("better", "word"), [(0.1, "knows more than"), (-0.1, "knows less than"), (0.0, "neither more")]
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
    assert words.generator_aligned(rows).count(word) == 2


def test_what_is_said_follows_from_the_table():
    rows = planted_joint()
    told = words.joint(rows)
    assert "accuracy and alignment (rho +1.000)" in told.split("move against")[0]
    assert "accuracy and accuracy under attack (rho \N{MINUS SIGN}1.000)" in told.split("move against")[1]
    assert "LRP under FGSM: d" in told
    assert "LRP under PGD: e" in told
    assert "ROAR: d" in told
    assert "nothing to follow on many images of e" in told
    faithful = words.faithful(rows)
    assert "falls sooner than that of the standard network for d" in faithful
    assert "falls later than that of the standard network for a" in faithful
    assert "cannot be told from that of the standard network for b, c and e" in faithful


def test_equal_values_lead_together():
    rows = planted_joint()
    rows["accuracy"] = [0.6, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert "accuracy: standard and e;" in words.joint(rows)


def test_a_curve_that_rises_as_more_is_removed_is_said():
    falling = straight_curves(good=(0.8, [0, 0.1, 0.2]), Sobel=(0.2, [0, 0.1, 0.2]))
    assert "No curve rises" in words.rises(falling)
    rising = straight_curves(good=(0.8, [0, 0.1, 0.2]), leaky=(-0.4, [0, 0.1, 0.2]))
    said = words.rises(rising)
    assert "from 0% to 50% for leaky (+0.200)." in said
    assert "good" not in said


def test_many_names_are_not_all_read_out():
    said = words.roar(straight_curves(random=(0.2, [0, 0.1]), **{f"map {k}": (0.3 + k / 100, [0, 0.1]) for k in range(9)}),
                        ("random",))  # fmt: skip
    assert said.count("map") == 6
    assert "and 6 more, the last map 0" in said


def test_what_size_steps_and_norm_do_is_by_paired_areas():
    names = {"PGD-l2 1, 20 steps": 0.2, "PGD-l2 2.5, 20 steps": 0.4, "PGD-l2 1, 40 steps": 0.2, "PGD-l2 2.5, 40 steps": 0.4,
             "PGD-linf 16/255, 20 steps": 0.3, "PGD-linf 16/255, 40 steps": 0.3}  # fmt: skip
    said = words.settings(
        straight_curves(**{name: (slope, [0, 0.1]) for name, slope in names.items()}, random=(0.9, [0, 0.1]))
    )
    minus = "\N{MINUS SIGN}0.100"
    assert f"largest epsilon in l2 by {minus} (95 % interval {minus} to {minus})" in said
    assert "epsilon in linf" not in said
    assert "from 20 to 40 steps, in the mean over sizes, by 0.000" in said
    assert "from l2 to linf, in the mean over sizes and steps, by 0.000" in said
    # By hand from the source's table: means of its trapezoids.
    whole = source.table_1().pivot(index=["norm", "epsilon", "steps"], columns="share", values="accuracy")
    areas = (whole[0.2] / 2 + whole[0.4] + whole[0.6] + whole[0.8] / 2) / 3
    gap = areas["linf"].mean() - areas["l2"].mean()
    assert f"sizes and steps, by {gap:+.3f}." in words.settings(source.as_roar())


def test_a_smaller_mean_gradient_is_not_told_as_a_smaller_one_of_most_images():
    rows = pd.DataFrame({"mean gradient": [1.0, 0.5], "median gradient": [0.1, 0.2]}, index=["standard", "Jacobian"])
    assert "**not** those of most images" in words.gradients(rows)
    rows["median gradient"] = [0.1, 0.05]
    assert "**not**" not in words.gradients(rows)
