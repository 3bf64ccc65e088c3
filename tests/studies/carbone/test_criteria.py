"""Criteria on tables in which what they ask for is planted, and on tables in which it is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from relevance.attacks.named import NOISE
from relevance.studies.carbone import criteria, recipes, source, why
from relevance.studies.carbone.criteria import ANOTHER, CHANGES, NO, OPEN, YES, Table
from relevance.studies.carbone.recipes import FROM_BOX, FROM_SGD, MIXED, ONCE, PER_BATCH, POOLED, SGD
from relevance.studies.carbone.why import ALL, CALLED

N = 40
RANKS = np.linspace(-0.1, 0.1, N)
# A permutation whose rank correlation with the order is nothing much.
SHUFFLED = RANKS[np.random.default_rng(3).permutation(N)]


def rows_of(recipe, cell, score=0.5, *, correlated=False, zeros=0.0, softmax=0.5, kept=1.0):
    """Rows of one cell whose scores have a mean, and follow softmax robustness or not."""
    blind = np.arange(N) < zeros * N
    rows = pd.DataFrame({
        "image": range(N), "label": 1, "clean_class": 1, "attacked_class": np.where(np.arange(N) < kept * N, 1, 2),
        "lrp_robustness": score + RANKS, "unrelated_lrp_robustness": 0.2, "ceiling_lrp_robustness": 1.0,
        "softmax_robustness": softmax + (RANKS if correlated else SHUFFLED), "gradient_is_zero": blind,
        "mean_change": np.where(blind, 0.0, 1.0),
    })  # fmt: skip
    return rows.assign(recipe=recipe, **why.place_of(cell, cell.attack(0.1)))


def planted(overrides, names=(SGD, MIXED, FROM_SGD, FROM_BOX, POOLED, ONCE, PER_BATCH)):
    """A table in which nothing happens, but for what overrides say of (recipe, cell name, attack or objective, size)."""
    parts = []
    for recipe in names:
        for cell in why.grid():
            place = why.place_of(cell, cell.attack(0.1))
            key = (recipe, place["cell"], place["attack"], place["size"])
            parts.append(rows_of(recipe, cell, **overrides.get(key, overrides.get((recipe, place["attack"]), {}))))
    return pd.concat(parts, ignore_index=True)


PRINTED, MARGIN = "FGSM on the mean loss", "FGSM on the margin"
PGD_PRINTED, PGD_MARGIN = "PGD on the mean loss", "PGD on the margin"
EACH = pd.DataFrame({
    "recipe": [SGD, MIXED, FROM_SGD, FROM_BOX, POOLED, ONCE, PER_BATCH], "one draw": [0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.3],
    "between chains": [np.nan, 0.01, np.nan, np.nan, 0.9, np.nan, np.nan],
})  # fmt: skip


def found(overrides, switch, each=EACH, **more):
    table = criteria.explained(Table(planted(overrides), each, **more))
    return table.set_index("switch").loc[switch]


def test_nothing_explains_anything_where_nothing_happens():
    still = EACH.assign(**{"between chains": 0.02, "one draw": 0.5})
    table = criteria.explained(Table(planted({}), still))
    assert not (table["explains"] == YES).any()
    assert set(table.loc[table["explains"] == OPEN, "rows"]) == {"2, 3", "4", "9", "12"}
    assert table[table["explains"] != OPEN]["number"].notna().all()
    # Every row of the page is there.
    said = ", ".join(table["rows"])
    assert {int(number) for number in said.split(", ") if number != "-"} == set(range(1, 14))


START = "start and objective"


def test_a_start_explains_a_gain_that_the_margin_takes_away():
    gained = {"score": 0.8, "zeros": 0.6}
    row = found({(FROM_BOX, PRINTED): gained, (FROM_BOX, MARGIN): {"score": 0.52}}, START)
    assert (row["explains"], row["recipe"]) == (YES, FROM_BOX)
    assert row["number"] == pytest.approx(1 - 0.02 / 0.3)
    assert row["effect"] == pytest.approx(0.3)
    # The margin leaves half of it; or no gradient is zero.
    assert found({(FROM_BOX, PRINTED): gained, (FROM_BOX, MARGIN): {"score": 0.65}}, START)["explains"] == NO
    assert found({(FROM_BOX, PRINTED): {"score": 0.8}}, START)["explains"] == NO


def test_pgd_is_judged_by_itself():
    both = {(FROM_BOX, PRINTED): {"score": 0.8, "zeros": 0.6}, (FROM_BOX, PGD_PRINTED): {"score": 0.55, "zeros": 0.6}}
    row = found(both, f"{START}, PGD")
    assert (row["explains"], row["number"], row["effect"]) == (NO, 0, pytest.approx(0.05))
    both[FROM_BOX, PGD_PRINTED]["score"] = 0.7
    assert found(both, f"{START}, PGD")["explains"] == YES
    assert found(both | {(FROM_BOX, PGD_MARGIN): {"score": 0.7}}, f"{START}, PGD")["explains"] == NO


AVERAGED = CALLED["averaged_images"]


def test_averaging_explains_what_a_smaller_change_does_too():
    raised = {(POOLED, AVERAGED, PRINTED, "full"): {"score": 0.7}}
    same = {(POOLED, AVERAGED, PRINTED, "matched"): {"score": 0.69}}
    row = found(raised | same, f"{AVERAGED}, HMC")
    assert (row["explains"], row["number"], row["effect"]) == (YES, pytest.approx(0.01), pytest.approx(0.2))
    assert found(raised, f"{AVERAGED}, HMC")["explains"] == NO
    assert found(same, f"{AVERAGED}, HMC")["explains"] == NO
    assert found(raised | same, f"{AVERAGED}, VI")["explains"] == NO


OWN = CALLED["own_class"]


def test_own_classes_explain_a_correlation_that_sgd_and_noise_have_too():
    appears = {(SGD, OWN, attack, "full"): {"correlated": True, "kept": 0.0} for attack in (PRINTED, NOISE)}
    assert found(appears, OWN)["explains"] == YES
    # It stays where the class does; or it was there before.
    stays = {key: {"correlated": True} for key in appears}
    assert found(stays, OWN)["explains"] == NO
    before = appears | {(SGD, "as described", NOISE, "full"): {"correlated": True, "kept": 0.0}}
    assert found(before, OWN)["explains"] == NO


def test_the_divergence_explains_robust_predictions_and_maps_of_inaccurate_draws():
    robust = {(PER_BATCH, PRINTED): {"softmax": 0.8, "score": 0.7}}
    assert found({(PER_BATCH, PRINTED): {"softmax": 0.8}}, "KL whole for each batch")["explains"] == NO
    row = found(robust, "KL whole for each batch")
    assert (row["explains"], row["number"]) == (YES, pytest.approx(0.3))
    assert found(robust, "KL whole for each batch", EACH.assign(**{"one draw": 0.5}))["explains"] == NO
    table = Table(planted({}, names=(SGD, MIXED)), EACH)
    assert criteria.explained(table).set_index("switch").loc["KL whole for each batch", "explains"] == OPEN


@pytest.mark.parametrize("switch", ["signed_top", "own_slope"])
def test_a_switch_changes_scores_by_more_than_a_tenth(switch):
    name = CALLED[switch]
    row = found({(ONCE, name, PRINTED, "full"): {"score": 0.35}}, name)
    assert (row["explains"], row["recipe"], row["number"]) == (CHANGES, ONCE, pytest.approx(-0.15))
    assert found({(ONCE, name, PRINTED, "full"): {"score": 0.45}}, name)["explains"] == NO


def test_the_objective_is_judged_by_the_predictive_s_own_loss():
    row = found({(FROM_BOX, "FGSM"): {"score": 0.3}}, "mean of gradients, not the predictive's")
    assert (row["explains"], row["number"]) == (CHANGES, pytest.approx(0.2))


def on_explanations(same, targets_same):
    parts = []
    for cell in why.on_explanations():
        aims = {"top-k": 0.0, "target region": 0.1, "target map": 0.1 * cell.seed}[cell.kind]
        off = 0.0 if (cell.name == ALL and same) or (cell.name == CALLED["detached_target"] and targets_same) else aims
        parts.append(rows_of(SGD, cell, 0.5 + off))
    return pd.concat(parts, ignore_index=True)


def test_attacks_that_aim_at_nothing_have_the_same_scores():
    names = ["relevance detached, image clamped", CALLED["detached_target"]]
    for truth, verdict, number in ((True, ANOTHER, 0), (False, NO, 0.1)):
        for name in names:
            row = found({}, name, on_explanations=on_explanations(truth, truth))
            assert (row["explains"], row["number"]) == (verdict, pytest.approx(number))


def test_pooled_chains_are_told_by_their_variance():
    switch = f"pooled short chains, {AVERAGED}"
    raised = {(POOLED, AVERAGED, PRINTED, "full"): {"score": 0.7}}
    row = found(raised, switch)
    assert (row["explains"], row["effect"]) == (YES, pytest.approx(0.2))
    assert found({}, switch)["explains"] == NO
    apart = EACH.assign(**{"between chains": 0.9})
    assert found(raised, switch, apart)["explains"] == NO


def test_residual_networks_are_judged_by_their_own_table():
    values = {
        "convolutions come back plain: correlation of maps": 0.3,
        "rule in the first and last layer alone: correlation of maps": 0.95,
        "k-LRP, the same draws": 0.6,
        "k-LRP, other draws for attacked images": 0.4,
        "mean change of a pixel, FGSM": 0.1,
        "mean change of a pixel, clamped after normalising": 0.4,
    }
    table = pd.DataFrame({"change": list(values), "value": list(values.values())})
    rows = criteria.explained(Table(planted({}), EACH, of_residual=table)).set_index("switch")
    names = ["convolutions come back plain", "rule at both ends alone", "other draws after the attack",
             "clamped after normalising"]  # fmt: skip
    assert rows.loc[names, "explains"].tolist() == [CHANGES, NO, CHANGES, CHANGES]
    assert rows.loc[names, "number"].tolist() == pytest.approx([-0.7, -0.05, -0.2, 0.3])


def test_unpaired_tests_are_compared_with_paired_ones():
    # Every image is better by a little: to a paired test that is sure, to an unpaired one it is nothing.
    little = {(name, PRINTED): {"score": 0.501} for name in (MIXED, FROM_SGD, FROM_BOX, POOLED)}
    row = found(little, "unpaired test of pairs, as in the paper")
    assert (row["explains"], row["number"]) == (YES, pytest.approx(4 / 6))
    assert criteria.paired_p_value(RANKS, RANKS) == 1
    assert criteria.paired_p_value(RANKS, RANKS + 0.01) < 1e-4


@pytest.mark.parametrize(
    ("figures", "panels"),
    [
        ("3, 4b, 9", {"3 top", "3 bottom", "4b", "9a"}),
        ("3 top, 9", {"3 top", "9b"}),
        ("10 to 12", {"10a", "12b", "11a"}),
    ],
)
def test_figures_cover_their_panels(figures, panels):
    table = pd.DataFrame({"switch": ["s", "t"], "explains": [YES, NO], "figures": figures})
    for panel in panels:
        assert criteria.explaining(table, panel) == ["s"]
    assert criteria.explaining(table, "4a") == criteria.explaining(table, "2b") == []


def test_the_figures_named_are_the_paper_s():
    known = [panel.figure for panel in source.FIGURES]
    for one in criteria.CRITERIA:
        for part in one.figures.replace(" to ", ", ").split(", "):
            assert any(name == part or name.rstrip("ab").split(" ")[0] == part for name in known), part
    assert set(recipes.SHORT) >= set(recipes.STARTS)
