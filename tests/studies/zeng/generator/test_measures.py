from __future__ import annotations

import math

import pytest
import torch

from relevance.attacks.manipulation import Manipulation
from relevance.studies.zeng import words
from relevance.studies.zeng.generator import measures, tables
from relevance.studies.zeng.generator.setting import ALONE, DECODED, ROBUST, STANDARD, Setting
from relevance.studies.zeng.generator.training import Generated

pytestmark = pytest.mark.stochastic


def test_alone_it_never_notices_that_the_classifier_forgot_and_a_decoder_does(alone, decoded, classifier, halves):
    setting = Setting(classifier, classifier, {DECODED: decoded, ALONE: Generated(alone)}, halves)
    rows = measures.sanity(setting, halves.test_images[:10], seeds=(1, 2))
    rows = rows.set_index("random layers")
    assert list(rows.index) == [0, 1, 2, 3]
    assert rows.loc[0].to_numpy() == pytest.approx(1)
    assert rows[ALONE].to_numpy() == pytest.approx(1)
    assert rows.loc[1, DECODED] == pytest.approx(1)  # which the output layer has no part in
    assert rows.loc[3, DECODED] < 0.99
    assert rows.loc[3, STANDARD] < 0.8


def test_only_the_last_layers_are_randomised(classifier):
    changed = measures.randomised(classifier, 2, seed=0)
    kept = [name for name, value in classifier.samples.items() if torch.equal(value, changed.samples[name])]
    assert kept == ["1.weight", "1.bias"]
    with pytest.raises(ValueError, match="n_layers is 4"):
        measures.randomised(classifier, 4)


def test_alignment_is_measured_as_said():
    wanted = torch.tensor([[[[3.0, 4.0], [0.0, 0.0]]]])
    maps = torch.tensor([[[[4.0, 3.0], [0.0, 0.0]]]])
    row = measures.alignment_with({"a": maps, "b": 2 * wanted}, wanted, expected=wanted.flip(3)).iloc
    assert row[0]["cosine"] == pytest.approx(24 / 25)
    assert row[1]["cosine"] == pytest.approx(1)
    assert math.isnan(row[0]["beyond the class"])
    assert row[1]["beyond the class"] == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:the attack on explanations moved no image")  # of a network that is not trained
def test_curves_and_overlaps_have_a_row_for_each_map(alone, decoded, classifier, halves):
    setting = Setting(classifier, classifier, {DECODED: decoded, ALONE: Generated(alone)}, halves)
    images = halves.test_images[:4]
    curves = tables.curves_of(measures.deletion_curves(setting, images))
    assert {name: len(panel) for name, panel in curves.items()} == {"standard network": 6, "robust network": 6}
    # Both judges are the same network here.
    assert torch.equal(*(panel[ALONE] for panel in curves.values()))
    still = measures.steadiness(setting, images, fgsm=0.0, how=Manipulation(epsilon=0.0, n_steps=1))
    assert (still[["noise", "FGSM", "manipulated"]] == 1).all().all()
    rows = tables.means(measures.steadiness(setting, images, fgsm=0.2, how=Manipulation(epsilon=1.0, n_steps=5)))
    assert rows.loc[ALONE, "manipulated"] < 0.95
    speeds = measures.speed(setting, images, "one", repeats=1)
    times = speeds.set_index("map")
    assert times.loc[STANDARD, "time"] == 1
    assert times.loc[ALONE, "parameters"] == sum(value.numel() for value in alone.samples.values())
    assert f"{times.loc[ALONE, 'time']:.2f} times as long as a gradient of the one." in words.generator_faster(speeds)
    assert ROBUST in rows.index
