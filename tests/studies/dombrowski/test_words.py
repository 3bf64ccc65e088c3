from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from oracles import made_up_manipulations
from relevance.pages import figures
from relevance.studies.dombrowski import smoothing, tables, words
from relevance.studies.dombrowski.smoothing import AWARE, UNAWARE


def test_resistance_follows_the_numbers():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4,
                     ("Bayesian", "manipulated"): 0.3, ("Bayesian", "noise"): 0.4})  # fmt: skip
    rows = tables.summary(table).set_index("model")
    assert rows.loc["deterministic", "manipulated"] == 1
    assert rows.loc["deterministic", "to origin"] == pytest.approx(0.2, abs=0.05)
    assert rows.loc["Bayesian", "manipulated, high"] < 0.5
    assert "most images were manipulated for LRP (100%)" in words.manipulated(table, "deterministic")
    assert "fewer than half were for LRP (2%)" in words.manipulated(table, "Bayesian")
    found = tables.differences(table, "deterministic", "Bayesian")
    assert found.loc["LRP", "mean"] == pytest.approx(0.6)
    told = words.resists(found, "deterministic", "Bayesian")
    assert "more for LRP" in told
    assert "Under noise" not in told
    shaken = table.assign(correlation_origin=table["correlation_origin"].where(
        (table["change"] == "manipulated") | (table["model"] == "deterministic"), 1.5))  # fmt: skip
    assert "Under noise of the same size" in words.resists(
        tables.differences(shaken, "deterministic", "Bayesian"), "deterministic", "Bayesian"
    )


def test_a_search_that_found_nothing_is_called_that():
    table = made_up_manipulations({("deterministic", "manipulated"): 0.3, ("deterministic", "noise"): 0.4})
    assert "hardly came nearer" not in words.manipulated(table, "deterministic")
    stuck = table.assign(correlation_target=0.12)
    assert "hardly came nearer to the target for LRP (0.10 before, 0.12 after)" in words.manipulated(
        stuck, "deterministic"
    )
    # Where there was little room, little is enough.
    assert "hardly came nearer" not in words.manipulated(
        stuck.assign(before=0.95, correlation_target=0.97), "deterministic"
    )
    assert tables.summary(stuck)["noise l2"].item() == 1
    assert tables.summary(stuck)["l2 / image"].isna().all()
    assert tables.summary(stuck.assign(relative=0.2))["l2 / image"].item() == 0.2


def test_noise_that_is_too_small_is_told():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    assert words.noise(table) == ""
    small = table.assign(l2=table["l2"].where(table["change"] == "manipulated", 0.7))
    assert "only 70% of the norm" in words.noise(small)


def made_up(shifts):
    base = np.random.default_rng(0).uniform(0.3, 0.6, 30)
    rows = []
    for (name, parameter, how), shift in shifts.items():
        setting = {"defence": name, "parameter": parameter, "manipulation": how}
        rows.append(pd.DataFrame({**setting, "image": range(30), "similarity": base + shift}))
    return pd.concat(rows, ignore_index=True)


def test_what_helps_follows_the_numbers():
    table = made_up({("none", 0, UNAWARE): 0, ("none", 0, AWARE): 0, ("softplus", 3, UNAWARE): 0.2, ("softplus", 3, AWARE): -0.1,
                     ("softplus", 9, UNAWARE): 0.0, ("softplus", 9, AWARE): 0.1})  # fmt: skip
    rows = tables.defended(table)
    assert rows.loc[("softplus", "3"), UNAWARE] == pytest.approx(0.2)
    told = words.helps(rows)
    assert f"*{UNAWARE}*: steadier than without: softplus 3; not distinguishable: softplus 9." in told
    assert f"*{AWARE}*: steadier than without: softplus 9; less steady: softplus 3." in told
    medians = tables.smoothed(table)
    figure = figures.smoothing(medians, {"softplus": "beta"})
    assert len(figure.axes) == 1
    assert medians["low"].le(medians["median"]).all()


