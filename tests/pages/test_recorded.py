"""A recorded run shows what the same functions make of a build's own table."""

from __future__ import annotations

import pandas as pd

from relevance.pages import recorded, study
from relevance.pages.recorded import Recorded
from relevance.studies import records, tables
from relevance.studies.carbone import reproduction
from relevance.studies.phrases import Sentence


def test_any_function_shows_what_it_makes_of_the_table():
    recording = Recorded("geometry", "geometry")
    rows = records.read_run("geometry", "geometry")
    assert recording.shown(len) == len(rows)
    shown = recording.shown(pd.DataFrame.head, n=2)
    assert shown.data.equals(rows.head(2))  # a table as the book prints it, with the frame inside
    assert recording.shown(lambda table, name: Sentence(f"{name} {len(table)}"), "rows") == f"rows {len(rows)}"


def test_a_table_is_read_through_a_function_and_stays_what_it_is():
    layers = Recorded("mnist-dense", "layers")
    last = layers.through(tables.only, attack="PGD", layer="last")
    assert set(last.table["attack"]) == {"PGD"}
    assert last.shown(study.correlations).data.equals(layers.shown(study.correlations, attack="PGD", layer="last").data)
    assert last.stands_on() == layers.stands_on()


def test_what_is_not_recorded_says_how_to_record_it():
    missing = Recorded("no-such-run", "layers").through(len)
    for said in (missing.shown(len), missing.story(), missing.theorem(), missing.stands_on()):
        assert said == "no-such-run is not recorded; `make record RUNS=no-such-run` records it."


def test_a_page_says_what_older_code_recorded(monkeypatch):
    recordings = Recorded("geometry", "geometry"), Recorded("mnist-dense", "layers")
    monkeypatch.setattr(records, "is_of_older_code", lambda *_: True)
    for said in (recordings[0].stands_on(), recordings[0].theorem(), recordings[1].story()):
        assert "*Recorded by older code* (" in said
    monkeypatch.setattr(records, "is_of_older_code", lambda *_: False)
    for said in (recordings[0].stands_on(), recordings[0].theorem(), recordings[1].story()):
        assert "*Recorded* (" in said
    assert list(study.all_runs().data["code"].unique()) == ["as now"]


def test_the_other_runs_are_one_table_that_says_whose_each_row_is():
    rows = recorded.others("layers", layer="last")
    assert list(rows["recorded"].unique()) == [
        "MNIST, convolutional",
        "Fashion-MNIST, dense",
        "Fashion-MNIST, convolutional",
    ]
    assert rows.groupby("recorded")["layer"].nunique().eq(1).all()
    assert rows["run"].notna().all()
    unmixed = records.is_unmixed("fashion-dense", "layers")
    bayesian = rows["model"].str.startswith("Bayesian") & (rows["recorded"] == "Fashion-MNIST, dense")
    assert set(rows.loc[bayesian, "unjudged"]) == {"chains not converged" if unmixed else ""}
    assert set(rows.loc[~bayesian, "unjudged"]) == {""}


def test_of_a_posterior_whose_chains_have_not_mixed_the_rows_are_left_out(monkeypatch):
    run = Recorded("mnist-manipulation-dense", "smoothing")
    monkeypatch.setattr(records, "is_unmixed", lambda *_: True)
    assert set(run.table["defence"]) - set(run.mixed("defence", "posterior").table["defence"]) == {"posterior"}
    assert "have not mixed" in run.chains()
    monkeypatch.setattr(records, "is_unmixed", lambda *_: False)
    assert run.mixed("defence", "posterior").table.equals(run.table)
    assert run.chains() == "The chains of this run's posterior have mixed."
    assert "is not recorded" in Recorded("no-such-run", "smoothing").mixed("defence", "posterior").chains()


def test_verdicts_of_a_chapter_are_those_of_the_ledger():
    shown = recorded.verdicts("saliency-attacks").data
    ledger = reproduction.claimed().query("chapter == 'saliency-attacks' and verdict != 'not recorded'")
    assert shown["verdict"].tolist() == ledger["verdict"].tolist()
    assert next(iter(shown.index.get_level_values("run"))) == "MNIST, dense"


def test_the_stories_of_all_runs_stand_below_one_another():
    told = recorded.stories("saliency")
    runs = [part.partition("(")[2].partition(")")[0] for part in told.split("\n\n")]
    assert runs == ["mnist-dense", "mnist-convolutional", "fashion-dense"]
    assert told.split("\n\n")[0] == recorded.Recorded("mnist-dense", "saliency").story()
