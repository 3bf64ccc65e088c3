"""The joint table: every model measured by the library's own scores, and sentences that follow from planted numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from relevance import attacks, datasets, inference, joint, networks, paper, removal, robust_training, robustness
from relevance.alignment import alignment
from relevance.explanations import lrp

pytestmark = pytest.mark.stochastic


def test_the_scores_are_those_of_the_library():
    data = datasets.load("digits").smaller(200, 0)
    network = networks.fully_connected(data.image_shape, 8, 10)
    posterior = inference.sgd(network, data, epochs=10, seed=0, progress=False)
    retraining = {"epochs": 1, "seeds": [0, 1], "jobs": 1}
    rows = joint.measured({"standard": posterior}, data, n_images=20, epsilon=0.1, n_steps=3, retrained=network,
                          retraining=retraining, shares=[0.5])  # fmt: skip
    row = rows.loc["standard"]
    images, labels = data.balanced_test(20, 0)
    target = posterior.predict(images).argmax(1)
    attacked = attacks.fgsm(posterior, images, labels, 0.1)
    before, after = (lrp(posterior, some, target, rule=paper.RULES["epsilon"]) for some in (images, attacked))
    assert row["LRP under FGSM"] == pytest.approx(np.median(robustness.lrp_robustness(before, after, 20).numpy()))
    assert row["LRP under FGSM, low"] <= row["LRP under FGSM"] <= row["LRP under FGSM, high"]
    assert row["accuracy"] == posterior.accuracy(images, labels)
    assert row["alignment"] == pytest.approx(np.median(alignment(posterior, images, target).numpy()))
    assert row["nothing to follow"] == 0
    assert 0 < row["ROAR"] < 1
    assert [row[f"{joint.GAIN}{end}"] for end in ("", ", low", ", high")] == [0, 0, 0]
    assert list(joint.shown(rows).columns[:3]) == ["accuracy", "accuracy under attack", "nothing to follow"]


def planted():
    names = [robust_training.STANDARD, "a", "b", "c", "d", "e"]
    rows = pd.DataFrame({"model": names}).set_index("model")
    for score in joint.SCORES:
        rows[score] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    rows["accuracy under attack"] = rows["accuracy under attack"].to_numpy()[::-1]
    rows["ROAR"] = [0.5, 0.9, 0.5, 0.5, 0.1, 0.4]
    for name in joint.SPREAD:
        rows[f"{name}, low"], rows[f"{name}, high"] = rows[name] - 0.05, rows[name] + 0.05
    gain = rows["ROAR"] - 0.5
    rows[joint.GAIN], rows[f"{joint.GAIN}, low"], rows[f"{joint.GAIN}, high"] = gain, gain - 0.15, gain + 0.15
    rows["nothing to follow"] = [0, 0, 0, 0, 0, 0.8]
    return rows


def test_what_is_said_follows_from_the_table():
    rows = planted()
    told = joint.told(rows)
    assert "accuracy and alignment (rho +1.000)" in told.split("move against")[0]
    assert "accuracy and accuracy under attack (rho \N{MINUS SIGN}1.000)" in told.split("move against")[1]
    assert "LRP under FGSM: d" in told
    assert "LRP under PGD: e" in told
    assert "ROAR: d" in told
    assert "nothing to follow on many images of e" in told
    faithful = joint.faithful(rows)
    assert "falls sooner than that of the standard network for d" in faithful
    assert "falls later than that of the standard network for a" in faithful
    assert "cannot be told from that of the standard network for b, c and e" in faithful


def test_an_ensemble_of_hardened_networks_has_members_of_its_own():
    data = datasets.load("digits").smaller(100, 0)
    network = networks.fully_connected(data.image_shape, 6, 10)
    chosen = robust_training.settings(["standard", "PGD-l2 1"], 1)
    found = joint.models(network, data, chosen, epochs=1, sampler={"warmup": 2, "n_steps": 2}, n_draws=4, n_samples=2,
                         n_members=2, prior_scale=0.2, ensemble_of="PGD-l2 1")  # fmt: skip
    assert list(found) == ["standard", "PGD-l2 1", "variational", "HMC", "ensemble", "ensemble of PGD-l2 1"]
    assert [len(one) for one in found.values()] == [1, 1, 2, 2, 2, 2]
    first = found["ensemble of PGD-l2 1"].samples["1.weight"]
    assert (first[0] == found["PGD-l2 1"].samples["1.weight"][0]).all()
    assert not (first[0] == first[1]).all()


def test_table_1_has_the_source_beside_ours():
    rows = [
        {"attribution": name, "share": share, "seed": seed, "accuracy": 0.5 + 0.01 * seed}
        for name in ("PGD-l2 1.5, 40 steps", "PGD-l2 1.5, 3 steps", "random")
        for share in (0.0, 0.2, 0.8)
        for seed in (0, 1, 2)
    ]
    found = removal.table_1(pd.DataFrame(rows))
    assert found.loc["PGD-l2 1.5, 40 steps", "20% removed, source"] == "0.874"
    assert found.loc["PGD-l2 1.5, 40 steps", "80% removed, source"] == "0.651"
    assert found.loc["PGD-l2 1.5, 3 steps", "20% removed, source"] == ""
    alone = removal.table_1(pd.DataFrame(rows[-9:]))
    assert [name for name in alone if "source" in name] == []
    assert found.loc["random", "80% removed, here"].startswith("0.510 ± 0.02")
    chosen = robust_training.by_steps(["PGD-l2 1.5"], [20, 40])
    assert [one.n_steps for one in chosen.values()] == [20, 40]
    assert list(chosen) == ["PGD-l2 1.5, 20 steps", "PGD-l2 1.5, 40 steps"]


def test_a_model_that_fgsm_does_nothing_to_counts_in_no_correlation_of_it():
    rows = planted()
    rows.loc["e", "LRP under FGSM"] = 0
    found = joint.together(rows).set_index(["first", "second"])
    assert tuple(found.loc[("accuracy", "LRP under FGSM"), ["rho", "models"]]) == pytest.approx((1, 5))
    assert found.loc[("accuracy", "LRP under PGD"), "models"] == 6


def test_equal_values_lead_together():
    rows = planted()
    rows["accuracy"] = [0.6, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert "accuracy: standard and e;" in joint.told(rows)


def test_roar_is_compared_seed_by_seed(monkeypatch):
    data = datasets.load("digits").smaller(50, 0)
    network = networks.fully_connected(data.image_shape, 4, 10)
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
    monkeypatch.setattr(joint.roar, "roar", lambda *_, **__: pd.DataFrame(rows))
    table = joint.measured(
        found, data, n_images=10, epsilon=0.1, n_steps=1, retrained=network, retraining={}, shares=[0.2]
    )
    assert table.loc["longer", joint.GAIN] == pytest.approx(-0.05)
    assert table.loc["longer", f"{joint.GAIN}, high"] < 0
    assert table.loc["longer", "ROAR, high"] > table.loc["standard", "ROAR, low"]
    assert "falls sooner than that of the standard network for longer" in joint.faithful(table)
