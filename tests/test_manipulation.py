"""Manipulations of planted networks: one whose map has no choice, and one whose map can be anything."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from tests.conftest import random_posterior
from torch import nn

from relevance import manipulation, networks, resistance, robustness
from relevance.attacks import softened
from relevance.manipulation import METHODS, Manipulation
from relevance.posterior import Posterior


def softplus_posterior(n_samples=2):
    network = networks.fully_connected((1, 4, 4), hidden=7, n_classes=3, activation="softplus")
    return random_posterior(network, n_samples, scale=2.0)


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_every_map_is_that_of_finite_differences(method, some_images):
    posterior = softplus_posterior()
    images = some_images[:2]
    target = posterior.predict(images).argmax(1)
    explain = manipulation.explainer(method, posterior, some_images, Manipulation())
    weights = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value(points):
        return (weights * explain(posterior, points, target)).sum()

    points = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(value(points), points)
    step = 1e-5
    for index in range(16):
        moved = torch.zeros_like(images).flatten(1)
        moved[:, index] = step
        moved = moved.reshape(images.shape)
        wanted = (value(images + moved) - value(images - moved)) / (2 * step)
        # Guided backpropagation cuts, which has kinks of its own between the two points only with probability 0.
        assert slope.flatten(1)[:, index].sum().item() == pytest.approx(wanted.item(), rel=2e-4, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_softened_maps_have_a_gradient_of_their_own(method, dense_posterior, some_images):
    explain = manipulation.explainer(method, dense_posterior, some_images, Manipulation())
    target = dense_posterior.predict(some_images).argmax(1)
    points = some_images.clone().requires_grad_()
    maps = explain(softened(dense_posterior, 10.0), points, target)
    (slope,) = torch.autograd.grad(maps.square().sum(), points)
    assert slope.flatten(1).abs().amax(1).min() > 0


def easy():
    """One network of softplus units whose gradient map turns from one half of the pixels to the other."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.Softplus(beta=30), nn.Linear(16, 2))
    weight = 6 * torch.eye(16)
    head = torch.stack([torch.full((16,), 0.05), torch.full((16,), -0.05)])
    samples = {"1.weight": weight[None], "1.bias": torch.full((1, 16), -3.0), "3.weight": head[None],
               "3.bias": torch.tensor([[0.5, -0.5]])}  # fmt: skip
    return Posterior(network, samples)


@pytest.mark.stochastic
def test_a_planted_network_is_manipulated_with_its_output_held():
    # A pixel counts if it is above one half: moving some across it turns the map and hardly the output.
    generator = torch.Generator().manual_seed(0)
    images = 0.5 + 0.1 * (torch.rand(32, 1, 4, 4, generator=generator) - 0.5)
    how = Manipulation(epsilon=0.5, n_steps=200, output_weight=1.0, betas=((30.0, 30.0),))
    found = manipulation.case(easy(), images, "gradient", how, images)
    rows = found.table()
    moved = rows[rows["change"] == "manipulated"]
    assert resistance.succeeded(moved).all()
    assert moved["correlation_target"].median() > 0.9
    assert moved["l2"].max() <= 0.5 + 1e-5
    assert moved["output_change"].max() < 0.05
    noise = rows[rows["change"] == "noise"]
    assert np.allclose(noise["l2"], moved["l2"], atol=1e-4)
    assert noise["correlation_origin"].median() > moved["correlation_origin"].median()
    assert noise["correlation_target"].median() < 0.5
    assert (moved["before"] < moved["correlation_target"]).all()


def test_noise_has_the_norm_of_the_manipulation_on_black_and_white():
    # Half of all noise leads out of the pixel range here, and is cut.
    images = torch.zeros(3, 1, 6, 6)
    images[:, :, :3] = 1
    found = images.clone()
    found[0, 0, 0, :2], found[1, 0, 4] = 0.5, 0.9
    control = manipulation.noised(images, found, seed=3)
    sizes = (found - images).flatten(1).norm(dim=1)
    assert torch.allclose((control - images).flatten(1).norm(dim=1), sizes, atol=1e-4)
    assert torch.equal(control[2], images[2])
    assert control.min() >= 0
    assert control.max() <= 1


def test_a_constant_gradient_cannot_be_manipulated():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    posterior = random_posterior(network, 1)
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with pytest.warns(RuntimeWarning, match="moved no image"):
        found = manipulation.case(posterior, images, "gradient", Manipulation(n_steps=20), images)
    rows = found.table()
    assert np.allclose(rows["correlation_origin"], 1)
    assert not resistance.succeeded(rows).any()


