"""Smoothings that equal known means, and attacks that know of them."""

from __future__ import annotations

import numpy as np
import pytest

from relevance import explanations
from relevance.attacks import manipulation
from relevance.attacks.manipulation import Manipulation
from relevance.explanations import smoothing as explanations_smoothing
from relevance.networks.posterior import Posterior
from relevance.studies.dombrowski import smoothing
from relevance.studies.dombrowski.smoothing import AWARE, UNAWARE, Defence

pytestmark = pytest.mark.usefixtures("own_store")


def test_a_defence_is_of_the_method_or_of_the_model(dense_posterior, some_images, target):
    single = dense_posterior[:1]
    assert len(Defence("posterior", 3).model(single, dense_posterior)) == 3
    assert Defence("softplus", 3.0).model(single, dense_posterior) is single
    assert Defence("none").explain(explanations.gradient) is explanations.gradient
    assert str(Defence("SmoothGrad", 0.1)) == "SmoothGrad, noise 0.1"
    names = [str(one) for one in smoothing.defences([1], {"image": [0.1], "weights": [0.2]}, [2], 3)]
    assert names == [
        "no smoothing",
        "softplus, beta 1",
        "SmoothGrad, noise 0.1",
        "NoiseGrad, noise 0.2",
        "posterior, samples 2",
    ]
    with pytest.raises(ValueError, match="defence is 'hope'; it may be one of"):
        Defence("hope")


def test_every_defence_is_attacked_twice(dense_posterior, some_images):
    how = Manipulation(epsilon=1.0, n_steps=8)
    single = dense_posterior[:1]
    defences = smoothing.defences([2.0], {"image": [0.2], "weights": [0.2]}, [3], 2)
    rows = smoothing.steadiness(single, dense_posterior, some_images, explanations.gradient_x_input, defences, how)
    assert rows.groupby(["defence", "manipulation"]).size().eq(len(some_images)).all()
    assert rows["l2"].max() <= 1 + 1e-5
    # The plain attack is the same images for every defence.
    plain = rows[rows["manipulation"] == UNAWARE].groupby("image")["l2"]
    assert plain.nunique().eq(1).all()
    aware = rows[rows["manipulation"] == AWARE].groupby("image")["l2"]
    assert aware.nunique().gt(1).any()
    for name, one in (("softplus", Defence("softplus", 2.0)), ("posterior", Defence("posterior", 3))):
        model = one.model(single, dense_posterior)
        explain = manipulation.shares(one.explain(explanations.gradient_x_input))
        target = model.predict(some_images).argmax(1)
        found = smoothing.search(model, some_images, explanations.gradient_x_input, one, how)
        pair = (explain(model, images, target) for images in (some_images, found))
        wanted = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(*pair, strict=True)]
        part = rows[(rows["defence"] == name) & (rows["manipulation"] == AWARE)]
        assert np.allclose(part["similarity"], wanted)


@pytest.mark.stochastic
def test_quality_is_that_of_the_maps(dense_posterior, some_images):
    rows = smoothing.quality(
        dense_posterior[:1], some_images, explanations.gradient, {500.0: 0.01}, [2], n_reference=20
    )
    assert rows["correlation"].between(0.99, 1).all()
    assert (rows["time"] > 0).all()
    assert isinstance(explanations_smoothing.shaken(dense_posterior, 0.1, 1), Posterior)
