"""A recorded run shows what the same functions make of a build's own table."""

from __future__ import annotations

import pandas as pd

from relevance.pages import study
from relevance.pages.recorded import Recorded
from relevance.studies import records, tables
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


def test_what_functions_say_stands_above_what_the_table_stands_on():
    recording = Recorded("geometry", "geometry")
    told = recording.told(lambda _: "One.", lambda table: f"{len(table)} rows.")
    assert told == f"One. {len(recording.table)} rows.\n\n{recording.stands_on()}"
    assert isinstance(told, Sentence)


def test_what_is_not_recorded_says_how_to_record_it():
    missing = Recorded("no-such-run", "layers").through(len)
    for said in (missing.shown(len), missing.told(str), missing.story(), missing.theorem(), missing.stands_on()):
        assert said == "no-such-run is not recorded; `make record RUNS=no-such-run` records it."


def test_a_page_says_what_older_code_recorded(monkeypatch):
    recordings = Recorded("geometry", "geometry"), Recorded("mnist-dense", "layers")
    monkeypatch.setattr(records, "is_of_older_code", lambda *_: True)
    for said in (recordings[0].stands_on(), recordings[0].theorem(), recordings[0].told(str), recordings[1].story()):
        assert "*Recorded by older code* (" in said
    monkeypatch.setattr(records, "is_of_older_code", lambda *_: False)
    for said in (recordings[0].stands_on(), recordings[0].theorem(), recordings[0].told(str), recordings[1].story()):
        assert "*Recorded* (" in said
    assert list(study.all_runs().data["code"].unique()) == ["as now"]
