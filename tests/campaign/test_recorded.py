"""Recorded tables and stories damaged in every way that comes to mind: each is refused by a sentence that names the file."""

from __future__ import annotations

import hashlib
import json
import lzma
import shutil

import pandas as pd
import pytest

from campaign.sentences import assert_sentence
from oracles import ROOT
from relevance.pages.press import recording
from relevance.pages.press.chapters import BookError
from relevance.pages.recorded import Recorded
from relevance.studies import records, schema

pytestmark = pytest.mark.slow
RUN = {"layers": "digits-small", "rules": "cifar10-residual", "geometry": "geometry", "roar": "mnist-roar",
       "joint": "mnist-joint", "smoothing": "mnist-manipulation-dense", "manipulation": "mnist-manipulation-residual",
       "alignment": "mnist-generator", "deletion": "mnist-generator", "sanity": "mnist-generator", "speed": "mnist-generator",
       "steadiness": "mnist-generator"}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a copy of what is recorded."""
    (tmp_path / "_toc.yml").touch()
    shutil.copytree(ROOT / "data/recorded", tmp_path / "data/recorded")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(experiment, file):
    """Assert that reading and showing a table are refused, and that the sentence names the file and what is to be done."""
    run = RUN[experiment]
    for read in (lambda: records.read_run(run, experiment), lambda: Recorded(run, experiment)):
        with pytest.raises(ValueError) as caught:
            read()
        assert_sentence(caught.value, f"data/recorded/{run}/{file}", "`git checkout ", f"`make record RUNS={run}`")
    return str(caught.value)


def flipped(content, at):
    place = int(at * (len(content) - 1))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def swapped(content):
    """Return a table that nothing but its digest tells from the recorded one."""
    head, first, second, *others = lzma.decompress(content).splitlines(True)
    return lzma.compress(b"".join([head, second, first, *others]))


DAMAGES = {
    "emptied": lambda content: b"",
    "first byte flipped": lambda content: flipped(content, 0),
    "middle byte flipped": lambda content: flipped(content, 0.5),
    "last byte flipped": lambda content: flipped(content, 1),
    "cut to a tenth": lambda content: content[: len(content) // 10],
    "one byte short": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "unpacked": lzma.decompress,
    "zeros": lambda content: bytes(len(content)),
    "a row alone": lambda content: lzma.compress(b"".join(lzma.decompress(content).splitlines(True)[:2])),
    "two rows swapped": swapped,
}


@pytest.mark.parametrize("experiment", RUN)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_named(project, experiment, damage):
    path = project / f"data/recorded/{RUN[experiment]}/{experiment}.csv.xz"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    refused(experiment, path.name)


STORIES = {
    "emptied": "",
    "a list": "[]",
    "nothing": "null",
    "a number": "3",
    "a text": '"a story"',
    "no parts": "{}",
    "half of it": '{"settings": {"n_train": 3',
    "nested without end": "[" * 100_000,
    "not text": "\udcff",
    "a part that is twice there": '{"settings": 1, "settings": []}',
}


@pytest.mark.parametrize("experiment", ["layers", "geometry", "speed"])
@pytest.mark.parametrize("story", STORIES)
def test_a_damaged_story_is_named(project, experiment, story):
    path = project / f"data/recorded/{RUN[experiment]}/{experiment}.json"
    path.write_bytes(STORIES[story].encode(errors="surrogateescape"))
    refused(experiment, path.name)


@pytest.mark.parametrize("value", [None, [], True, float("nan"), -1, "x" * 1000])
@pytest.mark.parametrize(
    "part", ["settings", "versions", "seconds", "rows", "date", "hardware", "commit", "sha256", "posteriors"]
)
def test_a_part_of_another_kind_is_named(project, part, value):
    path = project / "data/recorded/digits-small/layers.json"
    story = json.loads(path.read_text())
    if isinstance(value, str) and isinstance(story[part], str):
        value = 1.5
    path.write_text(json.dumps(story | {part: value}))
    assert part in refused("layers", path.name)


@pytest.mark.parametrize(
    "part", [*schema.STUDY, "settings", "data", "posteriors", "rows", "sha256", "seconds", "commit"]
)
def test_a_part_that_is_missing_is_named(project, part):
    path = project / "data/recorded/digits-small/layers.json"
    story = json.loads(path.read_text())
    (story["settings"] if part in schema.STUDY else story).pop(part)
    path.write_text(json.dumps(story))
    assert repr(part) in refused("layers", path.name)


CHANGES = {
    "column missing": (lambda rows: rows.drop(columns="image"), "'image'"),
    "columns of another table": (lambda rows: pd.DataFrame({"a": range(len(rows))}), "no column"),
    "column more": (lambda rows: rows.assign(x=1), "'x'"),
    "no rows": (lambda rows: rows.head(0), "has 0 rows"),
    "a tenth of the rows": (lambda rows: rows.head(360), "has 360 rows"),
    "a row more": (lambda rows: pd.concat([rows, rows.head(1)]), "has 5041 rows"),
    "score above 1": (lambda rows: rows.assign(lrp_robustness=1.001), "numbers at least 0 and at most 1"),
    "score below 0": (lambda rows: rows.assign(softmax_robustness=-0.001), "'softmax_robustness'"),
    "score infinite": (lambda rows: rows.assign(lrp_robustness=float("inf")), "'inf'"),
    "scores are texts": (lambda rows: rows.assign(lrp_robustness="garbage"), "'garbage'"),
    "gaps": (lambda rows: rows.assign(lrp_robustness=rows["lrp_robustness"].where(rows["image"] > 3)), "gaps"),
    "label not whole": (lambda rows: rows.assign(label=0.5), "whole numbers"),
    "label below 0": (lambda rows: rows.assign(label=-1), "whole numbers"),
    "truth of 2": (lambda rows: rows.assign(gradient_is_zero=2), "at most 1"),
    "no model": (lambda rows: rows.assign(model=None), "'model'"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_table_that_is_not_of_its_form_is_named_even_with_a_story_of_it(project, change):
    """The file's digest is right, as when a table was changed by hand and its story with it."""
    path = project / "data/recorded/digits-small/layers.csv.xz"
    make, said = CHANGES[change]
    make(pd.read_csv(path)).to_csv(path, index=False)
    story = path.with_name("layers.json")
    digest = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    story.write_text(json.dumps(json.loads(story.read_text()) | digest))
    assert said in refused("layers", path.name)


