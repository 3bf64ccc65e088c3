"""Sentences and tables follow the numbers that they are given."""

from __future__ import annotations

import pandas as pd
import pytest

from oracles import FakePosterior
from relevance import attacks
from relevance.pages import show
from relevance.studies.background import chains, words
from relevance.studies.experiment import RANDOM

pytestmark = pytest.mark.stochastic


def test_each_check_sees_what_it_is_for(evaluation_table):
    def said(row=None, column=None, value=None, **more):
        changed = evaluation_table.copy()
        if row is not None:
            changed.loc[row, column] = value
        return words.concerns(changed, **more)

    assert "random squares, which need no gradient, alone" in said("squares", "alone", 0.1)[0]
    assert "a transferred attack alone" in said("transfer", "alone", 0.1)[0]
    assert "One step breaks more" in said("FGSM", "accuracy", -0.1)[0]
    assert "Random corners" in said("random corners", "accuracy", -0.1)[0]
    assert "PGD, cross-entropy leaves an accuracy of 90.0%" in said("PGD, cross-entropy", "accuracy", 0.9)[0]
    assert "part of what it finds is in the draws" in said("PGD, margin, other draws", "accuracy", 0.9)[0]
    far = pd.DataFrame({"epsilon": [0.1, 0.5], "accuracy": [0.9, 0.4]})
    assert said(by_epsilon=far) == ["In a ball of 0.5 the accuracy is still 40.0%."]
    rising = pd.DataFrame({"step": range(8), "loss": range(8), "best": range(8)})
    flat = pd.DataFrame({"step": range(8), "loss": [1.0] * 8, "best": [1.0] * 8})
    assert said(by_steps=flat) == ["The loss did not rise at any step."]
    assert "The last quarter of the steps still brought 14%" in said(by_steps=rising)[0]


def test_the_damage_is_said_beside_noise(galleries, evaluation_table, monkeypatch):
    gallery = galleries["one"]
    said = words.damage(evaluation_table, gallery)
    clean, worst = evaluation_table["accuracy"].iloc[[0, -1]]
    assert f"takes the accuracy from {clean:.0%} to {worst:.0%}" in said
    left = gallery.table()["overlap"]
    kinds = left[["top-k", "target region", "target map"]]
    assert f"{kinds.idxmin()} leaves {kinds.min():.0%}, and noise {left[RANDOM]:.0%}." in said
    for noise, word in ((1.0, "maps further than noise"), (0.0, "maps no further than noise")):
        scores = {RANDOM: noise, "top-k": 0.5}
        monkeypatch.setattr(
            type(gallery), "scores",
            lambda _, attack, scores=scores: pd.DataFrame({"lrp_robustness": [scores.get(attack, 0.5)] * 6}),
        )  # fmt: skip
        monkeypatch.setattr(type(gallery), "table", lambda _, left=left: left.to_frame("overlap"))
        assert word in words.damage(evaluation_table, gallery)


def test_models_are_compared_attack_by_attack():
    compared = pd.DataFrame({"direction": [1, -1, 0], "n_images": 6}, index=["FGSM", "PGD", "top-k"])
    assert words.by_attack(compared, "one", "five") == (
        "five maps keep, compared with one ones, more under FGSM; less under PGD; not distinguishably more or less under top-k."
    )
    assert words.by_attack(compared.iloc[:1], "one", "five").endswith("ones, more under FGSM.")


def test_starts_are_told_apart():
    rows = pd.DataFrame({"start": ["sgd", "prior", "sgd"], "accuracy, FGSM": [0.1, 0.4, 0.3]})
    assert words.starts(rows) == (
        "Under FGSM the accuracy is 20% for chains that began at a solution of SGD and 40% for chains that began at a draw of "
        "the prior."
    )


def test_protocols_are_told_by_their_intervals():
    scores = {chains.MIXED: [0.7, 0.71, 0.72], chains.OLD: [0.6, 0.61, 0.62], chains.MAP: [0.8, 0.81, 0.82],
              chains.SGD: [0.6, 0.71, 0.82]}  # fmt: skip
    rows = pd.DataFrame([(name, run, score) for name, found in scores.items() for run, score in enumerate(found)],
                        columns=["model", "run", "k-LRP, FGSM"])  # fmt: skip
    assert words.protocols(rows) == (
        "The k-LRP robustness of chains that mix is **higher** than that of chains of ten steps (+0.100); **lower** than that of "
        "MAP (\N{MINUS SIGN}0.100); not distinguishable from that of the deterministic network (0.000)."
    )


def test_recorded_chains_are_told_with_their_check():
    rows = pd.DataFrame({"posterior": ["sgd", "hmc-1", "hmc-2"], "converged": [None, "False", True]})
    said = words.recorded_chains(rows)
    assert said.startswith("Of 2 HMC runs, 1 passed the check of their chains. Draws of others")
    assert words.recorded_chains(rows.iloc[[0, 2]]) == "Of 1 HMC runs, 1 passed the check of their chains."
    assert "has **not** been run" in words.recorded_chains(rows.iloc[:1])


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
    assert f"the {most} model is left the most accuracy ({left[most]:.0%})" in said
    assert said.endswith("The checks give no reason for doubt in one. In doubt, five: A. B.")
    assert "give no reason" not in words.evaluation(tables, {"one": ["A."], "five": ["B."]})
    both = words.side_by_side(tables, "accuracy")
    assert list(both.index) == list(tables["five"].index)
    assert pd.isna(both.loc["PGD, margin, other draws", "one"])
    assert "nan" not in show.table(both).to_html()

    rows = pd.concat(
        [
            rows.reset_index().assign(posterior=name, concerns=concerns, converged=converged)
            for (name, rows), concerns, converged in zip(tables.items(), (None, "C."), ("", "no"), strict=True)
        ]
    )
    assert words.recorded_evaluation(rows) == "five: C. The chains of five have **not** converged."
    calm = rows.assign(concerns=None, converged="yes")
    assert words.recorded_evaluation(calm) == "The checks give no reason for doubt in any of them."


def test_growth_is_told_by_the_last_doubling_and_by_the_last_worker_that_helps():
    rows = [("samples", 10, 1.0), ("samples", 20, 1.5), ("width", 64, 2.0), ("width", 128, 5.0), ("workers", 1, 60.0),
            ("workers", 2, 30.0), ("workers", 4, 20.0), ("workers", 8, 20.0), ("workers, measured", 1, 80.0),
            ("workers, measured", 2, 48.0)]  # fmt: skip
    told = words.growth(pd.DataFrame(rows, columns=["what", "value", "seconds"]))
    assert "costs 1.5 to 2.5 times the seconds" in told
    assert "Two workers take 60% of the time of one; more than 4 help" in told
