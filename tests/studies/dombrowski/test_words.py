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
        "**Yes.** Of maps by the method *LRP*, 100% with small networks and 20% with others were led to their targets."
    )
    assert words.manipulated({"others": runs["others"]}, ["LRP"]).startswith("**Not often")
    found = tables.differences(table, "deterministic", "Bayesian")
    assert found.loc["LRP", "mean"] == pytest.approx(0.6)
    told = words.resists(table, "Bayesian")
    assert "more like themselves for LRP" in told
    assert "noise" not in told
    shaken = table.assign(correlation_origin=table["correlation_origin"].where(
        (table["change"] == "manipulated") | (table["model"] == "deterministic"), 1.5))  # fmt: skip
    assert "Under mere noise of that size it is the same way round" in words.resists(shaken, "Bayesian")


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
    assert "no defence helps" in words.steadiest(table[table["defence"] == "none"])
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
    said = words.tradeoff(compared(), "gradient", 20)
    assert said.startswith(
        "Of 2 settings of defences, 0 make the gradient's map steadier under attack; on these 20 images none"
    )
    assert words.posterior(compared()) == (
        "The expected map is neither seen to be steadier nor less steady; it is not seen to be more or less faithful by deletion "
        "and infidelity."
    )
    paid = {"similarity": (0.1, 0.2), "explained": (-0.3, -0.1)}
    found = compared(softplus=paid, posterior={"similarity": (0.1, 0.2), "explained": (0.1, 0.2)})
    said = words.tradeoff(found, "gradient", 20)
    assert said.endswith(
        "2 make the gradient's map steadier under attack; on these 20 images 1 of them cost faithfulness."
    )
    assert words.tradeoff(found.iloc[:1], "gradient", 20).endswith("all of them cost faithfulness.")
    assert "none of them is seen to cost" in words.tradeoff(found.iloc[1:], "gradient", 20)
    assert words.posterior(found) == (
        "The expected map is steadier; it is more faithful by infidelity and not seen to be more or less faithful by deletion."
    )


def test_networks_are_counted_and_the_farthest_from_conserving_is_named():
    rows = pd.DataFrame({"network": ["a", "b", "c"], "finite": [1, 1, 0], "time": [2.0, 3.0, 9.0],
                         "arrives": [1.001, -5.9, 0.98], "kept by": ["x 0%", "block.f 2221%", "y 2%"]})  # fmt: skip
    assert words.networks(rows) == (
        "Of 3 classifiers with random weights, 2 have a finite map, in 3.0 times the time of a gradient (median). In 1 the "
        "pixels get what the logit has, within 1 %. Farthest from it is b, where the layer that keeps the most is block.f."
    )


def test_photographs_that_were_led_are_counted_by_method():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    table = table.assign(relative=0.05, label_kept=True)
    count = table["image"].nunique()
    told = words.on_photographs(table)
    assert told.startswith(
        f"**Yes, with the maps of 1 of 1 methods, on at least one of {count} photographs**, by a change of at most 5.0%"
    )
    stood = table.assign(correlation_target=-0.5)
    assert words.on_photographs(stood).startswith("**Not in this search, with the maps of any of 1 methods**")
    assert words.photographed(table, table).startswith(
        "Where maps were led: those of LRP on every photograph. A second search"
    )
    assert "leads as many. Every photograph kept its class" in words.photographed(table, table)
    told = words.photographed(stood, table.assign(label_kept=False))
    assert told.startswith("Where maps were led: those of LRP on none.")
    assert "leads more by LRP. Not every photograph kept its class" in told


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


def test_large_networks_are_told_beside_other_libraries():
    rows = [("a", "epsilon LRP", 1.2, 0.4), ("b", "epsilon LRP", 1.5, 0.6), ("a", "epsilon LRP, zennit", 2.3, 1.5)]
    told = words.large_networks(pd.DataFrame(rows, columns=["network", "map", "time", "memory"]))
    assert "takes the time of 1.2 to 1.5 input gradients of bare autograd, and 60% of its memory at most" in told
    assert "zennit's takes that of 2.3, captum's that of no number of" in told
