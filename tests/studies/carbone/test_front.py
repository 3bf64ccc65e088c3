"""The image of the front page is chosen by a rule, and its maps are those of the table."""

from __future__ import annotations

import pandas as pd
import pytest

from relevance.metrics.overlap import lrp_robustness
from relevance.studies.carbone.front import front, typical
from relevance.studies.carbone.study import Study
from relevance.studies.names import ADVERSARIAL, DETERMINISTIC

ATTACK = "PGD on the margin"


def made_up(scores, right=True):
    rows = [
        {
            "model": model,
            "attack": attack,
            "image": image,
            "label": 1,
            "clean_class": 1 if right else 0,
            "lrp_robustness": score,
        }
        for model in ("a", "b")
        for attack in ("noise", "FGSM")
        for image, score in enumerate(scores)
    ]
    return pd.DataFrame(rows)


def test_the_image_is_closest_to_the_medians_among_those_that_all_models_know():
    scores = made_up([0.1, 0.5, 0.52, 0.9])
    assert typical(scores) in (1, 2)
    scores.loc[(scores["image"] == 1) & (scores["model"] == "b"), "clean_class"] = 0
    assert typical(scores) == 2
    with pytest.raises(ValueError, match="no image that every model classifies rightly; give more images"):
        typical(made_up([0.5], right=False))


@pytest.mark.stochastic
def test_the_maps_have_the_scores_of_the_table(own_store):
    study = Study("digits", n_train=200, n_images=10, hidden=8, epochs=15, n_draws=4, n_samples=[2, 4],
                  inference={"warmup": 4, "prior_scale": 0.2})  # fmt: skip
    table = study.table(["noise", ATTACK, "FGSM"])
    shown = front(study, table, ATTACK)
    assert list(shown.maps) == [DETERMINISTIC, ADVERSARIAL, "Bayesian, 4"]
    assert set(shown.scores["attack"]) == {"noise", ATTACK}
    for model, maps in shown.maps.items():
        rows = shown.scores[(shown.scores["model"] == model) & (shown.scores["image"] == shown.place)].set_index(
            "attack"
        )
        for attack in ("noise", ATTACK):
            found = lrp_robustness(maps["clean"][None], maps[attack][None], 20).item()
            assert found == pytest.approx(rows.loc[attack, "lrp_robustness"], abs=1e-6)
