"""The trade-off of robustness and faithfulness: what explains, what is attacked, and what is said of it."""

from __future__ import annotations

import itertools

import pytest
import torch

from relevance import explanations
from relevance.explanations import smoothing
from relevance.pages import figures
from relevance.pages.figures import faithfulness
from relevance.studies.dombrowski import tradeoff


@pytest.fixture
def chosen(dense_posterior):
    return tradeoff.defences(
        dense_posterior[0], dense_posterior, {1.0: dense_posterior[1]}, betas=[2.0], noises=[0.2], counts=[1, 5]
    )


def test_each_defence_explains_as_it_says(chosen, some_images, some_labels):
    none, beta, smooth, single, bayes, flat = chosen
    given = some_images, some_labels
    plain = none.posterior
    soft = explanations.softened(plain, 2.0)
    torch.testing.assert_close(beta.explain("LRP")(plain, *given), explanations.lrp(soft, *given))
    # An attack on the very same softplus reaches the very same map.
    torch.testing.assert_close(beta.explain("LRP")(soft, *given), explanations.lrp(soft, *given))
    noisy = smoothing.smooth_grad_of(explanations.lrp, 0.2)(plain, *given)
    torch.testing.assert_close(smooth.explain("LRP")(plain, *given), noisy)
    assert [one.setting for one in chosen] == ["", "beta 2", "noise 0.2", "1 sample", "5 samples", "strength 1"]
    assert (len(single.posterior), len(bayes.posterior), len(flat.posterior)) == (1, 5, 1)


def test_an_attack_of_no_size_changes_nothing_and_one_of_some_size_does(chosen, some_images):
    for defence in chosen:
        still = tradeoff.similarity(defence, some_images, "gradient", epsilon=0.0, n_steps=1)
        assert still.numpy() == pytest.approx(1)
    moved = tradeoff.similarity(chosen[0], some_images, "gradient x input", epsilon=0.7, n_steps=10)
    assert moved.mean() < 0.97
    with pytest.raises(ValueError, match="map is 'colour'; it may be one of: LRP, gradient, gradient x input"):
        tradeoff.similarity(chosen[2], some_images, "colour", epsilon=0.1)


def test_tables_have_every_defence_and_points_are_their_means(chosen, some_images):
    found = tradeoff.faithful(chosen, some_images, list(tradeoff.EXPLAINS), baseline="black")
    # Three maps each, and two controls.
    assert len(found) == (3 * len(chosen) + 2) * len(some_images)
    moved = tradeoff.robust(chosen, some_images, "gradient", epsilon=0.3, n_steps=2)
    points = tradeoff.points(found, moved, "gradient", by="explained")
    assert list(points.columns) == faithfulness.TRADEOFF
    assert len(points) == len(chosen) + 1
    last = points.iloc[-1]
    assert (last["defence"], last["robustness"]) == ("constant map", 1)
    assert 0 < last["faithfulness"] < 1
    gains = tradeoff.points(found, moved, "gradient")
    assert gains["faithfulness"].iloc[-1] == pytest.approx(0)
    own = found[(found["map"] == "gradient") & (found["setting"] == "5 samples")]
    assert points["faithfulness"][4] == pytest.approx(own["explained"].mean())
    assert (points["faithfulness low"] <= points["faithfulness"]).all()
    compared = tradeoff.differences(found, moved, "gradient")
    assert compared["explained"].iloc[3] == pytest.approx(points["faithfulness"][4] - points["faithfulness"][0])
    drawing = figures.tradeoff(points, robustness="x", faithfulness="y")
    (axis,) = drawing.axes
    # Marks have their numbers, the legend says what they count.
    assert sorted(text.get_text() for text in axis.texts) == sorted(
        word for setting in points["setting"] for word in setting.split() if word.isdecimal() or "." in word
    )
    boxes = [text.get_window_extent() for text in axis.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert "posterior (samples)" in [text.get_text() for text in drawing.legends[0].get_texts()]
    with pytest.raises(ValueError, match="robustness low"):
        figures.tradeoff(points.drop(columns="robustness low"), robustness="x", faithfulness="y")


def test_curves_start_together_and_end_where_nothing_is_left(chosen, some_images):
    found = tradeoff.curves(chosen[4], some_images, ["gradient", "LRP"], "black")
    assert list(found) == ["gradient", "LRP", tradeoff.ORDER]
    for values in found.values():
        torch.testing.assert_close(values[:, 0], found[tradeoff.ORDER][:, 0])
        torch.testing.assert_close(values[:, -1], found[tradeoff.ORDER][:, -1])
    drawing = figures.deletion_curves({"one": found}, [step / 16 for step in range(17)])
    lines = {line.get_label(): line for line in drawing.axes[0].lines}
    assert lines["LRP"].get_ydata() == pytest.approx(found["LRP"].mean(0).numpy())