def compared(**changes):
    """A table of differences in which nothing differs, but for what is given: defence -> column -> (low, high)."""
    rows = []
    for defence in (smoothing.BETA, smoothing.POSTERIOR):
        row = {"defence": defence, "setting": "5"}
        for column in ("similarity", "deletion gain", "explained"):
            low, high = changes.get(defence, {}).get(column, (-0.1, 0.1))
            row |= {column: (low + high) / 2, f"{column} low": low, f"{column} high": high}
        rows.append(row)
    return pd.DataFrame(rows).set_index("defence")


def test_the_answer_follows_the_table():
    text = words.tradeoff(compared())
    assert "Less steady, or not distinguishable: softplus (5) and posterior (5)." in text
    assert "By deletion not distinguishably" in text
    paid = {"similarity": (0.1, 0.2), "explained": (-0.3, -0.1)}
    text = words.tradeoff(compared(softplus=paid, posterior={"similarity": (0.1, 0.2), "explained": (0.1, 0.2)}))
    assert "or both: softplus (5). Steadier, and no such loss to be seen on these images: posterior (5)." in text
    assert "not distinguishable: none." in text
    assert "by infidelity more (+0.150" in text


def test_what_is_lost_is_named():
    rows = pd.DataFrame(
        [
            {"defence": smoothing.NONE, "setting": "", "map": "LRP", "explained": 0.9},
            {"defence": smoothing.BETA, "setting": "beta 1", "map": "LRP", "explained": 0.4},
            {"defence": smoothing.BETA, "setting": "beta 9", "map": "LRP", "explained": 0.88},
        ]
    )
    text = words.lost(rows)
    assert "LRP under softplus (beta 1: 0.40 instead of 0.90)" in text
    assert "beta 9" not in text
    assert words.lost(rows[rows["setting"] != "beta 1"]).endswith("no map.")


def test_networks_are_counted_and_the_farthest_from_conserving_is_named():
    rows = pd.DataFrame({"network": ["a", "b", "c"], "finite": [1, 1, 0], "time": [2.0, 3.0, 9.0],
                         "arrives": [1.001, -5.9, 0.98], "kept by": ["x 0%", "block.f 2221%", "y 2%"]})  # fmt: skip
    assert words.networks(rows) == (
        "Of 3 classifiers with random weights, 2 have a finite map, for 3.0 input gradients (median). In 1 the pixels get what "
        "the logit has, within 1 %. Farthest from it is b, where the layer that keeps the most is block.f."
    )


def test_photographs_that_were_led_are_counted_by_method():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    table = table.assign(relative=0.05)
    told = words.on_photographs(table)
    assert told.startswith("**Yes, for 1 of the six methods**, with a change of at most 5.0% of the photograph's norm.")
    stood = table.assign(correlation_target=-0.5)
    assert words.on_photographs(stood).startswith("**Not in this search, for any of 1 of the six methods**")
    assert "stayed, in the median, the maps of LRP" in words.photographed(stood)
    assert "stayed" not in words.photographed(table)
    assert words.photographed(table.assign(label_kept=True)).startswith("Every photograph kept its class")
    assert words.photographed(table.assign(label_kept=False)).startswith("Not every photograph kept its class")


def test_averaging_is_judged_by_who_knows_of_it():
    given = {
        ("none", 0, UNAWARE): 0,
        ("none", 0, AWARE): 0,
        ("posterior", 4, UNAWARE): 0.3,
        ("posterior", 4, AWARE): 0.1,
    }
    assert words.averaged(made_up(given)).startswith("Averaging over noisy weights steadies the gradient of these 30")
    told = words.averaged(made_up({**given, ("posterior", 4, AWARE): -0.1}))
    assert "does not steady" in told
    assert "against an attacker who does not know of it, and" in told