def test_shares_have_a_mean_of_one_and_zeros_stay():
    maps = torch.tensor([[[[1.0, -3.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    shown = manipulation.shares(lambda posterior, images, target: maps)(None, None, None)
    assert torch.allclose(shown[0], torch.tensor([[[1.0, 1.0]]]))
    assert not shown[1].any()


@pytest.mark.stochastic
def test_the_loss_is_lowered_and_the_ball_is_kept(dense_posterior, some_images):
    how = Manipulation(epsilon=1.0, n_steps=30)
    found = manipulation.case(dense_posterior, some_images, "gradient x input", how, some_images)
    rows = found.table()[lambda table: table["change"] == "manipulated"]
    before = (found.maps - found.aims).flatten(1).square().mean(1)
    assert (rows["error_target"].to_numpy() <= before.numpy() + 1e-9).all()
    assert rows["error_target"].mean() < before.mean().item()
    assert rows["label_kept"].all()
    assert rows["l2"].max() <= 1 + 1e-6
    alike = robustness.linear_similarity(found.aims, found.reached)
    wanted = [
        np.corrcoef(one.flatten(), other.flatten())[0, 1] for one, other in zip(found.aims, found.reached, strict=True)
    ]
    assert np.allclose(alike, wanted)
    assert np.allclose(rows["correlation_target"], wanted)


def made_up(shifts, n=60):
    generator = np.random.default_rng(0)
    base = 0.5 + 0.1 * generator.standard_normal(n)
    parts = []
    for (model, change), shift in shifts.items():
        origin = base + shift
        parts.append(
            pd.DataFrame({
                "model": model, "method": "LRP", "image": range(n), "change": change, "correlation_origin": origin,
                "correlation_target": 0.6, "output_change": 0.01, "label_kept": True, "before": 0.1, "l2": 1.0,
            })
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_resistance_follows_the_numbers():
    table = made_up({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4,
                     ("Bayesian", "manipulated"): 0.3, ("Bayesian", "noise"): 0.4})  # fmt: skip
    rows = resistance.summary(table).set_index("model")
    assert rows.loc["deterministic", "manipulated"] == 1
    assert rows.loc["deterministic", "to origin"] == pytest.approx(0.2, abs=0.05)
    assert rows.loc["Bayesian", "manipulated, high"] < 0.5
    assert "most images were manipulated for LRP (100%)" in resistance.claim(table, "deterministic")
    assert "fewer than half were for LRP (2%)" in resistance.claim(table, "Bayesian")
    found = resistance.differences(table, "deterministic", "Bayesian")
    assert found.loc["LRP", "mean"] == pytest.approx(0.6)
    told = resistance.resists(found, "deterministic", "Bayesian")
    assert "more for LRP" in told
    assert "Under noise" not in told
    shaken = table.assign(correlation_origin=table["correlation_origin"].where(
        (table["change"] == "manipulated") | (table["model"] == "deterministic"), 1.5))  # fmt: skip
    assert "Under noise of the same size" in resistance.resists(
        resistance.differences(shaken, "deterministic", "Bayesian"), "deterministic", "Bayesian"
    )


def test_a_search_that_found_nothing_is_called_that():
    table = made_up({("deterministic", "manipulated"): 0.3, ("deterministic", "noise"): 0.4})
    assert "hardly came nearer" not in resistance.claim(table, "deterministic")
    stuck = table.assign(correlation_target=0.12)
    assert "hardly came nearer to the target for LRP (0.10 before, 0.12 after)" in resistance.claim(
        stuck, "deterministic"
    )
    # Where there was little room, little is enough.
    assert "hardly came nearer" not in resistance.claim(
        stuck.assign(before=0.95, correlation_target=0.97), "deterministic"
    )
    assert resistance.summary(stuck)["noise l2"].item() == 1
    assert resistance.summary(stuck)["l2 / image"].isna().all()
    assert resistance.summary(stuck.assign(relative=0.2))["l2 / image"].item() == 0.2


def test_noise_that_is_too_small_is_told():
    table = made_up({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    assert resistance.control(table) == ""
    small = table.assign(l2=table["l2"].where(table["change"] == "manipulated", 0.7))
    assert "only 70% of the norm" in resistance.control(small)


@pytest.mark.stochastic
def test_of_several_surrogates_the_better_counts_for_each_image(dense_posterior, some_images):
    losses = []
    for betas in (((1.0, 1.0),), ((30.0, 30.0),), ((1.0, 1.0), (30.0, 30.0))):
        how = Manipulation(epsilon=1.0, n_steps=15, output_weight=0.0, betas=betas)
        found = manipulation.case(dense_posterior, some_images, "gradient x input", how, some_images)
        losses.append((found.reached - found.aims).flatten(1).square().mean(1))
    assert torch.allclose(losses[2], torch.minimum(losses[0], losses[1]))
    assert not torch.allclose(losses[0], losses[1])


def test_outputs_that_moved_are_no_success():
    table = made_up({("deterministic", "manipulated"): -0.3, ("deterministic", "noise"): 0.4})
    assert resistance.succeeded(table.assign(output_change=0.2)).sum() == 0
    assert resistance.succeeded(table.assign(label_kept=False)).sum() == 0


def test_bad_input_gets_a_sentence(dense_posterior, some_images):
    run = partial(manipulation.case, dense_posterior, how=Manipulation(), train_images=some_images)
    with pytest.raises(ValueError, match="method is 'magic'; it may be one of: LRP, gradient"):
        run(some_images, "magic")
    with pytest.raises(ValueError, match="there are 1 images"):
        run(some_images[:1], "LRP")
    with pytest.raises(ValueError, match="epsilon is -1"):
        Manipulation(epsilon=-1)
