from __future__ import annotations

import itertools

import pytest
import torch

from relevance.datasets import reading
from relevance.studies import experiment
from relevance.studies.carbone.study import Study

SMALL = {
    "n_train": 60,
    "n_images": 12,
    "hidden": 8,
    "epochs": 2,
    "adversarial": {"n_steps": 1},
    "inference": {"warmup": 2, "n_steps": 2},
    "n_draws": 4,
    "n_samples": (2, 4),
}


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    return Study("digits", **SMALL)


@pytest.mark.stochastic
def test_a_study_has_all_models_on_the_same_images(study):
    table = study.table(["FGSM", "PGD on the margin"])
    assert list(table["model"].unique()) == ["deterministic", "adversarially trained", "Bayesian, 2", "Bayesian, 4"]
    assert dict(zip(table["model"], table["n_samples"], strict=True))["Bayesian, 4"] == 4
    assert (table.groupby(["model", "attack", "rule", "layer"]).size() == 12).all()
    assert (table.groupby("image")["label"].nunique() == 1).all()
    assert list(table["layer"].unique()) == ["1", "3", "5"]


@pytest.mark.stochastic
def test_runs_are_trainings_of_their_own_and_chains(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    study = Study("digits", **(SMALL | {"n_draws": 8, "n_samples": (2,), "n_runs": 2, "n_members": 2}))
    table = study.table(["noise"])
    names = ["deterministic", "adversarially trained", "MAP", "ensemble of MAP", "Bayesian, 2"]
    assert table.columns[:3].tolist() == ["model", "n_samples", "run"]
    assert (table.groupby(["model", "run", "layer"]).size() == 12).all()
    assert list(table.loc[table["run"] == 1, "model"].unique()) == names
    runs = [study.of_run(run) for run in (0, 1)]
    whole = study.trained["Bayesian"]
    assert len(whole) == 8
    weights = [[one[name].samples["5.weight"] for one in runs] for name in names]
    assert not any(torch.equal(first, second) for first, second in weights)
    # The first and the last of four draws of each chain.
    assert torch.equal(torch.cat(weights[-1]), whole.samples["5.weight"][[0, 3, 4, 7]])
    members = [one for part in weights[3] for one in part]
    assert not any(torch.equal(first, second) for first, second in itertools.combinations(members, 2))
    with pytest.raises(ValueError, match="run is 2; it must be a whole number of at least 0 and at most 1"):
        study.of_run(2)


def test_a_study_finds_its_results_again_and_shares_attacks_between_rules(study, tmp_path, monkeypatch):
    first = study.table(["FGSM"])
    monkeypatch.setattr(experiment, "predicted", experiment.predicted)  # not kept: cheap
    counted = {"perturbed": 0, "scored": 0}
    folder = tmp_path / "store"
    before = {path.name for path in folder.iterdir() if path.is_dir()}
    again = Study("digits", **SMALL).table(["FGSM"])
    assert {path.name for path in folder.iterdir() if path.is_dir()} == before
    assert first.equals(again)
    study.table(["FGSM"], rules=["epsilon", "gamma"])
    new = [name for name in (path.name for path in folder.iterdir() if path.is_dir()) if name not in before]
    for name in new:
        counted[name.split("-")[0]] = counted.get(name.split("-")[0], 0) + 1
    # Gamma's maps and scores of four models are new; the attacked images are epsilon's.
    assert counted == {"perturbed": 0, "scored": 4, "layer_maps": 4}


def test_attacks_have_the_paper_s_settings_by_their_names(study):
    top_k, on_margin, beta = study.attacks(["top-k", "PGD on the margin", "target map"])
    assert (top_k.n_steps, top_k.step_size, top_k.top_percent) == (10, 0.5, 20)
    assert (on_margin.kind, on_margin.objective) == ("PGD", "margin")
    assert (beta.n_steps, beta.step_size) == (10, 0.01)
    with pytest.raises(ValueError, match="attack is 'fgsm'; it may be one of: FGSM"):
        study.attacks(["fgsm"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "vgg"}, "architecture is 'vgg'; it may be one of: convolutional, fully_connected, resnet20"),
        ({"method": "sgld"}, "method is 'sgld'; it may be one of: hmc, variational"),
        ({"n_samples": (3,), "n_runs": 2}, "n_samples is 3; it must be a whole number of at least 1 and at most 2"),
        (
            {"n_samples": (2,), "n_runs": 2, "inference": {"n_chains": 4}},
            "n_runs is 2, and the chains are 4",
        ),
        ({"n_samples": (5,)}, "n_samples is 5; it must be a whole number of at least 1 and at most 4"),
    ],
)
def test_bad_studies_get_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        Study("digits", **(SMALL | change))


@pytest.mark.stochastic
def test_a_convolutional_study_by_variational_inference(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path / "store"))
    settings = SMALL | {"inference": {"prior_scale": 0.1}, "hidden": 2, "n_samples": (4,)}
    table = Study("digits", "convolutional", "variational", **settings).table(["noise"], models=["Bayesian, 4"])
    assert list(table["layer"].unique()) == ["0", "3", "7"]
    assert reading.load("digits").image_shape == (1, 28, 28)
