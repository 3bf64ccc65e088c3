"""The joint table: every model measured by the library's own scores, and sentences that follow from planted numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from relevance import attacks, inference, metrics
from relevance.datasets import reading
from relevance.explanations import lrp
from relevance.metrics.alignment import alignment
from relevance.networks import architectures
from relevance.studies import names
from relevance.studies.zeng import joint, source, tables, words

pytestmark = pytest.mark.stochastic


def test_the_scores_are_those_of_the_library():
    data = reading.load("digits").smaller(200, 0)
    network = architectures.fully_connected(data.image_shape, 8, 10)
    posterior = inference.sgd(network, data, epochs=10, seed=0, progress=False)
    retraining = {"epochs": 1, "seeds": [0, 1], "jobs": 1}
    rows = joint.metrics({"standard": posterior}, data, n_images=20, epsilon=0.1, n_steps=3, retrained=network,
                          retraining=retraining, shares=[0.5])  # fmt: skip
    row = rows.loc["standard"]
    images, labels = data.balanced_test(20, 0)
    target = posterior.predict(images).argmax(1)
    attacked = attacks.fgsm(posterior, images, labels, 0.1)
    before, after = (lrp(posterior, some, target, rule=names.RULES["epsilon"]) for some in (images, attacked))
    assert row["LRP under FGSM"] == pytest.approx(np.median(metrics.lrp_robustness(before, after, 20).numpy()))
    assert row["LRP under FGSM, low"] <= row["LRP under FGSM"] <= row["LRP under FGSM, high"]
    assert row["accuracy"] == posterior.accuracy(images, labels)
    assert row["alignment"] == pytest.approx(np.median(alignment(posterior, images, target).numpy()))
    assert row["nothing to follow"] == 0
    assert 0 < row["ROAR"] < 1
    assert [row[f"{tables.GAIN}{end}"] for end in ("", ", low", ", high")] == [0, 0, 0]
    assert list(tables.joint(rows).columns[:3]) == ["accuracy", "accuracy under attack", "nothing to follow"]


def test_an_ensemble_of_hardened_networks_has_members_of_its_own():
    data = reading.load("digits").smaller(100, 0)
    network = architectures.fully_connected(data.image_shape, 6, 10)
    chosen = source.settings(["standard", "PGD-l2 1"], 1)
    found = joint.models(network, data, chosen, epochs=1, sampler={"warmup": 2, "n_steps": 2}, n_draws=4, n_samples=2,
                         n_members=2, prior_scale=0.2, ensemble_of="PGD-l2 1")  # fmt: skip
    assert list(found) == ["standard", "PGD-l2 1", "variational", "HMC", "ensemble", "ensemble of PGD-l2 1"]
    assert [len(one) for one in found.values()] == [1, 1, 2, 2, 2, 2]
    first = found["ensemble of PGD-l2 1"].samples["1.weight"]
    assert (first[0] == found["PGD-l2 1"].samples["1.weight"][0]).all()
    assert not (first[0] == first[1]).all()


def test_roar_is_compared_seed_by_seed(monkeypatch):
    data = reading.load("digits").smaller(50, 0)
    network = architectures.fully_connected(data.image_shape, 4, 10)
    found = {
        name: inference.sgd(network, data, epochs=epochs, seed=0, progress=False)
        for name, epochs in (("standard", 1), ("longer", 2))
    }
    # Seeds differ far more than the models do.
    rows = [
        {"attribution": name, "share": share, "seed": seed, "accuracy": 0.3 * seed + less}
        for name, less in (("standard", 0.1), ("longer", 0.05))
        for share in (0.0, 0.2, 0.4)
        for seed in (0, 1, 2)
    ]
    monkeypatch.setattr(joint, "remove_and_retrain", lambda *_, **__: pd.DataFrame(rows))
    table = joint.metrics(
        found, data, n_images=10, epsilon=0.1, n_steps=1, retrained=network, retraining={}, shares=[0.2]
    )
    assert table.loc["longer", tables.GAIN] == pytest.approx(-0.05)
    assert table.loc["longer", f"{tables.GAIN}, high"] < 0
    assert table.loc["longer", "ROAR, high"] > table.loc["standard", "ROAR, low"]
    assert "falls sooner for longer" in words.faithful(table)
