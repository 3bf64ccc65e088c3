from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from oracles import planted_joint, straight_curves
from relevance.metrics import statistics
from relevance.studies.zeng import source, tables, words
from relevance.studies.zeng.source import table_1

pytestmark = pytest.mark.stochastic


def test_table_1_has_the_source_beside_ours():
    rows = [
        {"attribution": name, "share": share, "seed": seed, "accuracy": 0.5 + 0.01 * seed}
        for name in ("PGD-l2 1.5, 40 steps", "PGD-l2 1.5, 3 steps", "random")
        for share in (0.0, 0.2, 0.8)
        for seed in (0, 1, 2)
    ]
    found = tables.table_1(pd.DataFrame(rows))
    assert found.loc["PGD-l2 1.5, 40 steps", "20% removed, source"] == "0.874"
    assert found.loc["PGD-l2 1.5, 40 steps", "80% removed, source"] == "0.651"
    assert found.loc["PGD-l2 1.5, 3 steps", "20% removed, source"] == ""
    alone = tables.table_1(pd.DataFrame(rows[-9:]))
    assert [name for name in alone if "source" in name] == []
    assert found.loc["random", "80% removed, here"].startswith("0.510 ± 0.02")
    chosen = source.by_steps(["PGD-l2 1.5"], [20, 40])
    assert [one.n_steps for one in chosen.values()] == [20, 40]
    assert list(chosen) == ["PGD-l2 1.5, 20 steps", "PGD-l2 1.5, 40 steps"]


def test_a_model_that_fgsm_does_nothing_to_counts_in_no_correlation_of_it():
    rows = planted_joint()
    rows.loc["e", "LRP under FGSM"] = 0
    found = tables.correlations(rows).set_index(["first", "second"])
    assert tuple(found.loc[("accuracy", "LRP under FGSM"), ["rho", "models"]]) == pytest.approx((1, 5))
    assert found.loc[("accuracy", "LRP under PGD"), "models"] == 6


def test_summaries_against_closed_forms():
    table = straight_curves(random=(0.2, [0, 0.1, 0.2]), Sobel=(0.2, [0.01, 0.08, 0.21]), good=(0.8, [0, 0.1, 0.2]))
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    found = tables.accuracies(table)
    assert tuple(found.loc[1, ["mean", "low", "high"]]) == pytest.approx((1.0, 1.0 - half, 1.0 + half))
    same = stats.t.interval(0.95, 2, loc=1.0, scale=stats.sem([0.9, 1.0, 1.1]))
    assert tuple(found.loc[1, ["low", "high"]]) == pytest.approx(same)
    np.testing.assert_allclose(tables.areas(table).loc["good"], [0.8, 0.9, 1.0])
    rows = tables.differences(table)
    assert rows.index[0] == "good"
    # Paired by seed, the offsets cancel.
    assert tuple(tables.compared(rows.loc["good"], "random")) == pytest.approx((-0.15, -0.15, -0.15))
    said = words.roar(table)
    assert said == "Compared with a random order, accuracy falls sooner for *good*."
    assert "*good* falls sooner than that of *random*" in words.pair(table, "good", "random")
    assert math.isnan(statistics.t_interval([0.5]).low)
    with pytest.raises(ValueError, match="baselines is 'random'"):
        tables.differences(table[table["attribution"] == "good"])


def test_the_source_s_table_stands_beside_ours():
    source = table_1()
    assert len(source) == 14 * 4
    one = source[(source["norm"] == "linf") & (source["epsilon"] == "8/255") & (source["steps"] == 40)]
    assert list(one["accuracy"]) == [0.8943, 0.8405, 0.7703, 0.6524]
    table = pd.concat([straight_curves(random=(0.2, [0, 0.1]))] * 1).replace({"share": {0.5: 0.4}})
    rows = tables.beside(table)
    assert list(rows.columns) == ["40% removed"]
    assert rows.loc["source, PGD l2", "40% removed"] == "0.815 to 0.838"
    assert list(rows.index[-1:]) == ["random"]


def test_models_have_the_books_names():
    table = straight_curves(**{"gradient (SGD)": (0.2, [0]), "all logits (HMC)": (0.2, [0]), "PGD-l2 1": (0.1, [0])})
    named = list(tables.with_model_names(table)["attribution"].unique())
    assert named == ["gradient (deterministic)", "all logits (Bayesian)", "PGD-l2 1"]
    assert table["attribution"].iloc[0] == "gradient (SGD)"
