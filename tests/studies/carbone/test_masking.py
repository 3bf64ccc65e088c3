from __future__ import annotations

import pytest

from oracles import louder
from relevance import attacks
from relevance.attacks.objectives import mean_loss
from relevance.studies.carbone import masking


@pytest.fixture
def rows(dense_posterior, some_images, some_labels):
    # So sure that the samples that are right have no gradient; five are, on some images, and one is not on others.
    return masking.along(louder(dense_posterior[:1], 1e4), some_images, some_labels, 0.2, n_points=3)


def test_on_the_way_are_loss_margin_and_gradient(rows, dense_posterior, some_images, some_labels):
    sure = louder(dense_posterior[:1], 1e4)
    direction = attacks.loss_gradient(sure, some_images, some_labels, "margin").sign()
    points = (some_images + 0.1 * direction).clamp(0, 1)
    half = rows[rows["distance"].between(0.09, 0.11)]
    assert half["loss"].to_numpy() == pytest.approx(mean_loss(sure.logits(points), some_labels).numpy())
    gradient = attacks.loss_gradient(sure, points, some_labels, "mean_loss").abs().flatten(1).amax(1)
    assert half["gradient"].to_numpy() == pytest.approx(gradient.numpy())
    assert half["wrong"].tolist() == (sure.predict(points).argmax(1) != some_labels).tolist()
    assert (half["wrong"] == (half["margin"] > 0)).all()


def test_groups_are_those_of_the_clean_image(rows, dense_posterior, some_images, some_labels):
    masked = attacks.zero_gradients(louder(dense_posterior[:1], 1e4), some_images, some_labels, "mean_loss")
    assert 0 < masked.sum() < 6
    for _, at in rows.groupby("distance"):
        assert (at["group"] == "masked").tolist() == masked.tolist()
    start = rows[rows["distance"] == 0]
    assert (start.loc[start["group"] == "masked", ["loss", "gradient"]] == 0).all(axis=None)
    assert (start.loc[start["group"] == "masked", "margin"] < 0).all()


def test_by_group_has_medians_and_shares(rows):
    found = masking.by_group(rows)
    assert found.groupby("group")["images"].nunique().tolist() == [1, 1]
    first = found[(found["group"] == "masked") & (found["distance"] == 0)].iloc[0]
    assert (first["no gradient"], first["loss"], first["wrong"]) == (1, 0, 0)
    part = rows[(rows["group"] == "not masked") & (rows["distance"] == rows["distance"].max())]
    last = found[(found["group"] == "not masked")].iloc[-1]
    assert last["margin"] == part["margin"].median()
    assert last["wrong"] == part["wrong"].mean()


def test_bad_settings_get_a_sentence(dense_posterior, some_images, some_labels):
    for settings, message in (({"n_points": 1}, "n_points is 1"), ({"objective": "x"}, "objective is 'x'")):
        with pytest.raises(ValueError, match=message):
            masking.along(dense_posterior, some_images, some_labels, 0.1, **settings)
