from __future__ import annotations

import numpy as np
import pytest

from relevance.studies.carbone import picture, why
from relevance.studies.carbone.criteria import Table
from relevance.studies.carbone.recipes import FROM_BOX, FROM_SGD, MIXED, ONCE, POOLED, SGD
from relevance.studies.carbone.why import ALL, CALLED
from studies.carbone.test_criteria import EACH, MARGIN, PRINTED, planted

ALIKE = {"score": 0.8, "correlated": True, "softmax": 0.8, "zeros": 0.6}


@pytest.fixture
def table():
    """A picture that the start makes alone, and the margin takes away; pooled chains show it with all switches."""
    overrides = {(FROM_BOX, PRINTED): ALIKE, (POOLED, ALL, PRINTED, "full"): ALIKE}
    return Table(planted(overrides), EACH)


def test_parts_of_the_picture_are_seen_where_they_are(table):
    assert all(picture.parts(table, FROM_BOX).values())
    assert picture.parts(table, FROM_BOX, objective="margin") == {
        picture.STEADIER: False, picture.CORRELATED: False, picture.SURVIVES: False, picture.FLAT: True,
    }  # fmt: skip
    assert list(picture.parts(table, MIXED)) == list(picture.PARTS)


def test_the_picture_is_made_with_the_fewest_switches(table):
    rows = picture.pictures(table)
    first = rows.iloc[0]
    assert (first["recipe"], first["cell"], first["switches"], first["parts"]) == (FROM_BOX, "as described", 0, 4)
    assert SGD not in set(rows["recipe"])
    pooled = picture.pictures(table, [POOLED]).iloc[0]
    assert (pooled["cell"], pooled["switches"], pooled["parts"]) == (ALL, 4, 4)
    assert pooled["k-LRP"] == pytest.approx(0.8)


def test_a_network_that_knows_nothing_makes_no_picture(table):
    rows = table.rows.assign(clean_class=2)
    assert (picture.pictures(Table(rows, EACH))["parts"] == 0).all()


def test_single_changes_are_made_to_what_makes_it(table):
    rows = picture.changes(table, FROM_BOX, "as described").set_index("what")
    assert list(rows.index) == ["the picture", "the margin followed", MIXED, FROM_SGD, ONCE]
    assert rows.loc["the picture", list(picture.PARTS)].all()
    assert rows.loc["the margin followed", "k-LRP"] == pytest.approx(0.5)
    assert rows.loc["the picture", "k-LRP of SGD"] == pytest.approx(0.5)
    every = picture.changes(table, POOLED, ALL).set_index("what")
    assert "FGSM of the same mean change" in every.index
    for name in picture.ALONE:
        assert not every.loc[f"without: {name}", picture.STEADIER]
    alone = picture.changes(table, POOLED, CALLED["signed_top"])["what"].tolist()
    assert alone[:3] == ["the picture", "the margin followed", f"without: {CALLED['signed_top']}"]


def test_one_half_of_the_images_chooses_and_the_other_tells(table):
    chooses, tells = picture.halves(table, 1)
    images = [set(one.rows["image"]) for one in (chooses, tells)]
    assert len(images[0]) == len(images[1]) == 20
    assert not images[0] & images[1]
    assert len(chooses.rows) + len(tells.rows) == len(table.rows)
    assert chooses.of_recipes.equals(table.of_recipes)
    assert images[0] == set(picture.halves(table, 1)[0].rows["image"]) != set(picture.halves(table, 2)[0].rows["image"])


def test_two_populations_make_the_correlation():
    rows = planted({})
    here = (rows["recipe"] == FROM_BOX) & (rows["cell"] == "as described") & (rows["attack"] == PRINTED)
    here &= (rows["size"] == "full") & (rows["rule"] == "epsilon")
    frozen = rows.loc[here, "image"] < 20
    generator = np.random.default_rng(0)
    rows.loc[here, "mean_change"] = np.where(frozen, 0.0, 1.0)
    rows.loc[here, "lrp_robustness"] = np.where(frozen, 1.0, 0.5 + 0.01 * generator.random(40))
    rows.loc[here, "softmax_robustness"] = np.where(frozen, 1.0, 0.5 + 0.01 * generator.random(40))
    columns = picture.columns(rows, picture.pictures(Table(rows, EACH), [FROM_BOX]))
    assert columns["column"].unique().tolist() == [f"as described: {MIXED}", FROM_BOX]
    assert (columns.groupby(["column", "recipe"]).size() == 40).all()
    found = picture.populations(columns).set_index("population")
    assert found["images"].tolist() == [20, 20, 40]
    assert found.loc["both", "rho"] > 0.8
    assert abs(found.loc["moved", "rho"]) < 0.5
    assert np.isnan(found.loc["frozen", "rho"])
    assert found.loc["frozen", "k-LRP"] == 1
    plain = columns[(columns["column"] == FROM_BOX) & (columns["recipe"] == SGD)].set_index("image")["lrp_robustness"]
    assert found.loc["frozen", "gain over SGD"] == pytest.approx((1 - plain[plain.index < 20]).mean())
    assert picture.N_ON.keys() == {cell.name for cell in why.grid() if cell.kind == "FGSM" and not cell.rule}
    assert MARGIN in set(rows["attack"])
