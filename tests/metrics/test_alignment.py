from __future__ import annotations

import pytest
import torch
from torch import nn

from relevance.metrics import alignment
from relevance.metrics.alignment import alignment as alignment_alignment
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

pytestmark = pytest.mark.stochastic


# Alignment


def binary(bias=0.0, scale=1.0):
    """Two classes on images 1x2x2: logits (scale (w x + b), 0), with a boundary through the middle of the pixel range."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    weights = torch.tensor([[1.0, -0.5, 0.25, -0.75], [0, 0, 0, 0]], dtype=torch.float64)
    with torch.no_grad():
        network[1].weight.copy_(scale * weights)
        network[1].bias.copy_(torch.tensor([scale * bias, 0.0]))
    return Posterior.of(network), weights[0]


@pytest.fixture
def middling():
    """Images near the middle of the pixel range, so that the boundary is reached before its ends."""
    generator = torch.Generator().manual_seed(3)
    return 0.5 + 0.3 * (torch.rand((8, 1, 2, 2), generator=generator, dtype=torch.float64) - 0.5)


def test_for_a_linear_binary_classifier_alignment_is_the_distance_to_the_boundary(middling):
    posterior, weights = binary()
    target = posterior.predict(middling).argmax(1)
    wanted = (middling.flatten(1) @ weights).abs() / weights.norm()
    torch.testing.assert_close(alignment_alignment(posterior, middling, target), wanted)
    found = alignment.bound(posterior, middling, target)
    for column in ("rho", "first order"):
        assert found[column].to_numpy() == pytest.approx(wanted.numpy(), rel=1e-4)
    assert found[["bias", "xi"]].to_numpy().max() < 1e-4


def test_a_bias_is_the_error_term_of_a_linear_classifier(middling):
    posterior, weights = binary(bias=0.2)
    target = posterior.predict(middling).argmax(1)
    found = alignment.bound(posterior, middling, target)
    wanted = (middling.flatten(1) @ weights + 0.2).abs() / weights.norm()
    assert found["rho"].to_numpy() == pytest.approx(wanted.numpy(), rel=1e-4)
    assert found["bias"].to_numpy() == pytest.approx(0.2 / weights.norm().item())
    assert (found["rho"] <= found["alignment"] + found["bias"] + 1e-6).all()


@pytest.mark.parametrize("of", alignment.SCORES)
def test_alignment_does_not_see_the_size_of_the_logits(middling, of):
    target = binary()[0].predict(middling).argmax(1) * 0
    once, thrice = (alignment_alignment(binary(0.2, scale)[0], middling, target, of) for scale in (1.0, 3.0))
    torch.testing.assert_close(once, thrice)


def test_the_rival_is_the_class_with_the_nearest_boundary(some_images):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4, bias=False)).double()
    posterior = Posterior.of(network)
    logits, weights = network(some_images).detach(), network[1].weight.detach()
    target = logits.argmax(1)
    leads = logits.gather(1, target[:, None]) - logits
    distances = (leads / (weights[target][:, None] - weights).norm(dim=-1)).scatter(1, target[:, None], torch.inf)
    found = alignment.score(posterior, some_images, target)
    torch.testing.assert_close(found.distances, distances.amin(1))
    assert torch.equal(found.rivals, distances.argmin(1))
    torch.testing.assert_close(alignment_alignment(posterior, some_images, target), distances.amin(1))


def test_the_score_of_a_posterior_is_that_of_its_predictive(dense_posterior, some_images):
    target = dense_posterior.predict(some_images).argmax(1)
    found = alignment.score(dense_posterior, some_images, target)
    log_p = dense_posterior.log_predictive(some_images)
    wanted = log_p.gather(1, target[:, None]) - log_p.gather(1, found.rivals[:, None])
    torch.testing.assert_close(found.values, wanted.squeeze(1))
    step = 1e-6 * torch.randn(some_images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = dense_posterior.log_predictive(some_images + step)
    ahead = (moved.gather(1, target[:, None]) - moved.gather(1, found.rivals[:, None])).squeeze(1)
    torch.testing.assert_close((found.gradients * step).flatten(1).sum(1), ahead - found.values, rtol=1e-4, atol=1e-10)


def test_the_distance_is_that_of_an_exhaustive_search():
    """On images of two pixels, all of which can be tried."""
    torch.manual_seed(1)
    network = architectures.fully_connected((1, 1, 2), 24, 3).double()
    with torch.no_grad():
        for values in network.parameters():
            values.mul_(3)
        # So that the classes meet in the middle.
        network[-1].bias -= network(torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64))[0]
    posterior = Posterior.of(network)
    line = torch.linspace(0, 1, 201, dtype=torch.float64)
    everywhere = torch.cartesian_prod(line, line).reshape(-1, 1, 1, 2)
    classes = posterior.predict(everywhere).argmax(1)
    assert len(classes.unique()) > 1
    chosen = torch.randperm(len(everywhere), generator=torch.Generator().manual_seed(0))[:40]
    images, target = everywhere[chosen], classes[chosen]
    apart = torch.cdist(images.flatten(1), everywhere.flatten(1))
    wanted = apart.where(classes[None] != target[:, None], torch.inf).amin(1)
    found = alignment.distance(posterior, images, target)
    # The grid misses the boundary by less than its own width.
    assert (found >= wanted - 0.01).all()
    assert ((found - wanted) < 0.01).double().mean() > 0.8
    assert (alignment.distance(posterior, images, (target + 1) % 3) == 0).all()


def test_without_a_gradient_there_is_no_alignment(middling):
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    nn.init.zeros_(network[1].weight)
    posterior = Posterior.of(network)
    target = posterior.predict(middling).argmax(1)
    assert alignment_alignment(posterior, middling, target).isnan().all()
    assert alignment.distance(posterior, middling, target, n_radii=3, n_steps=2).isinf().all()
