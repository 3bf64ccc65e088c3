"""Recorded runs: written as they are, read as they were, repeated with the same numbers, and finished after any kill."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from oracles import MOST, OF_STUDIES, recorded_tables
from relevance.studies import names, records
from relevance.studies.carbone.study import Study

# Standard deviations of the median score over the images of digits-small, each the largest of its kind. From training to training
# on images that are changed in their last digits, as another CPU's rounding would (4 of each; the plain network's medians stayed
# the same to three decimals).
OF_TRAINING = {names.DETERMINISTIC: 0.002, names.ADVERSARIAL: 0.0055}
OF_CHAIN = {"noise": dict.fromkeys("135", 0.006), "attack": {"1": 0.017, "3": 0.046, "5": 0.031}}


@pytest.mark.stochastic
def test_a_recorded_run_repeated_from_scratch_gives_its_medians(tmp_path, monkeypatch):
    """The chain that was recorded and this one are two of many, each with its own error; and tables have three decimals."""
    if "digits-small" not in records.runs("layers"):
        pytest.skip("digits-small is not recorded")
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    settings = records.provenance("digits-small", "layers")["settings"]
    recorded = records.read_run("digits-small", "layers")
    again = Study(**settings).table(list(recorded["attack"].unique()))
    keys = ["model", "attack", "layer"]
    # What no training has a part in is the same.
    for column in ("image", "label", "n_samples"):
        assert again[column].tolist() == recorded[column].tolist()
    scores = ["lrp_robustness", "unrelated_lrp_robustness"]
    anew, before = (table.groupby(keys)[scores].median() for table in (again, recorded))
    assert anew.index.equals(before.index)
    for model, attack, layer in before.index:
        off = (anew.loc[model, attack, layer] - before.loc[model, attack, layer]).abs()
        kind = OF_CHAIN["noise" if attack == "noise" else "attack"]
        error = OF_TRAINING[model] if model in OF_TRAINING else kind[layer]
        assert off["lrp_robustness"] < MOST * 2**0.5 * error + 0.5e-3, (model, attack, layer)
        if model in OF_TRAINING:
            # Floors of chains differ more than the scores above them.
            assert off["unrelated_lrp_robustness"] < MOST * 2**0.5 * error + 0.5e-3, (model, attack, layer)


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
    with pytest.raises(ValueError, match="run is 'other'; it may be one of: some-run"):
        records.read_run("other", "layers")


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
    assert sum(sizes) < 5e6
