from __future__ import annotations

import re

import pytest

from relevance.studies import records, repeated


@pytest.fixture
def rows():
    return records.read_run("digits-small", "layers")


def test_a_recording_is_what_it_is(rows):
    assert repeated.differences(rows, rows.copy()) == []


def test_what_chains_differ_by_is_no_difference(rows):
    again = rows.copy()
    bayesian = again["model"].str.startswith("Bayesian")
    # 0.017 is the standard deviation of one chain's median at the first layer: two differ by at most 0.109.
    chosen = bayesian & (again["attack"] != "noise") & (again["layer"] == "1")
    again.loc[chosen, "lrp_robustness"] += 0.1
    assert repeated.differences(rows, again) == []
    again.loc[chosen, "lrp_robustness"] += 0.02
    assert len(repeated.differences(rows, again)) == 3 * 3  # models and attacks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.drop(columns="label"), "Only one of the two has the columns label."),
        (lambda rows: rows.assign(more=1), "Only one of the two has the columns more."),
        (lambda rows: rows.head(360), "It has 360 rows, and 5040 were recorded."),
        (lambda rows: rows.assign(label=rows["label"].replace(0, 1)), r"Its label is another in \d+ of 5040 rows."),
        (lambda rows: rows.assign(model=rows["model"].replace("Bayesian, 5", "Bayesian, 6")), r"Its model is another in 720 "),
        (lambda rows: rows.assign(lrp_robustness=rows["lrp_robustness"] + 0.05),
         r"The median lrp_robustness of Bayesian, 10 under noise, epsilon, layer 1 is 0\.\d+; recorded is 0\.\d+, and 0\.039 is"),
        (lambda rows: rows.assign(unrelated_lrp_robustness=float("nan")), "The median unrelated_lrp_robustness .* is nan"),
    ],
)  # fmt: skip
def test_what_is_more_is_said(rows, change, said):
    found = repeated.differences(rows, change(rows))
    assert found
    assert re.match(said, found[0]), found[0]
