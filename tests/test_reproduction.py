"""The book's answer to every sentence of the paper: complete, and derived from the recorded tables."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml

from relevance import claims, comparisons, datasets, dombrowski, paper, records, released, reproduction, resistance
from relevance.chapters import Chapter, read_chapters

ROOT = datasets.project_root()
CHAPTERS = {chapter.name: chapter for chapter in read_chapters(ROOT)}


@pytest.mark.parametrize("part", [reproduction.figures, reproduction.claimed, reproduction.theory, reproduction.tables])
def test_no_row_without_a_verdict_and_a_reason(part):
    rows = part()
    assert len(rows)
    assert (rows["verdict"].str.len() > 0).all()
    unsure = rows[~rows["verdict"].isin(["built", "used"])]
    assert (unsure["evidence"].str.len() > 0).all()
    labels = "\n".join(chapter.source for chapter in CHAPTERS.values())
    assert all(f"({label})=" in labels for label in rows["chapter"])


def test_every_panel_and_every_claim_is_there():
    assert list(reproduction.figures().index) == [f"Figure {panel.figure}" for panel in paper.FIGURES]
    assert set(reproduction.claimed().index) == {claim.text for claim in claims.CLAIMS.values()}


def test_every_run_of_the_book_is_one_that_can_be_recorded():
    runs = yaml.safe_load((ROOT / "book/runs.yml").read_text())
    assert set(reproduction.RUNS.values()) <= runs.keys()
    for name, run in runs.items():
        for chapter, own in run["chapters"].items():
            resolved = CHAPTERS[chapter].resolved({**run["parameters"], **(own or {}), "record": name})
            assert resolved["record"] == name


def recorded():
    return [(run, path.name.split(".")[0]) for run in records.runs() for path in (records.folder() / run).glob("*.xz")]


OF_STUDIES = ("layers", "rules", "saliency")


@pytest.mark.parametrize(("run", "experiment"), [one for one in recorded() if one[1] in OF_STUDIES])
def test_what_is_said_of_a_recorded_table_follows_from_its_rows(run, experiment):
    # Anew, from the file: means of differences by image, without the library's own way to them.
    table = records.read_run(run, experiment)
    first, second = "deterministic", claims.most_samples(table)
    rows = comparisons.comparisons(table, first, second)
    for row in rows.to_dict("records"):
        part = table[np.logical_and.reduce([table[name] == row[name] for name in comparisons.SETTING])]
        scores = {
            name: part[part["model"] == name].sort_values("image")["lrp_robustness"].to_numpy()
            for name in (first, second)
        }
        assert row["mean"] == pytest.approx((scores[second] - scores[first]).mean(), abs=1e-12)
        assert row["low"] <= row["mean"] <= row["high"]
    told = claims.bayesian_is_more_robust(table).evidence
    extremes = re.findall(r"([+\N{MINUS SIGN}]\d\.\d{3}) \[", told)
    rows = rows[rows["attack"] != "noise"]
    wanted = [f"{value:+.3f}".replace("-", "\N{MINUS SIGN}") for value in (rows["mean"].min(), rows["mean"].max())]
    assert extremes == wanted


@pytest.mark.parametrize(("run", "experiment"), recorded())
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


@pytest.mark.parametrize("run", records.runs("manipulation"))
def test_what_is_said_of_recorded_manipulations_follows_from_their_rows(run):
    table, story = records.read_run(run, "manipulation"), records.provenance(run, "manipulation")
    found = resistance.summary(table)
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
    told = resistance.claim(table, "deterministic")
    for row in found[found["model"] == "deterministic"].to_dict("records"):
        assert f"{row['method']} ({row['manipulated']:.0%})" in told


def test_every_claim_on_the_second_source_has_a_verdict():
    rows = dombrowski.claimed()
    assert (rows["verdict"].str.len() > 0).all()
    assert (rows["evidence"].str.len() > 20).all()
    assert set(rows.index) == {claim.text for claim in dombrowski.CLAIMS}


def test_recorded_tables_are_a_few_megabytes():
    sizes = [path.stat().st_size for path in records.folder().rglob("*") if path.is_file()]
    assert sum(sizes) < 5e6


@pytest.mark.parametrize("command", [command for _, command in released.COMMANDS])
def test_every_released_command_has_a_call_that_its_chapter_takes(command):
    name, parameters = released.parameters(command)
    chapter: Chapter = CHAPTERS[name]
    assert chapter.resolved(parameters).items() >= parameters.items()
    call = released.call(command)
    assert call.startswith(("papermill ", "RELEVANCE_DEVICE=cpu papermill "))
    assert all(f" {name} " in call or f'"{name}"' in call for name in parameters)


def test_flags_of_the_released_code_arrive():
    name, parameters = released.parameters(
        "python attack_networks.py --model=fullBNN --model_idx=2 --attack_method=pgd --n_inputs=77 --n_samples=10 "
        "--rule=gamma --topk=30"
    )
    assert name == "experiments/layers"
    assert parameters["attacks"] == ["PGD"]
    assert parameters["n_images"] == 77
    assert parameters["n_samples"] == [10]
    assert parameters["rules"] == ["gamma"]
    assert parameters["top_percent"] == 30
    assert parameters["dataset"] == "mnist"
    with pytest.raises(ValueError, match="script is 'fly.py'; it may be one of"):
        released.parameters("python fly.py")
    with pytest.raises(ValueError, match="--rule is 'zplus'; it may be one of"):
        released.parameters("python compute_lrp.py --model_idx=0 --rule=zplus")
