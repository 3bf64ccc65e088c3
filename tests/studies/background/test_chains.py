"""What is said of chains: the swing of a weight is a cosine, and explanations of chains are those of the library."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from oracles import MOST, of_chains, random_posterior, to_double
from relevance import attacks, explanations, metrics
from relevance.networks import architectures
from relevance.studies import records
from relevance.studies.background import chains
from relevance.studies.experiment import Settings

pytestmark = pytest.mark.stochastic
SETTINGS = Settings(0.1, explanations.Epsilon(0.1), 20)


def test_the_next_draw_of_a_weight_follows_the_cosine():
    lengths = [0.1, 0.8, math.pi / 2, 2.6]
    rows = chains.autocorrelation(lengths, n_draws=40, n_weights=1000)
    assert rows["expected"].tolist() == [math.cos(length) for length in lengths]
    for row in rows.to_dict("records"):
        # Chains of weights are independent; the correlation of each is estimated from 40 pairs.
        error = math.sqrt((1 - row["expected"] ** 2) / (1000 * 40)) + 0.004  # rounding of the length, and rejections
        assert abs(row["measured"] - row["expected"]) < MOST * error
    assert rows["worth"][2] == pytest.approx(100)
    with pytest.raises(ValueError, match="lengths is 0"):
        chains.autocorrelation([0])


@pytest.fixture
def small_network():
    return architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3)


@pytest.fixture
def case(small_network, tiny_data):
    data = to_double(tiny_data)
    return of_chains(small_network, 3, 20, start="both"), data, data.test_images[:8], data.test_labels[:8]


def test_a_certificate_of_explanations_looks_at_maps_and_scores(case):
    posterior, data, images, labels = case
    found = chains.certified(posterior, data, images, labels, SETTINGS)
    assert found.mixing["relevance on top"].values == 8  # the top of 16 pixels, 1 %, is one in each map
    attacked = attacks.fgsm(posterior, images, labels, 0.1)
    target = posterior.predict(images).argmax(1)
    maps = [explanations.lrp(posterior[20:40], some, target, rule=SETTINGS.rule) for some in (images, attacked)]
    assert found.scores["k-LRP"][1] == pytest.approx(metrics.lrp_robustness(*maps, 20).mean().item())
    assert -1 <= found.maps["expected map"] <= 1
    rows = chains.of_chains(found, posterior, images, labels, SETTINGS)
    assert rows["start"].tolist() == ["sgd", "prior", "sgd"]
    assert rows["k-LRP, shared"].tolist() == found.scores["k-LRP"]
    assert rows["accuracy"][1] == posterior[20:40].accuracy(images, labels)
    about = chains.about(posterior, found)
    assert (about["n_chains"], about["n_draws"], about["certificate"]) == (3, 60, found.word)


def test_posteriors_stand_beside_each_other(case):
    posterior, _, images, labels = case
    other = random_posterior(posterior.network, 2, seed=5)
    rows = chains.beside({"HMC": posterior, "other": other}, "HMC", images, labels, SETTINGS)
    assert rows.loc["HMC", "map correlation"] == pytest.approx(1)
    assert list(rows.columns) == [*chains.ATTACKED, "map correlation"]
    noisy = chains.perturbed(other, images, labels, chains.Attack("noise", 0.1), None)["images"]
    assert rows.loc["other", "accuracy, noise"] == other.accuracy(noisy, labels)
    with pytest.raises(ValueError, match="reference is 'nobody'; it may be one of: HMC, other"):
        chains.beside({"HMC": posterior, "other": other}, "nobody", images, labels, SETTINGS)


def made_up(scores):
    return pd.DataFrame(
        [{"model": name, "run": run, **dict.fromkeys(chains.ATTACKED, score)}
         for name, values in scores.items() for run, score in enumerate(values)]
    )  # fmt: skip


def test_protocols_are_compared_over_their_runs():
    rows = made_up(
        {
            chains.MIXED: [0.7, 0.72, 0.71],
            chains.OLD: [0.5, 0.52, 0.51],
            chains.MAP: [0.6, 0.8, 0.71],
            chains.SGD: [0.9, 0.91, 0.92],
        }
    )
    found = chains.differences(rows)
    assert found.loc[chains.OLD, "mean"] == pytest.approx(0.2)
    # Two groups of three with the same variance of 1e-4: t with 4 degrees of freedom.
    assert found.loc[chains.OLD, "high"] - 0.2 == pytest.approx(2.776 * math.sqrt(2 * 1e-4 / 3), rel=1e-3)
    summary = chains.summary(rows)
    assert summary.loc[chains.SGD, "k-LRP, FGSM"] == pytest.approx(0.91)
    assert summary.loc[chains.SGD, "sd over runs"] == pytest.approx(0.01)


@pytest.mark.slow
def test_protocols_train_what_they_name(small_network, tiny_data):
    rows = chains.protocols(
        small_network, tiny_data, tiny_data.test_images[:8], tiny_data.test_labels[:8], SETTINGS,
        n_runs=2, n_draws=4, epochs=2, sampler={"warmup": 3, "prior_scale": 0.5},
    )  # fmt: skip
    assert rows["model"].tolist() == [
        name for name in (chains.MIXED, chains.OLD, chains.MAP, chains.SGD) for _ in range(2)
    ]
    assert rows[list(chains.ATTACKED)].to_numpy().min() >= 0


def test_what_is_recorded_is_listed():
    found = chains.recorded()
    assert list(found.index) == records.runs("certificate")
    if len(found):
        assert (found["k-LRP, lowest chain"] <= found["highest"]).all()
