from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from oracles import normal_points
from relevance.studies.dombrowski import theorem_2


@pytest.mark.parametrize("beta", [0.5, 3.0, 100.0])
def test_theorem_2_by_quadrature(beta):
    weights = torch.tensor([0.7, -2.0, 0.3])
    points = torch.cat([normal_points(12, 3) / beta, torch.zeros(1, 3).double()])
    exact = theorem_2.closed_form(weights, points, beta)
    # By hand: w times the logistic function of beta w^T x / |w|.
    size = weights.double().norm()
    by_hand = torch.sigmoid(beta * (points @ weights.double()) / size)[:, None] * weights.double()
    torch.testing.assert_close(exact, by_hand)
    assert (theorem_2.by_quadrature(weights, points, beta) - exact).abs().max() < 1e-6
    # With beta in the place of beta / |w| it would not hold.
    wrong = torch.sigmoid(beta * (points @ weights.double()))[:, None] * weights.double()
    assert (wrong - exact).abs().max() > 1e-2


def test_the_density_is_the_logistic_one():
    from scipy import stats

    noise = np.linspace(-400, 400, 41)
    for beta in (0.1, 1.0, 30.0):
        np.testing.assert_allclose(
            theorem_2.density(noise, beta), stats.logistic.pdf(noise, scale=1 / beta), atol=1e-300
        )


@pytest.mark.stochastic
def test_theorem_2_by_sampling_within_its_standard_error():
    weights, points = torch.tensor([0.7, -2.0, 0.3]), normal_points(30, 3)
    exact = theorem_2.closed_form(weights, points, 2.0) @ weights.double() / weights.double().square().sum()
    found = theorem_2.by_sampling(weights, points, 2.0, 20_000)
    off = (found.mean - exact) / (exact * (1 - exact) / 20_000).sqrt()
    assert off.abs().max() < 4
    # One seed for all points, so they are not independent; still they are off by about as much as they say.
    assert 0.2 < off.square().mean().sqrt() < 2.5


def test_gaussian_noise_is_off_by_the_same_share_for_every_beta():
    errors = [theorem_2.gaussian_curve(beta)["error"].abs().max() for beta in (0.1, 1.0, 50.0)]
    np.testing.assert_allclose(errors, errors[0])
    assert 0.01 < errors[0] < 0.02
    # sigma is that at which E[relu(e)] is softplus at the kink, log(2) / beta.
    assert theorem_2.gaussian_sigma(4.0) / math.sqrt(2 * math.pi) == pytest.approx(math.log(2) / 4)


@pytest.mark.stochastic
def test_spherical_noise_is_logistic_in_every_direction():
    from scipy import stats

    noise = theorem_2.spherical_logistic((20_000, 4), 3.0, np.random.default_rng(0))
    for direction in ([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.6, 0, -0.8, 0]):
        assert stats.kstest(noise @ np.array(direction), stats.logistic(scale=1 / 3).cdf).pvalue > 0.01
    # Independent logistic components are not.
    apart = np.random.default_rng(0).logistic(scale=1 / 3, size=(200_000, 4))
    assert stats.kstest(apart @ np.full(4, 0.5), stats.logistic(scale=1 / 3).cdf).pvalue < 1e-6
