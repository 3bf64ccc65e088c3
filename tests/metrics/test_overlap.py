from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracles import MOST, as_map, errors_off, whole_maps
from relevance import metrics


def test_the_score_counts_common_pixels():
    before = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
    after = torch.tensor([[9.0, 0, 7, 1, 2, 3, -8, 4, 5, 6]])
    assert metrics.lrp_robustness(before, after, 30).tolist() == pytest.approx([2 / 3])
    assert metrics.lrp_robustness(before, -before.flip(1), 50).tolist() == [0]


def test_equal_maps_without_ties_score_one_in_any_shape():
    maps = torch.randn((4, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    assert metrics.lrp_robustness(maps, maps, 20).tolist() == [1] * 4
    assert metrics.lrp_robustness(maps, -3 * maps, 20).tolist() == [1] * 4  # neither sign nor scale counts


@settings(deadline=None)
@given(whole_maps, whole_maps, st.permutations(range(8)), st.sampled_from([10, 25, 50, 75, 100]))
def test_the_score_is_symmetric_and_blind_to_the_order_of_pixels(first, second, order, percent):
    before, after = as_map(first), as_map(second)
    score = metrics.lrp_robustness(before, after, percent)
    assert 0 <= score.item() <= 1
    assert metrics.lrp_robustness(after, before, percent).item() == pytest.approx(score.item())
    moved = [as_map([values[index] for index in order]) for values in (first, second)]
    assert metrics.lrp_robustness(*moved, percent).item() == pytest.approx(score.item())


@settings(deadline=None, max_examples=25)
@given(whole_maps, whole_maps, st.sampled_from([25, 50, 75]))
@pytest.mark.stochastic
def test_the_score_is_the_mean_over_random_tie_breaks(first, second, percent):
    generator = np.random.default_rng(0)
    places = round(8 * percent / 100)
    drawn = []
    for _ in range(3000):
        tops = [set(np.lexsort((generator.random(8), -np.abs(values)))[:places]) for values in (first, second)]
        drawn.append(len(tops[0] & tops[1]) / places)
    score = metrics.lrp_robustness(as_map(first), as_map(second), percent).item()
    assert score == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 3000**0.5 + 1e-9)


def test_a_common_support_alone_does_not_look_robust():
    """Unrelated maps on the same 64 of 784 pixels: choosing tied zeros by index would give them 0.91 and more."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.zeros(2, 50, 784)
    maps[:, :, 100:164] = torch.randn((2, 50, 64), generator=generator)
    score = metrics.lrp_robustness(maps[0], maps[1], 20)
    assert torch.allclose(score, torch.tensor((64 + 93 * 93 / 720) / 157, dtype=torch.float64))


@pytest.mark.stochastic
def test_unrelated_maps_without_ties_score_the_percentage():
    maps = torch.randn((2, 400, 100), generator=torch.Generator().manual_seed(0))
    assert errors_off(metrics.unrelated_robustness(maps[0], maps[1], 20), 0.2).abs() < MOST


def test_unrelated_pairs_are_never_of_one_image():
    maps = torch.eye(4)
    assert metrics.lrp_robustness(maps, maps, 25).tolist() == [1] * 4
    assert metrics.unrelated_robustness(maps, maps, 25).tolist() == [0] * 4
    assert metrics.unrelated_robustness(maps, maps.roll(-1, dims=0), 25).tolist() == [1] * 4  # the one before it


def test_softmax_robustness_is_one_minus_the_largest_change():
    before = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    after = torch.tensor([[0.4, 0.3, 0.3], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    assert metrics.softmax_robustness(before, after).tolist() == pytest.approx([0.7, 0, 1])


@pytest.mark.parametrize("percent", [0, -5, 100.1, float("nan"), "20", None])
def test_a_bad_percentage_gets_a_sentence(percent):
    maps = torch.randn(2, 10)
    with pytest.raises(ValueError, match="top_percent is .*; it must be a finite number above 0 and at most 100"):
        metrics.lrp_robustness(maps, maps, percent)


def test_bad_maps_get_a_sentence():
    with pytest.raises(ValueError, match=r"before and after have the shapes \[2, 10\] and \[2, 9\]"):
        metrics.lrp_robustness(torch.zeros(2, 10), torch.zeros(2, 9), 20)
    with pytest.raises(ValueError, match="NaN"):
        metrics.lrp_robustness(torch.full((1, 4), float("nan")), torch.zeros(1, 4), 20)
    with pytest.raises(ValueError, match="at least 2"):
        metrics.unrelated_robustness(torch.zeros(1, 4), torch.zeros(1, 4), 20)
    with pytest.raises(ValueError, match=r"shapes \[2, 3\] and \[2, 4\]"):
        metrics.softmax_robustness(torch.eye(3)[:2], torch.eye(4)[:2])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_maps_with_values_that_are_no_numbers_are_named(value):
    maps = torch.rand(2, 1, 3, 3)
    odd = maps.clone()
    odd[1, 0, 0, 0] = value
    for score in (metrics.lrp_robustness, metrics.unrelated_robustness, metrics.map_scores):
        with pytest.raises(ValueError, match="after has values that are NaN or infinite"):
            score(maps, odd, 20)
    for score in (
        metrics.linear_similarity,
        metrics.rank_similarity,
        metrics.structural_similarity,
        metrics.relative_error,
    ):
        with pytest.raises(ValueError, match="before has values that are NaN or infinite"):
            score(odd, maps)


def test_arrays_of_one_shape_are_not_told_that_their_shapes_differ():
    maps = torch.rand(2, 9)
    with pytest.raises(ValueError, match=r"before is a ndarray; it must be a tensor of shape \[N, ...\]"):
        metrics.lrp_robustness(maps.numpy(), maps.numpy(), 20)


def test_logits_are_no_probabilities():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    with pytest.raises(ValueError, match="before has rows that are no probabilities"):
        metrics.softmax_robustness(logits, logits.softmax(1))
