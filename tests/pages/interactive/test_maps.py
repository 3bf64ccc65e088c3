from __future__ import annotations

import pandas as pd
import pytest
import torch

from relevance import explanations
from relevance.explanations.rules import Epsilon
from relevance.pages import interactive
from relevance.pages.interactive.turning import turning
from relevance.studies import names
from relevance.studies.zeng import roar, tables


def test_rules_are_turned_by_their_parameters(dense_posterior, some_images):
    target = dense_posterior.predict(some_images).argmax(1)
    ruled = interactive.Ruled(dense_posterior, some_images[:2], target[:2], ["a", "b"])
    logits = dense_posterior.logits(some_images[:2]).mean(0).gather(1, target[:2, None])[:, 0]
    for name, rule in (("epsilon", Epsilon(0.5)), ("alpha-beta", explanations.AlphaBeta(1.5, 0.5))):
        maps = explanations.lrp(dense_posterior, some_images[:2], target[:2], rule=rule)
        first, second = (f"{share:.0%}" for share in (maps.flatten(1).sum(1) / logits).tolist())
        assert f"{first}, {second} of the logit" in ruled.reading(name, 0.5)
    assert set(names.WITH_PARAMETER) == set(names.RULES)


def test_holes_say_the_accuracies_of_their_share(some_images):
    orders = {name: one.order(some_images[:1], torch.zeros(1))[0] for name, one in roar.BASELINES.items()}
    table = pd.DataFrame(
        [(name, share, seed, accuracy - share * (name == "Sobel") / 2)
         for name in orders for share in (0.0, 0.5) for seed, accuracy in enumerate((0.8, 0.6))],
        columns=["attribution", "share", "seed", "accuracy"],
    )  # fmt: skip
    gaps = interactive.Holes(some_images[0], orders, torch.zeros(1, 1, 1), table)
    assert gaps.reading(0.5) == "Test accuracy after retraining: random 0.700, Sobel 0.450."
    assert tables.accuracies(table)["mean"].tolist() == pytest.approx([0.7, 0.7, 0.7, 0.45])
    turning(gaps.figure, {"share_removed": [0.0, 0.5]}, caption="c", alt=gaps.alt, reading=gaps.reading)


def test_drawn_maps_are_those_of_the_chosen_image(some_images):
    images = {"two": some_images[0], "three": some_images[1]}
    maps = {"own gradient": some_images[:2], "drawn": 1 - some_images[:2]}
    shown = interactive.Drawn(images, maps, {"drawn": torch.tensor([0.25, 0.5])})
    assert shown.reading("three") == "Correlation with the robust gradient: drawn 0.50."
    panels = [axis for axis in shown.figure("three").axes if axis.images]
    assert [axis.get_title() for axis in panels[:3]] == ["image", "own\ngradient", "drawn"]
    turning(shown.figure, {"image": [*images]}, caption="c", alt=shown.alt, reading=shown.reading)
