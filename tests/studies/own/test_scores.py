"""Scores of any posterior: those of the metrics, of the attack and of the noise as they are elsewhere."""

from __future__ import annotations

import pytest
import torch

from oracles import random_posterior
from relevance import explanations, metrics
from relevance.networks import architectures
from relevance.studies.own import scores

POSTERIOR = random_posterior(architectures.fully_connected((1, 6, 6), hidden=5, n_classes=3), n_samples=3)
IMAGES = torch.rand((7, 1, 6, 6), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_scores_are_the_metrics():
    found = scores.scored(POSTERIOR, IMAGES, epsilon=0.05, top_percent=25, n_steps=3, seed=2)
    target = POSTERIOR.predict(IMAGES).argmax(1)
    before = explanations.lrp(POSTERIOR, IMAGES, target, rule=scores.RULE)
    assert torch.equal(found.before, before)
    for name in (scores.ATTACKED, "noise"):
        changed = found.changed[name]
        assert (changed - IMAGES).abs().max() <= 0.05 + 1e-12
        after = explanations.lrp(POSTERIOR, changed, target, rule=scores.RULE)
        rows = found.rows[found.rows["after"] == name]
        assert rows["robustness"].tolist() == metrics.lrp_robustness(before, after, 25).tolist()
        assert rows["floor"].tolist() == metrics.unrelated_robustness(before, after, 25).tolist()
        assert rows["kept"].tolist() == (POSTERIOR.predict(changed).argmax(1) == target).double().tolist()
        row = found.table.loc[name]
        excess = rows["robustness"] - rows["floor"]
        assert row["standard error"] == pytest.approx(excess.std() / 7**0.5)
        assert row["robustness"] == pytest.approx(rows["robustness"].mean())


def test_nothing_moves_without_an_attack():
    found = scores.scored(POSTERIOR, IMAGES, epsilon=0.0)
    assert (found.rows["kept"] == 1).all()
    assert found.table["robustness"].tolist() == pytest.approx([1, 1])


def test_any_method_of_explanation_is_taken():
    found = scores.scored(POSTERIOR, IMAGES, n_steps=2, explain=explanations.gradient)
    target = POSTERIOR.predict(IMAGES).argmax(1)
    assert torch.equal(found.before, explanations.gradient(POSTERIOR, IMAGES, target).detach())


def test_the_first_sample_stands_beside_more_than_one():
    both = scores.with_its_first(POSTERIOR, IMAGES, n_steps=2)
    assert {name: one.n_samples for name, one in both.items()} == {scores.WHOLE: 3, scores.ONE: 1}
    assert set(scores.with_its_first(POSTERIOR[0], IMAGES, n_steps=2)) == {scores.WHOLE}


@pytest.mark.parametrize(
    ("images", "settings", "match"),
    [
        (IMAGES[:1], {}, "images has 1 images; it must have 2 or more"),
        (IMAGES + 1, {}, "images has values from"),
        (IMAGES, {"epsilon": -1}, "epsilon is -1"),
        (IMAGES, {"top_percent": 0}, "top_percent is 0"),
        (IMAGES, {"n_steps": 0}, "n_steps is 0"),
        (IMAGES.float(), {}, "images are torch.float32"),
    ],
)
def test_what_cannot_be_scored_is_refused(images, settings, match):
    with pytest.raises(ValueError, match=match):
        scores.scored(POSTERIOR, images, **settings)
