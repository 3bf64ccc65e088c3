"""Sentences and tables follow the numbers that they are given."""

from __future__ import annotations

import pandas as pd
import pytest

from oracles import FakePosterior
from relevance import attacks
from relevance.studies.background import chains, words
from relevance.studies.experiment import RANDOM

pytestmark = pytest.mark.stochastic


def test_the_damage_is_said_beside_noise(galleries, evaluation_table, monkeypatch):
    gallery = galleries["one"]
    said = words.damage(evaluation_table, galleries)
    clean, worst = evaluation_table["accuracy"].iloc[[0, -1]]
    assert f"takes its accuracy from {clean:.0%} to {worst:.0%}" in said
    left = gallery.table()["overlap"]
    kinds = left[["top-k", "target region", "target map"]]
    assert f"{kinds.idxmin()} leaves {kinds.min():.0%}, and noise of its size {left[RANDOM]:.0%}." in said
    assert "of the one network it moves on too few images to judge" in said
    assert said.endswith(" It moves those of the five network on too few images to judge.")
    monkeypatch.setattr(type(gallery), "table", lambda _, left=left: left.to_frame("overlap"))
    uncertain = [0.1, 0.9] * 50
    unclear = "not distinguishably further"
    for noise, word in (
        ([1.0] * 100, "further"), ([0.0] * 100, "less far"), ([0.5] * 100, "no further"), (uncertain, unclear)
    ):  # fmt: skip
        monkeypatch.setattr(
            type(gallery), "scores",
            lambda _, attack, noise=noise: pd.DataFrame({"lrp_robustness": noise if attack == RANDOM else [0.5] * 100}),
        )  # fmt: skip
        assert f"Maps of the one network it moves {word} than noise" in words.damage(evaluation_table, {"one": gallery})


def test_protocols_are_told_by_their_intervals():
    def said(mixed, of_map, of_sgd):
        scores = {chains.MIXED: mixed, chains.OLD: [0.6, 0.61, 0.62], chains.MAP: of_map, chains.SGD: of_sgd}
        runs = [(name, run, score) for name, found in scores.items() for run, score in enumerate(found)]
        return words.protocols(pd.DataFrame(runs, columns=["model", "run", "k-LRP, FGSM"]))

    assert said([0.7, 0.71, 0.72], [0.8, 0.81, 0.82], [0.6, 0.71, 0.82]) == (
        "The k-LRP robustness of chains that mix is **higher** than that of chains of ten steps (+0.100); **lower** than that of "
        "MAP (\N{MINUS SIGN}0.100); not distinguishable from that of the deterministic network (0.000)."
    )
    # The interval leaves out zero, and is within what counts for nothing.
    assert said([0.719, 0.72, 0.721], [0.709, 0.71, 0.711], [0.6, 0.61, 0.62]) == (
        "The k-LRP robustness of chains that mix is **higher** than that of chains of ten steps (+0.110) and the deterministic "
        "network (+0.110); different by less than the 0.02 that counts from that of MAP (+0.010)."
    )


def test_what_is_known_of_convergence_is_said():
    said = words.convergence(FakePosterior())
    assert "100 draws of 4 chains." in said
    assert ">HMC: nearly</span> (R-hat 1.020, 140 effective draws), the worst" in said
    assert ">HMC: not converged</span>, the" in words.convergence(
        FakePosterior(certificate="not converged", rhat=None, ess=None)
    )
    assert "it has no certificate" in words.convergence(FakePosterior(step_sizes=[0.01]))


def test_the_evaluation_is_put_in_words(dense_posterior, some_images, some_labels):
    small = {"n_steps": 2, "n_restarts": 1, "n_queries": 4, "progress": False}
    tables = {
        name: attacks.evaluate(model, some_images, some_labels, 0.2, **small)
        for name, model in (("one", dense_posterior[0]), ("five", dense_posterior))
    }
    said = words.evaluation(tables, {"one": [], "five": ["A.", "B."]})
    left = {name: rows.loc["worst of all", "accuracy"] for name, rows in tables.items()}
    most = max(left, key=left.get)
    assert f"the {most} network is left the most accuracy ({left[most]:.0%})" in said
    assert said.endswith("The checks raise no doubt about this in one. For the five one they do. A. B.")
    assert "give no reason" not in words.evaluation(tables, {"one": ["A."], "five": ["B."]})


def test_growth_is_told_by_the_last_doubling_and_by_the_last_worker_that_helps():
    rows = [("samples", 10, 1.0), ("samples", 20, 1.5), ("width", 64, 2.0), ("width", 128, 5.0), ("workers", 1, 60.0),
            ("workers", 2, 30.0), ("workers", 4, 20.0), ("workers", 8, 20.0), ("workers, measured", 1, 80.0),
            ("workers, measured", 2, 48.0)]  # fmt: skip
    told = words.growth(pd.DataFrame(rows, columns=["what", "value", "seconds"]))
    assert "costs 1.5 to 2.5 times the seconds" in told
    assert "Two workers take 60% of the time of one; more than 4 help" in told
