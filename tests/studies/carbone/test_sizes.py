from __future__ import annotations

import pandas as pd
import pytest

from oracles import ROOT
from relevance.attacks import fgsm
from relevance.pages.press.recording import read_runs
from relevance.studies import records
from relevance.studies.carbone import sizes
from relevance.studies.carbone.study import Study


def planted(*accuracies):
    rows = {"run": 0, "images": 100, "accuracy": 0.9, "epsilon": [0.02, 0.05, 0.2], sizes.AFTER: accuracies}
    return pd.DataFrame(rows)


def test_the_smallest_size_that_halves_the_accuracy_in_the_mean_over_runs():
    assert sizes.halving(planted(0.8, 0.45, 0.0)) == 0.05
    assert sizes.halving(planted(0.8, 0.46, 0.0)) == 0.2
    both = pd.concat([planted(0.8, 0.50, 0.0), planted(0.8, 0.38, 0.0).assign(run=1)])
    assert sizes.halving(both) == 0.05
    with pytest.raises(ValueError, match="rows go up to the size 0.2; one of the sizes must halve the accuracy"):
        sizes.halving(planted(0.8, 0.7, 0.6))
    (row,) = sizes.table(both.assign(what="a")).to_dict("records")
    assert row == pytest.approx({"clean": 0.9, "0.02": 0.8, "0.05": 0.44, "0.2": 0.0, "halved at": 0.05})


def test_each_run_s_network_is_attacked(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    study = Study("digits", n_train=60, n_images=20, hidden=8, epochs=3, n_draws=4, n_samples=(2,), n_runs=2)
    rows = sizes.left(study, [0.0, 0.3])
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"sgd"}  # no posterior was sampled
    images, labels = study.data.balanced_test(20, 0)
    for run, part in rows.groupby("run"):
        network = study.of_run(run, ["deterministic"])["deterministic"]
        attacked = fgsm(network, images, labels, 0.3)
        assert part[sizes.AFTER].tolist() == [network.accuracy(some, labels) for some in (images, attacked)]
        assert (part["accuracy"] == part[sizes.AFTER].iloc[0]).all()


def test_the_sizes_that_are_judged_are_those_of_the_rule():
    found = sizes.table(records.read("attack-sizes"))
    runs = read_runs(ROOT)
    assert runs["mnist-dense-small"]["parameters"]["epsilon"] == found.loc["mnist-dense", "halved at"]
    assert {runs[run]["parameters"]["epsilon"] for run in found.index} == {sizes.SIZES[-1]}
