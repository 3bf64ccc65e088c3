from __future__ import annotations

import pytest
import torch

from relevance.base.ascent import Search, climb

pytestmark = pytest.mark.stochastic


def hill(points, rows, done):
    """Highest where all pixels are 0.5."""
    return -(points - 0.5).flatten(1).square().sum(1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_hill_is_climbed_to_the_top_or_to_the_edge_of_the_ball(some_images, norm):
    wide = climb(hill, some_images, Search(4.0, norm, n_steps=400, step_size=0.01, keep="best"), n_at_once=4)
    assert (wide - 0.5).abs().max() < 0.02
    # Of a small ball around an image away from the top, the best point is on the edge.
    images = torch.full((2, 1, 4, 4), 0.1, dtype=torch.float64)
    near = climb(hill, images, Search(0.2, norm, n_steps=50), n_at_once=1)
    edge = 0.1 + (0.2 if norm == "linf" else 0.2 / 4)
    assert torch.allclose(near, torch.full_like(near, edge), atol=1e-6)


def test_the_best_point_of_all_walks_is_kept(some_images):
    def far(**given):
        # Steps of this size jump over the top and back.
        search = Search(0.5, n_steps=7, step_size=0.4, random_start=True, seed=3, **given)
        return hill(climb(hill, some_images, search, n_at_once=6), None, 0)

    last, best, four = far(keep="last"), far(keep="best"), far(keep="best", n_restarts=4)
    assert (best >= last).all()
    assert (best > last).any()
    assert (four >= best).all()
    assert (four > best).any()
    assert (far(keep="last", n_restarts=4) >= last).all()


def test_points_that_are_not_accepted_are_not_gone_to(some_images):
    def accepts(points, rows):
        return points.flatten(1).mean(1) < 0.6

    images = some_images * 0.5
    up = Search(1.0, n_steps=60, step_size=0.5)
    found = climb(lambda points, rows, done: points.flatten(1).sum(1), images, up, n_at_once=4, accepts=accepts)
    means = found.flatten(1).mean(1)
    assert (means < 0.6).all()
    assert (means > 0.58).all()  # half the step each time, up to the border
    nowhere = climb(hill, images, Search(0.3, random_start=True), n_at_once=4, accepts=lambda p, rows: rows < 0)
    assert torch.equal(nowhere, images)


def test_another_score_may_say_which_point_is_best(some_images):
    def closeness(points, rows):
        return -(points - some_images[rows]).flatten(1).abs().sum(1)

    start = climb(hill, some_images, Search(0.5, keep="best"), n_at_once=6, score=closeness)
    assert torch.equal(start, some_images)


def test_the_walk_says_how_far_it_is(some_images):
    seen = []

    def objective(points, rows, done):
        seen.append((done, rows.tolist()))
        return hill(points, rows, done)

    climb(objective, some_images, Search(0.1, n_steps=3), n_at_once=4)
    assert seen == [(0, [0, 1, 2, 3]), (0.5, [0, 1, 2, 3]), (1, [0, 1, 2, 3]), (0, [4, 5]), (0.5, [4, 5]), (1, [4, 5])]
