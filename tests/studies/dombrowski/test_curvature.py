"""Curvature of level sets against surfaces whose curvature is known, and the source's two theorems."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from oracles import normal_points, random_posterior, softened_posterior
from relevance import explanations
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.studies.dombrowski import curvature, theorem_1, theorem_2, theorem_2_deep


def test_a_sphere_has_the_curvature_of_its_radius():
    points = normal_points(5, 4)
    found = curvature.shape(lambda x: x.square().sum(1), points)
    wanted = (1 / points.norm(dim=1))[:, None].expand(-1, 3)
    torch.testing.assert_close(found.curvatures, wanted)
    # The Hessian is 2, on tangents too.
    torch.testing.assert_close(found.bending, torch.full((5,), 2.0, dtype=torch.float64))


def test_a_sphere_seen_from_inside_has_the_opposite_sign_and_any_scale_of_g_the_same_curvature():
    points = normal_points(5, 4)
    found = curvature.shape(lambda x: -7 * x.square().sum(1).exp(), points)
    torch.testing.assert_close(found.curvatures, (-1 / points.norm(dim=1))[:, None].expand(-1, 3))


def test_a_cylinder_is_flat_along_its_axis():
    points = normal_points(5, 3)
    found = curvature.shape(lambda x: x[:, 0].square() + x[:, 1].square(), points)
    wanted = torch.stack([torch.zeros(5), 1 / points[:, :2].norm(dim=1)], 1).double()
    torch.testing.assert_close(found.curvatures, wanted)


def test_a_saddle_bends_both_ways():
    found = curvature.shape(lambda x: x[:, 2] + x[:, 0].square() - 3 * x[:, 1].square(), torch.zeros(1, 3).double())
    torch.testing.assert_close(found.curvatures, torch.tensor([[-6.0, 2.0]]).double())
    assert found.largest.item() == pytest.approx(6)


def test_a_plane_is_flat():
    found = curvature.shape(lambda x: x @ torch.tensor([1.0, -2.0, 0.5]).double(), normal_points(4, 3))
    assert found.curvatures.abs().max() < 1e-12
    assert found.bending.max() < 1e-12


def test_the_normal_s_change_of_length_is_in_the_bending_and_not_in_the_curvature():
    g = curvature.logit(theorem_1.planted(3.0), 0)
    found = curvature.shape(g.function, g.coordinates(torch.tensor([[0.0, 0.0]])))
    assert found.largest.item() < 1e-12
    # d/dy of 2 sigmoid(beta y) at 0 is beta / 2.
    assert found.bending.item() == pytest.approx(1.5)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_the_logit_by_the_rows_that_it_sees_is_the_logit(n_samples):
    posterior = softened_posterior(n_samples=n_samples)
    images = torch.rand((4, 1, 3, 3), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    g = curvature.logit(posterior, 2)
    torch.testing.assert_close(g.function(g.coordinates(images)), posterior.logits(images).mean(0)[:, 2])
    slopes, _ = curvature.gradients(g.function, g.coordinates(images))
    wanted = explanations.gradient(posterior, images, torch.full((4,), 2))
    torch.testing.assert_close(slopes @ g.basis.T, wanted.flatten(1))
    assert g.basis.shape == (9, min(9, 6 * n_samples))


def test_second_derivatives_are_those_of_finite_differences():
    g = curvature.logit(softened_posterior(), 1)
    points = normal_points(3, 6)
    found, step = curvature.hessians(g.function, points), 1e-5
    for index, unit in enumerate(torch.eye(6).double()):
        ahead, _ = curvature.gradients(g.function, points + step * unit)
        behind, _ = curvature.gradients(g.function, points - step * unit)
        torch.testing.assert_close(found[:, index], (ahead - behind) / (2 * step), atol=1e-7, rtol=1e-6)
    assert found.abs().max() > 0.01


def test_a_convolutional_network_is_taken_as_a_whole():
    posterior = random_posterior(architectures.convolutional((1, 16, 16), 2, 3, activation="softplus"), 1)
    g = curvature.logit(posterior, 0)
    assert g.basis.shape == (256, 256)
    images = torch.rand((2, 1, 16, 16), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(g.function(g.coordinates(images)), posterior.logits(images)[0][:, 0])


def test_curvature_turns_the_normal():
    """Finite differences of the unit normal along tangents have the principal curvatures as eigenvalues."""
    g = curvature.logit(softened_posterior(), 0).function
    point = normal_points(1, 6)
    found = curvature.shape(g, point)
    tangents = torch.linalg.svd(found.normals)[2][0:][1:]
    step = 1e-5
    turned = [
        (curvature.shape(g, point + step * v).normals - curvature.shape(g, point - step * v).normals)[0] / (2 * step)
        for v in tangents
    ]
    values = torch.linalg.eigvalsh(torch.stack(turned) @ tangents.T)
    torch.testing.assert_close(values, found.curvatures[0], atol=1e-6, rtol=1e-5)


def test_the_path_stays_on_the_level_set():
    g = curvature.logit(softened_posterior(), 0).function
    start, end = normal_points(2, 6)
    path = curvature.level_path(g, start, end, 20)
    torch.testing.assert_close(g(path), g(start[None]).expand(20), atol=1e-8, rtol=0)
    torch.testing.assert_close(path[0], start)
    # Where the line itself is on the level set, it is the path.
    assert (g(start + torch.linspace(0, 1, 20).double()[:, None] * (end - start)) - g(start[None])).abs().max() > 0.1


def test_the_weights_constant_is_reached_where_it_can_be():
    """One neuron with slope 0: the Hessian is |w|^2 |v| beta / 4 at the kink, and nowhere more."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1))
    for parameter, value in zip(network.parameters(), ([[3.0, 4.0]], [0.0], [[-2.0]], [0.0]), strict=True):
        parameter.data = torch.tensor(value)
    posterior = explanations.softened(Posterior.of(network), 8.0)
    assert curvature.weights_constant(posterior, 0) == pytest.approx(25 * 2 / 4)
    g = curvature.logit(posterior, 0)
    assert curvature.hessians(g.function, torch.zeros(1, 1).double()).abs().item() == pytest.approx(8 * 12.5)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            lambda p: curvature.logit(p, 0),
            "the network has ReLUs, so its second derivatives are zero almost everywhere",
        ),
        (
            lambda p: curvature.logit(explanations.softened(p, 1.0), 3),
            "target is 3; it must be a whole number of at least 0",
        ),
        (lambda p: explanations.softened(p, 0.0), "beta is 0.0; it must be a finite number above 0"),
        (
            lambda p: curvature.weights_constant(p, 0),
            "the network has a ReLU; the constant is known for dense softened",
        ),
        (lambda p: curvature.shape(lambda x: x.sum(1), torch.zeros(3)), "points have shape [3]; they must be [n, d]"),
        (lambda p: curvature.shape(lambda x: x.square().sum(1), torch.zeros(1, 2)), "the gradient is zero at a point"),
        (
            lambda p: curvature.on_level(lambda x: x.square().sum(1), torch.ones(1, 2).double(), -1.0),
            "the points could not be brought to the level set",
        ),
        (lambda p: theorem_2.density(0.0, -1.0), "beta is -1.0; it must be a finite number above 0"),
        (lambda p: theorem_2.gaussian_sigma(0), "beta is 0; it must be a finite number above 0"),
        (lambda p: theorem_2.closed_form(torch.zeros(2), torch.zeros(1, 2), 1.0), "they must be [d] and not zero"),
        (
            lambda p: theorem_2_deep.exact_noise(p, torch.zeros(1, 1, 3, 3), torch.tensor([0]), 1.0),
            "the network has 2 hidden",
        ),
        (
            lambda p: theorem_2_deep.each_its_beta(explanations.softened(p, 1.0), None, None, 1.0),
            "a beta for each neuron is known for",
        ),
    ],
)
def test_bad_input_gets_a_sentence(relu_posterior, wrong, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        wrong(relu_posterior)
