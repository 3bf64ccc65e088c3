"""Verdicts on the third source, on planted tables and on the recorded ones."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from oracles import planted_joint, straight_curves
from relevance.metrics import SHARES
from relevance.studies import records
from relevance.studies.zeng import claims, tables

SEEDS = [0.0, 0.01, 0.02]
SMALL, LARGE = "PGD-l2 1, 20 steps", "PGD-l2 2.5, 20 steps"


def curves(**slopes):
    """Curves whose area is 1 less a quarter of the slope, alike for three seeds."""
    given = {"standard": 0.2, "distillation": 0.2, "Jacobian": 0.6, SMALL: 0.6, LARGE: 0.6, **slopes}
    return straight_curves(**{name: (slope, SEEDS) for name, slope in given.items()})


def test_defences_are_judged_by_their_areas():
    assert claims.pgd_is_more_faithful(curves()).verdict == "lower in all 2 (one run)"
    found = claims.pgd_is_more_faithful(curves(**{LARGE: 0.2}))
    assert found.cells["standing"].to_dict() == {SMALL: "lower", LARGE: "equivalent"}
    assert found.cells["mean"].to_dict() == pytest.approx({SMALL: -0.1, LARGE: 0.0})
    assert claims.distillation_is_as_standard(curves()).verdict == "equivalent (one run)"
    assert claims.distillation_is_as_standard(curves(distillation=0.4)).verdict == "lower (one run)"
    assert claims.jacobian_is_worse_than_pgd(curves(Jacobian=0.4)).verdict == "higher in all 2 (one run)"
    assert claims.jacobian_is_worse_than_pgd(curves(Jacobian=0.8)).verdict == "lower in all 2 (one run)"


def test_what_strength_does_is_judged_from_each_setting_to_the_next():
    more = {"PGD-l2 1, 40 steps": 0.6, "PGD-l2 2.5, 40 steps": 0.8}
    found = claims.strength_does_not_matter(curves(**more))
    assert found.cells["standing"].to_dict() == {
        "l2, 1 to 2.5, 20 steps": "equivalent",
        "l2, 1 to 2.5, 40 steps": "lower",
        "l2 1, 20 to 40 steps": "equivalent",
        "l2 2.5, 20 to 40 steps": "lower",
    }
    assert claims.strength_does_not_matter(curves()[lambda rows: rows["attribution"] != LARGE])[:1] == (
        "not judged: no such setting",
    )


def test_the_spread_of_seeds_is_the_interval():
    table = curves()
    noisy = table["attribution"] == "distillation"
    table.loc[noisy & (table["share"] > 0), "accuracy"] += table["seed"].map({0: -0.4, 1: 0.0, 2: 0.1})
    found = claims.distillation_is_as_standard(table).cells.iloc[0]
    wanted = stats.ttest_1samp(np.array([-0.2, 0.0, 0.05]), 0)
    assert found["p_value"] == pytest.approx(wanted.pvalue)
    assert (found["low"], found["high"]) == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found["standing"] == "undecided"
    assert claims.distillation_is_as_standard(table[table["seed"] == 0]).verdict == "not judged: one seed only"


def test_areas_end_where_a_curve_begins_to_rise():
    table = pd.concat([curves(), curves().query("share > 0").assign(share=1.0)], ignore_index=True)
    leaky = (table["attribution"] == LARGE) & (table["share"] == 1)
    table.loc[leaky, "accuracy"] += 0.3
    assert tables.falling(table)["share"].max() == 0.5
    assert "up to 50% of the pixels removed" in claims.pgd_is_more_faithful(table).evidence
    assert tables.falling(curves())["share"].max() == 0.5


def joint():
    rows = planted_joint().rename(
        index={"a": "PGD-l2 1", "b": "PGD-linf 4/255", "c": "HMC", "d": "variational", "e": "ensemble"}
    )
    return rows.assign(alignment=[0.2, 0.8, 0.21, 0.5, 0.5, 0.5])


def test_the_joint_table_is_judged_by_its_intervals():
    rows = joint()
    found = claims.averaging_is_more_faithful(rows.reset_index(names="model"), unmixed=True).cells
    assert found.loc["variational", ["mean", "low", "high"]].tolist() == pytest.approx([-0.4, -0.55, -0.25])
    assert found["standing"].to_dict() == {"HMC": "not judged", "variational": "lower", "ensemble": "undecided"}
    assert claims.averaging_is_more_faithful(rows.loc[["standard"]]).verdict == "not judged: no such setting"


def test_alignment_is_judged_image_by_image_and_not_at_chance():
    # What images share takes no part in the difference of two networks on them.
    shared, own = np.random.default_rng(0).normal(0, [[1.0], [0.05]], (2, 120))
    parts = []
    for name, level, n_right in (("standard", 0.0, 120), ("PGD-l2 1", 0.6, 120), ("PGD-linf 4/255", 0.6, 30)):
        seen = {"image": range(120), "label": np.arange(120) % 4, "alignment": level + shared + (own if level else 0)}
        rows = pd.DataFrame({"training": name, **seen})
        parts.append(rows.assign(clean_class=(rows["label"] + (rows["image"] >= n_right)) % 4))
    table = pd.concat(parts, ignore_index=True)
    found = claims.robust_maps_are_aligned(table)
    assert found.verdict == "higher in 1 of 2; 1 not judged: at chance (one run)"
    row = found.cells.loc["PGD-l2 1"]
    wanted = stats.ttest_1samp(0.6 + own, 0).confidence_interval(0.95)
    assert (row["mean"], row["low"], row["high"]) == pytest.approx((0.6 + own.mean(), *wanted), abs=0.003)
    few = table[table["image"] < 99]
    assert claims.robust_maps_are_aligned(few).cells["reason"].to_dict()["PGD-l2 1"] == "too few images"


def test_draws_of_chains_that_have_not_converged_are_not_judged_whatever_their_numbers_are():
    rows = joint()
    for shift in (-0.4, 0.4):
        for end, spread in (("", 0), (", low", -0.01), (", high", 0.01)):
            rows.loc["HMC", f"{tables.GAIN}{end}"] = shift + spread
        found = claims.averaging_is_more_faithful(rows, True)
        assert found.verdict == "lower in 1 of 3, undecided in 1; 1 not judged: chains not converged (one run)"
        assert found.cells.loc["HMC", "mean"] == shift
    # Holm's rule is of the settings that are judged: one alone stands by its own p-value.
    alone = claims.averaging_is_more_faithful(rows.loc[["HMC", "variational"]], True)
    assert alone.cells["standing"].to_dict() == {"HMC": "not judged", "variational": "lower"}
    assert claims.averaging_is_more_faithful(rows.loc[["HMC"]], True).verdict == "not judged: chains not converged"
    assert claims.averaging_is_more_faithful(rows.loc[["HMC"]], False).verdict == "higher (one run)"


def test_generated_maps_are_judged_image_by_image():
    noise = np.random.default_rng(0).normal(0, 0.02, 120)
    means = {"standard gradient": 0.2, "mean map of the class": 0.8, "decoder on features": 0.9, "generator alone": 0.8}
    rows = [
        pd.DataFrame({"map": name, "image": range(120), "correlation": mean + noise}) for name, mean in means.items()
    ]
    table = pd.concat(rows, ignore_index=True)
    assert claims.generated_maps_are_aligned(table).verdict == "higher in all 2 (one run)"
    found = claims.generated_maps_know_the_image(table)
    assert found.cells["standing"].to_dict() == {"decoder on features": "higher", "generator alone": "equivalent"}
    few = table[table["image"] < 99]
    assert claims.generated_maps_are_aligned(few).verdict == "not judged: too few images"


def test_deletion_is_judged_for_each_judge():
    steep = {"standard gradient": 0.2, "decoder on features": 0.6, "generator alone": 0.2}
    parts = []
    for judge, sign in (("standard network", 1), ("robust network", -1)):
        for name, slope in steep.items():
            curve = 1 - (slope if sign > 0 else 0.8 - slope) * np.asarray(SHARES)
            rows = pd.DataFrame(np.tile(curve, (100, 1)), columns=[f"{share:g}" for share in SHARES])
            parts.append(rows.assign(judge=judge, map=name))
    found = claims.generated_maps_are_faithful(pd.concat(parts, ignore_index=True)).cells
    assert found["standing"].to_dict() == {
        "decoder on features, standard network": "lower",
        "generator alone, standard network": "equivalent",
        "decoder on features, robust network": "higher",
        "generator alone, robust network": "equivalent",
    }


def test_every_claim_on_the_third_source_has_a_verdict_from_a_recorded_run():
    rows = claims.claimed()
    assert set(rows.index) == {claim.text for claim in claims.CLAIMS}
    assert (rows["verdict"].str.len() > 0).all()
    assert (rows["evidence"].str.len() > 20).all()
    # Anew, from the file: distillation beside standard training, over the shares up to which no curve rises.
    table = records.read_run("mnist-table-1", "roar")
    part = table[(table["share"] <= 0.6) & table["attribution"].isin(["distillation", "standard"])]
    wide = part.groupby(["attribution", "share"])["accuracy"].mean().unstack()
    shares = wide.columns.to_numpy(float)
    area = {name: np.trapezoid(values, shares) / 0.6 for name, values in wide.iterrows()}
    told = rows.loc["those of distillation are as faithful as those of standard training"]
    said = re.search(r"distillation less standard (\S+) \[", told["evidence"])[1].replace("\N{MINUS SIGN}", "-")
    assert float(said) == pytest.approx(area["distillation"] - area["standard"], abs=0.00051)
    assert (told["says"], told["verdict"]) == ("equivalent", "lower (one run)")