@pytest.mark.parametrize("change", [change for change in CHANGES if "row" not in change])
def test_a_table_that_is_not_of_its_form_is_not_kept(project, change):
    rows = records.read_run("digits-small", "layers")
    with pytest.raises(ValueError) as caught:
        records.keep("mine", "layers", CHANGES[change][0](rows.drop(columns=records.EXCESS)), {})
    assert_sentence(caught.value, "table ", "layers")
    assert not (project / records.FRESH / "mine/layers.json").exists()


@pytest.mark.parametrize("half", ["layers.json", "layers.csv.xz"])
def test_one_half_without_the_other_is_named(project, half):
    (project / "data/recorded/digits-small" / half).unlink()
    refused("layers", half)


RECORDED = sorted(schema.BENCHMARKS)


@pytest.mark.parametrize("table", RECORDED)
@pytest.mark.parametrize("damage", ["emptied", "zeros", "cut to a tenth", "garbage", "a row less", "not text"])
def test_a_damaged_table_of_a_benchmark_is_named(project, table, damage):
    path = project / f"data/recorded/{table}.csv"
    content = path.read_bytes()
    lines = content.splitlines(True)
    path.write_bytes({
        "emptied": b"", "zeros": bytes(100), "cut to a tenth": content[: len(content) // 10], "garbage": b"a,b\n1,2\n",
        "a row less": b"".join(lines[:-1]), "not text": b"\xff" + content,
    }[damage])  # fmt: skip
    with pytest.raises(ValueError) as caught:
        records.read(table)
    assert_sentence(caught.value, f"data/recorded/{table}.csv", "`git checkout ")


NO_NAMES = ["../x", "a/b", "/tmp/x", ".", "..", "a b", "a\n", "", "a" * 61, "a\0", "~", "$HOME", "a.b", "\xe9", "a;b",
            None, 3, ["a"], True]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NO_NAMES if name != ""])
def test_what_is_no_name_of_a_run_is_not_recorded(project, name):
    with pytest.raises(ValueError) as caught:
        records.keep(name, "geometry", records.read_run("geometry", "geometry"), {})
    assert_sentence(caught.value, "record is ", "letters, digits and hyphens")
    assert not (project / "_build").exists()


@pytest.mark.parametrize("name", [name for name in NO_NAMES if len(str(name)) <= 60])
def test_what_is_not_recorded_is_not_read(project, name):
    for read, argument in (
        (lambda: records.read_run(name, "layers"), "run is "),
        (lambda: records.provenance("digits-small", name), "experiment is "),
        (lambda: records.read(name), "record is "),
    ):
        with pytest.raises(ValueError) as caught:
            read()
        assert_sentence(caught.value, argument)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_experiment_is_not_kept(project, name):
    with pytest.raises(ValueError) as caught:
        records.keep("mine", name, pd.DataFrame(), {})
    assert_sentence(caught.value, "experiment is ")


RUNS = {
    "nothing": "",
    "a list": "[a]",
    "not YAML": "a: [",
    "no parts": "a: {}",
    "one part": "a: {chapters: {}}",
    "a part more": "a: {chapters: {}, parameters: {}, more: 1}",
    "no mapping": "a: {chapters: [layers], parameters: {}}",
    "a path": "../a: {chapters: {}, parameters: {}}",
    "zeros": "\0",
}


@pytest.mark.parametrize("runs", RUNS)
def test_runs_that_are_none_are_refused(project, runs):
    (project / "book").mkdir()
    (project / "book/runs.yml").write_text(RUNS[runs])
    with pytest.raises(BookError) as caught:
        recording.read_runs(project)
    assert_sentence(caught.value, "book/runs.yml")


@pytest.fixture
def commanded(project, monkeypatch, capsys):
    """Records with what a command line gives; returns what was recorded and what was said."""
    shutil.copytree(
        ROOT / "book", project / "book", ignore=lambda _, names: [name for name in names if name != "runs.yml"]
    )
    done = []
    monkeypatch.setattr(recording, "record", lambda root, name, run, into: done.append(name))

    def main(*words):
        assert recording.main(["--root", str(project), *words]) == 1
        return done, capsys.readouterr().err

    return main


@pytest.mark.parametrize(
    "names", ["geometry unknown", "unknown", "geometry mnist-roar ../x", "geometry geometry.", "layers"]
)
def test_a_name_that_is_not_known_is_said_before_anything_is_recorded(commanded, names):
    done, said = commanded(*names.split())
    assert done == []
    assert said.startswith(f"error: run is {names.split()[-1]!r}; it may be one of: digits-small")


@pytest.mark.parametrize(
    "into", ["/proc/x", "/proc/1/x", "_toc.yml", "_toc.yml/x", "/dev/null", "/sys/kernel/x", "x" * 300]
)
def test_an_impossible_place_is_said_before_anything_is_recorded(commanded, into):
    done, said = commanded("geometry", "--into", into)
    assert done == []
    assert said.startswith("error: into is ")
    assert len(said) < 300
