from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from relevance import networks
from relevance.attacks.named import perturbed
from relevance.networks.posterior import Posterior
from relevance.studies.carbone import when
from relevance.studies.carbone.study import Study

SMALL = {
    "n_train": 60, "n_images": 12, "hidden": 4, "epochs": 2, "inference": {"warmup": 2, "prior_scale": 0.2}, "n_draws": 16,
    "n_samples": (1, 8), "n_runs": 2, "n_members": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELEVANCE_STORE", str(tmp_path_factory.mktemp("store")))
        yield Study("digits", **SMALL)


@pytest.fixture(scope="module")
def crossed(study):
    return when.crossing(study, [{"prior_scale": 0.5}, {"trajectory": 0.1}], [60, 30], ["FGSM", "noise"])


@pytest.mark.stochastic
def test_a_crossing_has_every_model_where_it_differs_and_nowhere_twice(crossed):
    cases = crossed[[*when.CASE, "model"]].drop_duplicates()
    by_model = {name: sorted(map(tuple, part[when.CASE].to_numpy())) for name, part in cases.groupby("model")}
    own, wide, short, few = (60, 0.2, 1.0), (60, 0.5, 1.0), (60, 0.2, 0.064), (30, 0.2, 1.0)
    assert by_model["deterministic"] == [few, own]
    assert by_model["MAP"] == by_model["ensemble of MAP"] == [few, own, wide]
    assert by_model["Bayesian, 1"] == by_model["Bayesian, 8"] == [few, short, own, wide]
    counts = crossed.groupby([*when.CASE, "model", "run", "attack"]).size()
    assert (counts == 12).all()
    assert set(crossed["run"]) == {0, 1}
    assert not crossed.duplicated([*when.CASE, "model", "run", "attack", "image"]).any()


@pytest.mark.stochastic
def test_a_crossing_s_rows_are_the_study_s(study, crossed):
    own = crossed[(crossed["n_train"] == 60) & (crossed["prior scale"] == 0.2) & (crossed["trajectory"] == 1)]
    table = study.table(["FGSM", "noise"], layers=["5"])
    keys = ["model", "run", "attack", "image"]
    joined = own.merge(table, on=keys, suffixes=("", "_wanted"))
    # Adversarial training is no step of the ladder.
    assert len(joined) == len(own) == len(table[table["model"] != "adversarially trained"])
    assert (joined["lrp_robustness"] == joined["lrp_robustness_wanted"]).all()


@pytest.mark.stochastic
def test_samples_are_worth_no_more_than_there_are(crossed):
    worth = crossed.groupby("model")["effective draws"]
    assert (worth.max() <= crossed.groupby("model")["n_samples"].max()).all()
    assert (crossed.loc[crossed["model"] == "ensemble of MAP", "effective draws"] == 2).all()
    assert (crossed.loc[crossed["model"].isin(["MAP", "deterministic", "Bayesian, 1"]), "effective draws"] == 1).all()


@pytest.mark.stochastic
def test_effective_draws_of_a_chain_of_known_autocorrelation():
    """An AR(1) process with r has (1 - r) / (1 + r) of its draws; a standard error of some tenth is the estimator's."""
    network = networks.fully_connected((1, 2, 2), 2, 2)
    generator = torch.Generator().manual_seed(0)
    n_draws, found = 2000, {}
    for r in (0.0, 0.8):
        samples = {name: torch.zeros(n_draws, *value.shape) for name, value in network.named_parameters()}
        last = list(samples)[-1]
        noise = torch.randn(n_draws, 2, generator=generator)
        for index in range(n_draws):
            samples[last][index] = (r * samples[last][index - 1] if index else 0) + (1 - r**2) ** 0.5 * noise[index]
        found[r] = when.effective_draws(Posterior(network, samples), torch.rand(3, 1, 2, 2, generator=generator))
    assert found[0.0] == pytest.approx(n_draws, rel=0.3)
    assert found[0.8] == pytest.approx(n_draws / 9, rel=0.5)
    assert when.effective_draws(Posterior(network, {k: v[:4] for k, v in samples.items()}), torch.rand(3, 1, 2, 2)) == 1


def planted(**shifts):
    """Return rows of a crossing with scores that are 0.5 and a model's shift, beside parts of runs and images."""
    generator = np.random.default_rng(0)
    images, rows = generator.normal(0, 0.05, 200), []
    for model, shift in shifts.items():
        for run in range(4):
            score = 0.5 + shift + images + generator.normal(0, 0.002) + generator.normal(0, 0.02, 200)
            rows.append(pd.DataFrame({"model": model, "run": run, "image": range(200), "lrp_robustness": score}))
    names = {
        "sgd": "deterministic",
        "map": "MAP",
        "members": "ensemble of MAP",
        "one": "Bayesian, 1",
        "many": "Bayesian, 9",
    }
    table = pd.concat(rows).replace({"model": names})
    samples = table["model"].map({"Bayesian, 9": 9, "ensemble of MAP": 3}).fillna(1)
    case = {"n_train": 60, "prior scale": 0.2, "trajectory": 1.0, "attack": "FGSM"}
    return table.assign(**case, n_samples=samples.astype(int), **{"effective draws": samples}, label=1, clean_class=1,
                        attacked_class=0, unrelated_lrp_robustness=0.2, ceiling_lrp_robustness=1.0,
                        gradient_is_zero=False)  # fmt: skip


def test_a_ladder_finds_what_each_step_does():
    rungs = when.ladder(planted(sgd=0, map=0.05, members=0.05, one=0.3, many=0.01)).set_index("step")
    wanted = {"prior": (0.05, "higher"), "averaging": (0.0, "equivalent"), "posterior beyond it": (-0.04, "lower"),
              "all together": (0.01, "equivalent")}  # fmt: skip
    for step, (mean, word) in wanted.items():
        assert rungs.loc[step, "standing"] == word
        # 4 standard errors: of two runs' parts, 0.002 sqrt(2 / 4), and of the rest, 0.02 sqrt(2 / 800).
        assert rungs.loc[step, "mean"] == pytest.approx(mean, abs=4 * 0.0018)
    assert when.steps(rungs.reset_index()).loc[(60, 0.2, "FGSM"), "averaging"].endswith("] equivalent")


def test_a_ladder_does_not_judge_a_network_at_chance():
    table = planted(sgd=0, map=0.05, members=0.05, many=0.01)
    table.loc[table["model"] == "MAP", "clean_class"] = 0
    rungs = when.ladder(table).set_index("step")["standing"]
    assert rungs[["prior", "averaging"]].tolist() == ["not judged"] * 2
    assert rungs[["posterior beyond it", "all together"]].tolist() == ["lower", "equivalent"]


def test_steps_to_a_posterior_are_judged_where_its_chains_are_known_to_have_mixed():
    rungs = when.ladder(planted(sgd=0, map=0.05, members=0.05, many=0.01))
    assert when.mixed(rungs, [(60, 0.2)]).equals(rungs)
    gated = when.mixed(rungs, [(60, 0.4), (600, 0.2)]).set_index("step")
    for name in ("standing", "scaled standing"):
        assert (gated.loc[["posterior beyond it", "all together"], name] == "not judged").all()
        assert (gated.loc[["prior", "averaging"], name] != "not judged").all()


def test_averages_have_the_spread_of_runs():
    found = when.averages(planted(sgd=0, many=0.1)).set_index("model")
    assert found.loc["Bayesian, 9", "mean"] - found.loc["deterministic", "mean"] == pytest.approx(0.1, abs=0.01)
    assert (found["high"] - found["low"]).between(0.001, 0.03).all()
    assert (found["accuracy"] == 1).all()
    assert (found["accuracy under attack"] == 0).all()


@pytest.mark.stochastic
def test_an_attack_through_draws_is_judged_on_these_and_on_another_chain(study):
    rows = when.transfer(study, "FGSM", [1, 4])
    assert rows[["run", "n_samples", "draws"]].drop_duplicates().shape[0] == len(rows) == 8
    chains = [study.draws(run) for run in (0, 1)]
    images, labels = study.data.balanced_test(12, 0)
    (attack,) = study.attacks(["FGSM"])
    attacked = perturbed(chains[1].thinned(4), images, labels, attack, None)["images"]
    row = rows[(rows["run"] == 0) & (rows["n_samples"] == 4)].set_index("draws")["accuracy under attack"]
    assert row["own draws"] == chains[1].thinned(4).accuracy(attacked, labels)
    assert row["other draws"] == chains[0].accuracy(attacked, labels)
    short = when.shortfall(rows).set_index("n_samples")
    by_run = rows.pivot(index=["n_samples", "run"], columns="draws", values="accuracy under attack")
    assert short.loc[4, "accuracy"] == pytest.approx((by_run["other draws"] - by_run["own draws"]).loc[4].mean())


def test_rho_is_told_apart_by_what_made_it():
    """Scores that depend on nothing but whether the class flips correlate on all images, and on none of the two parts."""
    generator = np.random.default_rng(0)
    flips = generator.random(400) < 0.5
    score, softmax = (0.3 + 0.4 * ~flips + generator.normal(0, 0.05, 400) for _ in range(2))
    rows = pd.DataFrame({
        "model": "m", "attack": "FGSM", "run": np.arange(400) % 2, "label": 0, "clean_class": 0,
        "attacked_class": flips.astype(int), "gradient_is_zero": False, "lrp_robustness": score, "softmax_robustness": softmax,
    })  # fmt: skip
    found = when.rho_parts(rows).set_index("part")
    assert found.loc["all images", "rho"] > 0.6
    # The standard error of rho of 100 images without a correlation is a tenth; of two runs 0.07.
    assert found.loc[["class stays", "class flips"], "rho"].abs().max() < 0.3
    assert found.loc["all images", "images"] == 200
    one = when.rho_parts(rows[rows["run"] == 0]).set_index("part").loc["all images"]
    assert one["low"] < one["rho"] < one["high"]
    assert when.rho_parts(rows.assign(gradient_is_zero=True)).set_index("part")["rho"].isna().sum() == 2


def test_one_run_or_no_members_cannot_be_crossed():
    with pytest.raises(
        ValueError, match="study has n_runs=1 and n_members=2; it must have at least 2 runs and 1 member"
    ):
        when.crossing(Study("digits", **(SMALL | {"n_runs": 1})), [], [], ["FGSM"])
