"""Recorded runs: written as they are, read as they were, repeated with the same numbers, and finished after any kill."""

from __future__ import annotations

import importlib.util
import shutil

import pandas as pd
import pytest

from oracles import OF_STUDIES, recorded_tables
from relevance.studies import records, repeated, schema
from relevance.studies.carbone.study import Study


@pytest.mark.slow
@pytest.mark.stochastic
def test_a_recorded_run_repeated_from_scratch_gives_its_medians(tmp_path, monkeypatch):
    """The chain that was recorded and this one are two of many, each with its own error; and tables have three decimals."""
    if "digits-small" not in records.runs("layers"):
        pytest.skip("digits-small is not recorded")
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    settings = records.provenance("digits-small", "layers")["settings"]
    recorded = records.read_run("digits-small", "layers")
    assert repeated.differences(recorded, Study(**settings).table(list(recorded["attack"].unique()))) == []


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    return Study("digits", n_train=60, n_images=10, hidden=4, epochs=1, n_draws=2, n_samples=(2,),
                         inference={"warmup": 1, "n_steps": 1})  # fmt: skip


def test_what_is_kept_is_read_as_it_was(study, tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").touch()
    monkeypatch.chdir(tmp_path)  # which is now the project
    table = study.table(["FGSM"])
    records.keep("", "layers", table, study)
    assert not (tmp_path / records.FRESH).exists()
    records.keep("some-run", "layers", table, study)
    shutil.copytree(tmp_path / records.FRESH, tmp_path / "data/recorded")
    found = records.read_run("some-run", "layers")
    pd.testing.assert_frame_equal(found[table.columns], table, atol=2e-3, check_dtype=False)
    story = records.provenance("some-run", "layers")
    assert story["settings"]["n_train"] == 60
    assert story["posteriors"]["Bayesian"]["method"] == "hmc"
    assert story["seconds"] > 0
    assert len(story["data"]["digest"]) == 32
    assert story["rows"] == len(table)
    assert not records.is_of_older_code("some-run", "layers")
    with pytest.raises(ValueError, match="run is 'other'; it may be one of: some-run"):
        records.read_run("other", "layers")
    with pytest.raises(ValueError, match="experiment is 'x'; it may be one of: layers."):
        records.read_run("some-run", "x")


def test_a_table_is_of_older_code_when_its_modules_have_changed(monkeypatch):
    now = records.provenance("geometry", "geometry") | {"code": records.code_now("geometry")}
    # A story from before there were digests.
    undigested = {name: value for name, value in now.items() if name != "code"}
    monkeypatch.setattr(records, "provenance", lambda *_: undigested)
    assert records.is_of_older_code("geometry", "geometry")
    monkeypatch.setattr(records, "provenance", lambda *_: now)
    assert not records.is_of_older_code("geometry", "geometry")
    seen = []
    monkeypatch.setattr(records, "code_behind", lambda module, **_: seen.append(module) or "changed")
    assert records.is_of_older_code("geometry", "geometry")
    assert seen == ["relevance.studies.carbone.geometry"]


@pytest.mark.parametrize("module", sorted({name for form in schema.FORMS.values() for name in form.code}))
def test_the_modules_behind_tables_exist_and_are_no_pages(module):
    assert importlib.util.find_spec(schema.STUDIES + module) is not None


def test_records_are_read_by_name():
    assert "zennit" in records.read("library-differences")["library"].tolist()
    with pytest.raises(ValueError, match="record is 'nothing'; it may be one of: .*library-differences"):
        records.read("nothing")


@pytest.mark.parametrize(("run", "experiment"), recorded_tables())
def test_recorded_tables_have_their_story_and_no_gap(run, experiment):
    table, story = records.read_run(run, experiment), records.provenance(run, experiment)
    assert {"settings", "seconds", "date", "hardware", "versions", "commit"} <= story.keys()
    if experiment not in OF_STUDIES:
        assert len(table)
        return
    assert not table.isna().to_numpy().any()
    by_setting = table.groupby(["model", "attack", "rule", "layer"])["image"].nunique()
    assert by_setting.nunique() == 1
    assert by_setting.iloc[0] == story["settings"]["n_images"]
    assert table["lrp_robustness"].between(0, 1).all()
    assert (table["attack_linf"] <= story["settings"]["epsilon"] + 1e-3).all()


def test_recorded_tables_are_a_few_megabytes():
    sizes = [path.stat().st_size for path in records.folder().rglob("*") if path.is_file()]
    assert sum(sizes) < 10e6  # scores image by image, of five runs, so that every verdict can be judged anew
