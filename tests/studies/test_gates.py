"""What is not judged, and the first reason that there is."""

from __future__ import annotations

import pytest

from oracles import planted_scores
from relevance.studies import gates


def rows(n_images=200, n_classes=10, share_right=1.0, **columns):
    found = planted_scores({"deterministic": 0.0, "Bayesian, 10": 0.0}, attacks=("FGSM",), layers=("5",))
    found = found[found["image"] < n_images].assign(label=found["image"] % n_classes, **columns)
    right = found["image"] < share_right * n_images
    return found.assign(clean_class=found["label"].where(right | (found["model"] == "deterministic"), -1))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, ""),
        ({"n_images": 99}, "too few images"),
        ({"n_images": 100}, ""),
        ({"share_right": 0.19}, "at chance"),
        ({"share_right": 0.21}, ""),
        # Twice the chance of two classes would be all of the images.
        ({"n_classes": 2, "share_right": 0.74}, "at chance"),
        ({"n_classes": 2, "share_right": 0.76}, ""),
        ({"ceiling_lrp_robustness": 0.29}, "too little room"),
        ({"ceiling_lrp_robustness": 0.31}, ""),
        ({"share_right": 0.1, "ceiling_lrp_robustness": 0.2}, "at chance"),
    ],
)
def test_a_setting_is_not_judged_for_a_reason(given, reason):
    assert gates.why_not(rows(**given)) == reason


@pytest.mark.parametrize(("share", "reason"), [(0.04, ""), (0.06, "nothing to follow")])
def test_one_model_without_gradients_is_enough(share, reason):
    found = rows()
    blind = (found["model"] == "Bayesian, 10") & (found["image"] < share * 200)
    assert gates.why_not(found.assign(gradient_is_zero=blind)) == reason


def test_only_the_images_that_are_looked_at_count():
    assert gates.why_not(rows(), 99) == "too few images"
    assert gates.why_not(rows(), 100) == ""
