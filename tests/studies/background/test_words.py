"""Sentences and tables follow the numbers that they are given."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import torch

from oracles import FakePosterior
from relevance import attacks
from relevance.explanations.deep_taylor import RootPoints
from relevance.pages import show
from relevance.studies.background import words

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize(
    ("converged", "message"),
    [
        ([True, True], r"for 2 of 2 images, at a median distance of 1.00 \(Euclidean, in units of the pixel range\).$"),
        ([True, False], "for 1 of 2 images, .* The others have the map of the best point"),
        ([False, False], r"for \*\*none\*\* of 2 images"),
    ],
)
def test_the_search_for_roots_is_reported_as_it_went(converged, message):
    found = RootPoints(torch.zeros(2, 1, 1, 1), torch.zeros(2), torch.tensor([1.0, 3.0]), torch.tensor(converged))
    assert re.search(message, words.roots(found))


def test_the_line_s_sentence_has_its_numbers():
    rows = pd.DataFrame({"sd slope": [0.4, 0.2], "correlation": [-0.8, 0.01]}, index=["exact", "VI"])
    said = words.mean_field(rows)
    assert "a correlation of \N{MINUS SIGN}0.800" in said
    assert "a standard deviation of the slope of 50% of the exact one" in said
    assert said.endswith("correlation, 60%.")


def test_evidence_is_said_as_the_table_has_it():
    rows = pd.DataFrame(
        {
            "NLL": [0.3, 0.2, 0.4],
            "ECE": [0.01, 0.05, 0.09],
            "total variation": [0.0, 0.1, 0.2],
            "saturated": [0, 0, 0.03],
        },
        index=["HMC", "a", "b"],
    )
    said = words.evidence(rows, "HMC")
    assert "lowest NLL is that of a (0.200), the lowest calibration error that of HMC (0.010)" in said
    assert "Nearest to HMC in total variation is a (0.100), farthest b (0.200)" in said
    assert "The most saturated is b, on 3.0% of the images." in said
    assert "No posterior is saturated" in words.evidence(rows.assign(saturated=0.0), "HMC")


def test_the_sampler_s_cost_is_said_as_ratios_of_each_case():
    columns = ["case", "sampler", "per 1,000 gradients"]
    rows = pd.DataFrame([["a", "ours", 20], ["a", "Pyro's NUTS", 4], ["a", "before", 1], ["b", "ours", 6],
                         ["b", "Pyro's HMC", 12]], columns=columns)  # fmt: skip
    said = words.sampler_cost(rows)
    assert "a: 20.0, 5.0 times that of Pyro's NUTS; b: 6.0, 0.5 times that of Pyro's HMC." in said


def test_starts_are_told_apart():
    rows = pd.DataFrame({
        "start": ["sgd", "prior", "sgd"], "k-LRP, shared": [0.5, 0.7, 0.6], "accuracy, FGSM": [0.1, 0.4, 0.3],
    })  # fmt: skip
    said = words.starts(rows)
    assert (
        "2 that began at a solution of SGD have k-LRP between 0.500 and 0.600, and FGSM leaves 20% of the images right"
        in said
    )
    assert "1 that began at a draw of the prior have k-LRP between 0.700 and 0.700, and FGSM leaves 40%" in said


def test_saturation_is_said_of_the_record_as_it_is():
    rows = pd.DataFrame(
        {
            "posterior": ["sgd", "variational"],
            "saturated": [0.55, 0.0],
            "date": ["2026-11-19", "2026-11-20"],
            "hardware": "x",
        }
    )
    said = words.saturation(rows)
    assert said.startswith("sgd is saturated on 55% of the test images")
    assert "HMC has **not** been run to the end" in said
    assert "2026-11-20, x" in said
    chains = {"prior scale": 0.1, "samples": 50, "warmup": 30.0, "R-hat": 2.26, "ESS": 5.0}
    calm = rows.assign(saturated=0.0, posterior=["sgd", "hmc-0.1"], **chains)
    said = words.saturation(calm.assign(converged=[None, "False"]))
    assert said.startswith("None of them is saturated")
    assert (
        "prior scale 0.1: 50 draws after 30 of warm-up, R-hat 2.26, effective sample size 5, which does **not** pass"
        in said
    )
    assert "not known to be a sample" in said
    said = words.saturation(calm.assign(converged=[None, True]))
    assert "which passes." in said
    assert "not known" not in said


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
    import pandas as pd

    far = pd.DataFrame({"epsilon": [0.1, 0.5], "accuracy": [0.9, 0.4]})
    assert said(by_epsilon=far) == ["In a ball of 0.5 the accuracy is still 40.0%."]
    rising = pd.DataFrame({"step": range(8), "loss": range(8), "best": range(8)})
    flat = pd.DataFrame({"step": range(8), "loss": [1.0] * 8, "best": [1.0] * 8})
    assert said(by_steps=flat) == ["The loss did not rise at any step."]
    assert "The last quarter of the steps still brought 14%" in said(by_steps=rising)[0]


def test_what_is_known_of_convergence_is_said():
    said = words.convergence(FakePosterior())
    assert "100 draws of 4 chains, after 50 draws of warm-up each" in said
    assert ">HMC: nearly</span> (R-hat 1.020, 140 effective draws), the worst of 197 values." in said
    assert ">HMC: not converged</span>, the" in words.convergence(
        FakePosterior(certificate="not converged", rhat=None, ess=None)
    )
    assert "it has no certificate" in words.convergence(FakePosterior(step_sizes=[0.01]))


def test_sentences_follow_the_tables(galleries):
    said = words.attacks(galleries)
    for name, found in galleries.items():
        overlap = found.table()["overlap"]
        assert f"{name}: least is left by {overlap.idxmin()} ({overlap.min():.0%})" in said
        weak = overlap.drop("random corners")[lambda left, noise=overlap["random corners"]: left >= noise]
        (line,) = [line for line in said.splitlines() if line.startswith(f"- {name}:")]
        assert all(attack in line for attack in weak.index)
        assert ("says nothing for the network" in line) == bool(len(weak))
    compared = pd.DataFrame({"direction": [1, -1, 0], "n_images": 6}, index=["FGSM", "PGD", "top-k"])
    assert words.by_attack(compared, "one", "five") == (
        "Over the same 6 images, five keeps, compared with one, more under FGSM; less under PGD; not distinguishably more "
        "or less under top-k."
    )
    assert words.by_attack(compared.iloc[:1], "one", "five").endswith("compared with one, more under FGSM.")


def test_the_evaluation_is_put_in_words(dense_posterior, some_images, some_labels):
    small = {"n_steps": 2, "n_restarts": 1, "n_queries": 4, "progress": False}
    tables = {
        name: attacks.evaluate(model, some_images, some_labels, 0.2, **small)
        for name, model in (("one", dense_posterior[0]), ("five", dense_posterior))
    }
    said = words.evaluation(tables, {"one": [], "five": ["A.", "B."]})
    worst = tables["five"].loc["worst of all", "accuracy"]
    assert f"five from {tables['five'].loc['none', 'accuracy']:.1%} to {worst:.1%}" in said
    assert "- **one**: no reason for doubt was found." in said
    assert "- **five**: A. B." in said
    both = words.side_by_side(tables, "accuracy")
    assert list(both.index) == list(tables["five"].index)
    assert pd.isna(both.loc["PGD, margin, other draws", "one"])
    assert "nan" not in show.table(both).to_html()

    rows = pd.concat(
        [
            rows.reset_index().assign(
                posterior=name, concerns=concerns, samples=n, images=6, epsilon=0.2, date="2026-01-01", hardware="CPU",
                converged="" if n == 1 else "no", queries=4, versions="torch 2",
                **{"total seconds": 90, "PGD steps": 2},
            )
            for (name, rows), concerns, n in zip(tables.items(), (None, "C."), (1, 5), strict=True)
        ]
    )  # fmt: skip
    text = words.recorded_evaluation(rows)
    assert "- **one** (1 sample): no doubt." in text
    assert "- **five** (5 samples): C." in text
    assert "The chains of five have **not** converged." in text
    assert (
        "6 test images, size of the ball 0.2; PGD with 2 steps from one random start, 4 squares; 3 minutes together; torch 2."
        in text
    )
