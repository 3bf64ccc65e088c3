from __future__ import annotations

import pytest

from oracles import ROOT, chapters
from relevance.pages.press import limits
from relevance.pages.press.chapters import ChapterError
from relevance.pages.press.parameters import resolve
from relevance.pages.press.recording import read_runs


@pytest.mark.parametrize(
    ("chapter", "given", "told"),
    [
        ("method/lrp-robustness", {"rule_epsilon": -1}, "rule_epsilon .* is -1; it must be a finite number at least 0."),
        ("background/bayesian-neural-networks", {"n_members": 0}, "n_members .* is 0; it must be a whole number of at least 1."),
        ("explore", {"largest": 0}, "largest .* is 0; it must be a finite number above 0 and at most 1."),
        ("explore", {"n_draws": 5}, r"n_samples .* is \[1, 3, 10, 30, 100\]; it may be at most n_draws, which is 5."),
        ("explore", {"epsilon": 0.5}, "epsilon .* is 0.5; it may be at most largest, which is 0.3."),
        ("robust-training/roar", {"n_seeds": 0}, "n_seeds .* is 0; it must be a whole number of at least 1."),
        ("robust-training/roar", {"mask_share": 2}, "mask_share .* is 2; it must be a finite number above 0 and at most 1."),
        ("experiments/saliency-attacks", {"map_percent": 0}, "map_percent .* is 0; it must be a whole number of at least 1"),
        ("experiments/layers", {"n_samples": ["a"]}, r"n_samples .* is \['a'\]; it must be a list of whole numbers, not empty,"),
        ("experiments/layers", {"attacks": []}, "attacks .* is ..; it must be a list of texts, not empty,"),
        ("experiments/layers", {"attacks": ["x"]}, "an item of parameter attacks .* is 'x'; it may be one of: FGSM"),
        ("experiments/layers", {"n_images": 1}, "n_images .* is 1; it must be a whole number of at least 2."),
        ("experiments/layers", {"n_samples": [481]}, "n_samples .* is .481.; it may be at most n_draws, which is 480."),
        ("experiments/layers", {"hardening": {"n_steps": 0}}, "n_steps in parameter hardening .* is 0; it must be a whole"),
        ("manipulation/faithfulness", {"explained": "x"}, "explained .* is 'x'; it may be one of: "),
        ("manipulation/smoothing", {"counts": [500]}, "counts .* is .500.; it may be at most n_draws, which is 480."),
        ("method/geometry", {"counts": [53]}, "counts .* is .53.; it may be at most n_samples, which is 52."),
        ("method/geometry", {"widths": []}, "widths .* is ..; it must be a list of whole numbers, not empty,"),
        ("method/geometry", {"prior_scale": 0}, "prior_scale .* is 0; it must be a finite number above 0."),
        ("method/geometry", {"prior_scale": 10**400}, "prior_scale .* is 1000.*; it must be a number such as 0.2."),
        ("appendix/architectures", {"sized_for": "x"}, "sized_for .* is 'x'; it may be one of: cifar10, "),
        ("experiments/layers", {"seed": 2**70}, "seed .* it must be a whole number of at least 0 and at most 4294967295."),
    ],
)  # fmt: skip
def test_a_refusal_names_what_was_given_and_what_it_may_be(chapter, given, told):
    with pytest.raises(ChapterError, match=told):
        chapters()[chapter].resolved(given)


@pytest.mark.parametrize(
    ("chapter", "given"),
    [("explore", {"n_draws": 100}), ("method/geometry", {"n_samples": 200}), ("experiments/layers", {"hardening": {}}),
     ("manipulation/manipulation", {"models": []}), ("method/lrp-robustness", {"epsilon": 0}),
     ("experiments/layers", {"sampler": {"warmup": 0, "step_size": 0.1}})],
)  # fmt: skip
def test_what_may_be_passes(chapter, given):
    assert given.items() <= chapters()[chapter].resolved(given).items()


def test_every_limit_is_of_a_parameter():
    names = {name for one in chapters().values() for name in one.parameters}
    assert names >= {*limits.NUMBERS, *limits.WITHIN, *limits.WITHIN.values()}


def test_the_profiles_and_the_recorded_runs_are_within_the_limits():
    for profile in ("quick", "paper"):
        assert resolve(ROOT, list(chapters().values()), profile, {}).keys() == chapters().keys()
    for name, run in read_runs(ROOT).items():
        for chapter, own in run["chapters"].items():
            given = {**run["parameters"], **(own or {}), "record": name}
            assert chapters()[chapter].resolved(given)["record"] == name
