from __future__ import annotations

import pytest

from oracles import made_up_manipulations
from relevance.studies import records
from relevance.studies.dombrowski import tables, words


def test_outputs_that_moved_are_no_success():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    assert tables.succeeded(table.assign(output_change=0.2)).sum() == 0
    assert tables.succeeded(table.assign(label_kept=False)).sum() == 0


@pytest.mark.parametrize("run", records.runs("manipulation"))
def test_what_is_said_of_recorded_manipulations_follows_from_their_rows(run):
    table, story = records.read_run(run, "manipulation"), records.provenance(run, "manipulation")
    found = tables.summary(table)
    for row in found.to_dict("records"):
        part = table[(table["model"] == row["model"]) & (table["method"] == row["method"])]
        part = part[part["change"] == "manipulated"]
        assert len(part) == story["settings"]["n_images"] == row["images"]
        closer = part["correlation_target"] > part["correlation_origin"]
        held = (part["label_kept"].astype(int) == 1) & (part["output_change"] <= 0.1)
        assert row["manipulated"] == pytest.approx((closer & held).mean())
        assert row["to target"] == pytest.approx(part["correlation_target"].median())
        assert row["manipulated, low"] <= row["manipulated"] <= row["manipulated, high"]
        assert part["l2"].max() <= 4.001
    for row in found[found["model"] == "deterministic"].to_dict("records"):
        told = words.manipulated({"networks": found}, [row["method"]])
        assert told.startswith("**Yes.**") == (row["manipulated"] > 0.5)
        assert f"{row['manipulated']:.0%} with networks." in told


def test_the_image_that_was_led_farthest_is_found():
    table = made_up_manipulations({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    table.loc[7, "correlation_target"] = 0.99
    table.loc[7, "correlation_origin"] = -0.9
    assert tables.farthest(table, "deterministic", "LRP") == 7
