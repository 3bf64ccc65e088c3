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
    runs = {"small networks": rows.reset_index(), "others": rows.reset_index().assign(manipulated=0.2)}
    assert words.manipulated(runs, ["LRP"]) == (
        "**Yes.** Of single networks' maps so many were led to their targets: by the method *LRP*, 100% with small networks and "
        "20% with others."
    )
    assert words.manipulated({"others": runs["others"]}, ["LRP"]).startswith("**Not often")
    found = tables.differences(table, "deterministic", "Bayesian")
    assert found.loc["LRP", "mean"] == pytest.approx(0.6)
    told = words.resists(table, "Bayesian")
    assert "more like themselves for LRP" in told
    assert "noise" not in told
    shaken = table.assign(correlation_origin=table["correlation_origin"].where(
        (table["change"] == "manipulated") | (table["model"] == "deterministic"), 1.5))  # fmt: skip
    assert "Mere noise of that size gives the same order" in words.resists(shaken, "Bayesian")


def test_summaries_have_the_norms_that_were_recorded():
    table = made_up_manipulations({("deterministic", "manipulated"): 0.3, ("deterministic", "noise"): 0.4})
    assert tables.summary(table)["noise l2"].item() == 1
    assert tables.summary(table)["l2 / image"].isna().all()
    assert tables.summary(table.assign(relative=0.2))["l2 / image"].item() == 0.2


def test_the_shares_are_drawn_for_every_run():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4,
                     ("Bayesian, 10", "manipulated"): 0.3, ("Bayesian, 10", "noise"): 0.4})  # fmt: skip
    figure = figures.manipulated_shares({"one": tables.summary(table), "other": tables.summary(table)})
    assert [axis.get_title() for axis in figure.axes] == ["one", "other"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["deterministic", "Bayesian"]


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
    medians = tables.smoothed(table)
    left = {how: tables.chosen(table[table["manipulation"] == how])["median"] for how in (UNAWARE, AWARE)}
    assert words.steadiest(table) == (
        "Against an attacker who knows of the defence, softplus keeps the map best: it correlates "
        f"{left[AWARE]['softplus']:.2f} with the original, and without a defence {left[AWARE]['none']:.2f} (too few images for a "
        "verdict)."
    )
    told = words.steadiest(table, UNAWARE)
    assert told.startswith("Against an attacker who does not know of the defence, softplus")
    assert f"correlates {left[UNAWARE]['softplus']:.2f}" in told
    assert "no defence helps: the map correlates" in words.steadiest(table[table["defence"] == "none"])
    often = pd.concat([table.assign(image=table["image"] + 30 * repeat) for repeat in range(4)])
    assert "too few" not in words.steadiest(often)
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
    assert words.tradeoff(compared(), "gradient") == (
        "0 of 2 settings of defences make the gradient's map steadier under attack; on these images none of them are seen to "
        "cost faithfulness."
    )
    assert words.posterior(compared()) == (
        "The expected map is neither seen to be steadier nor less steady; it is not seen to be more or less faithful by deletion "
        "and infidelity."
    )
    paid = {"similarity": (0.1, 0.2), "explained": (-0.3, -0.1)}
    found = compared(softplus=paid, posterior={"similarity": (0.1, 0.2), "explained": (0.1, 0.2)})
    assert words.tradeoff(found, "gradient").startswith("2 of 2 settings")
    assert "on these images 1 of them" in words.tradeoff(found, "gradient")
    assert "on these images all of them" in words.tradeoff(found.iloc[:1], "gradient")
    assert "on these images none of them" in words.tradeoff(found.iloc[1:], "gradient")
    assert words.posterior(found) == (
        "The expected map is steadier; it is more faithful by infidelity and not seen to be more or less faithful by deletion."
    )


def test_networks_are_counted_by_whether_they_conserve():
    rows = pd.DataFrame({"finite": [1, 1, 0], "time": [2.0, 3.0, 9.0], "arrives": [1.001, -5.9, 0.98]})
    assert words.networks(rows) == (
        "Of 3 classifiers with random weights, 2 have a finite map; in 1 it adds up to the logit within 1 %. A map "
        "of one small image takes as long as 3.0 gradients (median)."
    )


@pytest.mark.parametrize(("slack", "word"), [([1.5, 40.0], "never broken"), ([0.5, 40.0], "broken 1 times")])
def test_a_bound_that_was_broken_is_said(slack, word):
    told = words.theorem_1(pd.DataFrame({"beta": [1.0, 100.0], "slack": slack}))
    assert f"On 2 paths to manipulated images, the bound on the map's direction was {word}. " in told
    allowed = f"It allows {slack[0]:.1f} times the turn that happened in the softest network (beta 1)"
    assert told.endswith(f"{allowed}, and 40 times in the sharpest (100).")


def test_photographs_that_were_led_are_counted_by_method():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    table = table.assign(relative=0.05, label_kept=True)
    count = table["image"].nunique()
    told = words.on_photographs(table)
    assert told.startswith(
        f"**Yes, with the maps of 1 methods**, on at least one of {count} photographs, by a change of at"
    )
    stood = table.assign(correlation_target=-0.5)
    assert words.on_photographs(stood).startswith(
        f"**Not in this search**, on {count} photographs, by a change of at most 5.0%"
    )
    assert words.photographed(table, table) == (
        "A second search, along another softened network, leads as many maps by LRP. Every photograph kept its class, and no "
        f"probability moved by more than {table.loc[table['change'] == 'manipulated', 'output_change'].max():.2f}."
    )
    told = words.photographed(stood, table.assign(label_kept=False))
    assert "leads more by LRP. Not every photograph kept its class" in told
    assert "network, leads fewer by LRP." in words.photographed(table, stood)


def test_averaging_is_told_by_who_knows_of_it():
    given = {
        ("none", 0, UNAWARE): 0,
        ("none", 0, AWARE): 0,
        ("posterior", 4, UNAWARE): 0.3,
        ("posterior", 4, AWARE): 0.1,
    }
    rows = made_up(given)
    medians = rows.groupby(["defence", "manipulation"])["similarity"].median()
    told = words.averaged(rows)
    assert f"{medians['posterior', UNAWARE]:.2f} of the gradient's map is left where the attacker does not know" in told
    assert (
        f"{medians['posterior', AWARE]:.2f} where he averages too, and {medians['none', AWARE]:.2f} without a defence"
        in told
    )
    assert told.endswith(f"{rows[rows['defence'] == 'none']['similarity'].max():.2f} of any map.")
