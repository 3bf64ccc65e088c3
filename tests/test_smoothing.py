"""Smoothings that equal known means, and attacks that know of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from oracles import MOST, errors_off
from relevance import attacks, explanations, figures, manipulation, resistance, smoothing
from relevance.manipulation import Manipulation
from relevance.posterior import Posterior
from relevance.smoothing import AWARE, UNAWARE, Defence


@pytest.fixture
def target(dense_posterior, some_images):
    return dense_posterior.predict(some_images).argmax(1)


def test_softplus_is_the_map_of_the_softened_network(dense_posterior, some_images, target):
    found = smoothing.softplus(explanations.gradient, 3.0)(dense_posterior, some_images, target)
    wanted = explanations.gradient(attacks.softened(dense_posterior, 3.0), some_images, target)
    assert torch.allclose(found, wanted)
    sharp = smoothing.softplus(explanations.gradient, 1e6)(dense_posterior, some_images, target)
    assert torch.allclose(sharp, explanations.gradient(dense_posterior, some_images, target), atol=1e-6)


def test_smooth_grad_is_the_mean_over_copies_in_the_box(dense_posterior, some_images, target):
    plain = explanations.gradient(dense_posterior, some_images, target)
    none = smoothing.smooth_grad(explanations.gradient, 0.0, 3)(dense_posterior, some_images, target)
    assert torch.allclose(none, plain)
    seen = []

    def watched(posterior, images, target):
        seen.append(images)
        return images

    found = smoothing.smooth_grad(watched, 0.5, 4, seed=2)(dense_posterior, some_images, target)
    assert torch.allclose(found, torch.stack(seen).mean(0))
    assert all(images.min() >= 0 and images.max() <= 1 for images in seen)
    assert not torch.allclose(seen[0], seen[1])
    # LRP takes only images in the box: the copies are.
    assert (
        smoothing.smooth_grad(explanations.lrp, 0.5, 2)(dense_posterior, some_images, target).shape == some_images.shape
    )


def test_smooth_grad_of_the_gradient_is_not_cut(dense_posterior, some_images, target):
    given = (dense_posterior, some_images, target)
    wanted = explanations.smooth_grad(*given, noise=2.0, n_noise=5, seed=3)
    assert torch.equal(smoothing.smooth_grad(explanations.gradient, 2.0, 5, seed=3)(*given), wanted)

    times = smoothing.smooth_grad(explanations.gradient_x_input, 2.0, 5, seed=3)(*given)
    assert torch.allclose(times, wanted * some_images)

    def cut(*given):
        return explanations.gradient(*given)

    # Wide noise that is cut is another noise, with another mean map.
    assert not torch.allclose(smoothing.smooth_grad(cut, 2.0, 5, seed=3)(*given), wanted)


@pytest.mark.stochastic
def test_noise_on_weights_is_a_posterior(dense_posterior, some_images, target):
    one = dense_posterior[:1]
    assert len(smoothing.shaken(dense_posterior, 0.1, 4)) == 20
    found = smoothing.noise_grad(explanations.gradient, 0.2, 6, seed=1)(one, some_images, target)
    each = [explanations.gradient(single, some_images, target) for single in smoothing.shaken(one, 0.2, 6, seed=1)]
    assert torch.allclose(found, torch.stack(each).mean(0))
    none = smoothing.noise_grad(explanations.gradient, 0.0, 3)(one, some_images, target)
    assert torch.allclose(none, explanations.gradient(one, some_images, target))
    values = (smoothing.shaken(one, 0.2, 4000, seed=3).samples["1.weight"] / one.samples["1.weight"]).flatten()
    assert errors_off(values, 1.0).abs() < MOST
    assert errors_off((values - 1) ** 2, 0.2**2).abs() < MOST


def test_a_defence_is_of_the_method_or_of_the_model(dense_posterior, some_images, target):
    single = dense_posterior[:1]
    assert len(Defence("posterior", 3).model(single, dense_posterior)) == 3
    assert Defence("softplus", 3.0).model(single, dense_posterior) is single
    assert Defence("none").explain(explanations.gradient) is explanations.gradient
    assert str(Defence("SmoothGrad", 0.1)) == "SmoothGrad, noise 0.1"
    names = [str(one) for one in smoothing.grid([1], {"image": [0.1], "weights": [0.2]}, [2], 3)]
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
    defences = smoothing.grid([2.0], {"image": [0.2], "weights": [0.2]}, [3], 2)
    rows = smoothing.measured(single, dense_posterior, some_images, explanations.gradient_x_input, defences, how)
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


def made_up(shifts):
    base = np.random.default_rng(0).uniform(0.3, 0.6, 30)
    rows = []
    for (name, parameter, how), shift in shifts.items():
        setting = {"defence": name, "parameter": parameter, "manipulation": how}
        rows.append(pd.DataFrame({**setting, "image": range(30), "similarity": base + shift}))
    return pd.concat(rows, ignore_index=True)


def test_what_helps_follows_the_numbers():
    table = made_up({("none", 0, UNAWARE): 0, ("none", 0, AWARE): 0, ("softplus", 3, UNAWARE): 0.2, ("softplus", 3, AWARE): -0.1,
                     ("softplus", 9, UNAWARE): 0.0, ("softplus", 9, AWARE): 0.1})  # fmt: skip
    rows = resistance.defended(table)
    assert rows.loc[("softplus", "3"), UNAWARE] == pytest.approx(0.2)
    told = resistance.helps(rows)
    assert f"*{UNAWARE}*: steadier than without: softplus 3; not distinguishable: softplus 9." in told
    assert f"*{AWARE}*: steadier than without: softplus 9; less steady: softplus 3." in told
    medians = resistance.smoothed(table)
    figure = figures.smoothing(medians, {"softplus": "beta"})
    assert len(figure.axes) == 1
    assert medians["low"].le(medians["median"]).all()


@pytest.mark.stochastic
def test_quality_is_that_of_the_maps(dense_posterior, some_images):
    rows = smoothing.quality(
        dense_posterior[:1], some_images, explanations.gradient, {500.0: 0.01}, [2], n_reference=20
    )
    assert rows["correlation"].between(0.99, 1).all()
    assert (rows["time"] > 0).all()
    assert "plain maps" in smoothing.compared(rows)
    assert isinstance(smoothing.shaken(dense_posterior, 0.1, 1), Posterior)
