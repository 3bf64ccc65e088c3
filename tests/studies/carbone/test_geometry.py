"""Tangents by finite differences, parts that add up, and averages of gradients whose expectation is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from oracles import MOST, errors_off
from relevance.networks.posterior import Posterior
from relevance.studies.carbone import geometry, manifolds

pytestmark = pytest.mark.stochastic


@pytest.mark.parametrize("name", manifolds.MANIFOLDS)
def test_parts_add_up_and_are_orthogonal(name):
    manifold = manifolds.MANIFOLDS[name](40, 30)
    vectors = torch.randn(3, 30, 64, generator=torch.Generator().manual_seed(0))
    parts = geometry.on_manifold(vectors, manifold)
    assert torch.allclose(sum(parts.values()), vectors, atol=1e-5)
    lengths = sum(part.square().sum(-1) for part in parts.values())
    assert torch.allclose(lengths, vectors.square().sum(-1), rtol=1e-4)
    assert torch.allclose(parts[geometry.OUTSIDE] @ manifold.span, torch.zeros(1), atol=1e-5)


def test_gradients_of_log_odds_and_of_the_probability(dense_posterior, some_images, some_labels):
    generator = torch.Generator().manual_seed(4)
    step = 1e-6 * torch.randn(some_images.shape, dtype=some_images.dtype, generator=generator)
    inside = 0.01 + 0.98 * some_images
    odds, probability = (geometry.gradients(dense_posterior, inside, some_labels, of=of) for of in geometry.FUNCTIONS)
    for index, sample in enumerate(dense_posterior):
        up, down = (sample.predict(inside + way * step).gather(1, some_labels[:, None])[:, 0] for way in (1, -1))
        for change, found in (((up / (1 - up)).log() - (down / (1 - down)).log(), odds), (up - down, probability)):
            assert torch.allclose(change, 2 * (found[index] * step.flatten(1)).sum(1), rtol=1e-3, atol=1e-10)
    with pytest.raises(ValueError, match="of is 'logit'; it may be one of: log_odds, probability"):
        geometry.gradients(dense_posterior, some_images, some_labels, of="logit")


def test_what_survives_averaging_is_estimated_without_bias():
    generator = torch.Generator().manual_seed(0)
    mean, noise = torch.zeros(200, 8), torch.randn(40, 200, 8, generator=generator)
    mean[:, 0] = 2.0
    # |E g|^2 = 4, E |g|^2 = 4 + 8.
    assert errors_off(geometry.surviving(mean + noise), 4 / 12).abs() < MOST
    assert errors_off(geometry.surviving(noise), 0.0).abs() < MOST
    assert geometry.surviving(mean.expand(40, -1, -1)).mean() == pytest.approx(1)


def test_draws_that_are_alike_need_blocks():
    generator = torch.Generator().manual_seed(1)
    chains = torch.randn(4, 1, 400, 8, generator=generator).expand(4, 10, 400, 8).reshape(40, 400, 8)
    assert geometry.surviving(chains).mean() > 0.2  # as if they had a mean of their own
    assert errors_off(geometry.surviving(chains, n_blocks=4), 0.0).abs() < MOST


def test_independent_samples_fall_with_the_square_root():
    vectors = torch.randn(64, 500, 8, generator=torch.Generator().manual_seed(2))
    rows = geometry.by_samples({"noise": vectors}, [1, 4, 16, 64])
    assert rows["kept"].tolist() == pytest.approx(rows["independent"].tolist(), rel=0.1)
    with pytest.raises(ValueError, match="counts is 65; it must be a whole number of at least 1 and at most 64"):
        geometry.by_samples({"noise": vectors}, [65])


def test_a_local_tangent_finds_a_plane():
    generator = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(20, 2, generator=generator)).Q
    cloud = torch.rand(500, 2, generator=generator) @ basis.T
    found = geometry.local_tangent(cloud[:10], cloud, dimensions=2, n_neighbours=15)
    assert torch.allclose(found @ found.mT, (basis @ basis.T).expand(10, -1, -1), atol=1e-4)
    with pytest.raises(ValueError, match="dimensions is 16; it must be"):
        geometry.local_tangent(cloud[:10], cloud, dimensions=16, n_neighbours=15)


def test_a_prior_that_the_data_do_not_touch_has_no_slope_across():
    # Weights out of the span are free and symmetric: their gradients cancel, those along the data do not.
    manifold = manifolds.half_moons(40, 30)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    generator = torch.Generator().manual_seed(5)
    inside = manifold.span @ manifold.span.T
    free = torch.randn(150, 2, 64, generator=generator) @ (torch.eye(64) - inside)
    fixed = torch.randn(1, 2, 64, generator=generator) @ inside
    posterior = Posterior(network, {"1.weight": free + fixed, "1.bias": torch.zeros(150, 2)})
    vectors = geometry.gradients(posterior, manifold.data.test_images, manifold.data.test_labels)
    found = geometry.survival(geometry.on_manifold(vectors, manifold))
    assert found[geometry.OUTSIDE] == pytest.approx(0, abs=0.02)
    assert found[geometry.CURVED] == pytest.approx(1, abs=1e-3)
    assert found["normal share"] < 1


def test_the_interval_holds_the_noise_of_chains():
    # Four chains, each with an offset of its own that no number of draws or points would average away.
    generator = torch.Generator().manual_seed(6)
    values, variances = [], []
    for _ in range(300):
        offsets = torch.randn(4, 1, 1, 5, generator=generator) + 1
        draws = (offsets + 0.1 * torch.randn(4, 10, 3, 5, generator=generator)).flatten(0, 1)
        values.append(geometry.surviving(draws, 4).mean().item())
        variances.append(geometry.jackknife_variance(draws, 4))
    # The jackknife errs on the side of caution (Efron and Stein 1981), of so few chains by a half: with other seeds the ratio
    # has a mean of 1.56 and a standard deviation of 0.12.
    ratio = sum(variances) / len(variances) / torch.tensor(values).var().item()
    assert ratio == pytest.approx(1.56, abs=MOST * 0.12)
    vectors = {geometry.ALONG: draws}
    assert geometry.survival(vectors, 2)[f"{geometry.ALONG}, high"] == math.inf
    narrow, wide = (geometry.survival(vectors, count) for count in (40, 4))
    assert narrow[f"{geometry.ALONG}, low"] > wide[f"{geometry.ALONG}, low"]


def test_a_linear_function_on_the_sphere_has_its_root_where_it_vanishes():
    manifold = manifolds.sphere(40, 30)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    slope = manifold.span[:, 0]
    weight = torch.stack([-slope, slope])[None]
    posterior = Posterior(network, {"1.weight": weight, "1.bias": torch.zeros(1, 2) - 0.5 * weight.sum(-1)})
    found = geometry.root_heatmaps(manifold, posterior)
    assert found["found"] == 1
    assert 0 < found["moved"] < 0.5
    assert 0 <= found["tangent share"] <= 1
