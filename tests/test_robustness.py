from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from oracles import MOST, errors_off
from relevance import robustness

whole_maps = st.lists(st.integers(-3, 3), min_size=8, max_size=8)


def as_map(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, 4)


def test_top_pixels_are_the_largest_in_absolute_value():
    maps = torch.tensor([[1.0, -5.0, 3.0, 0.0, 2.0], [0.0, 0.1, 0.2, -0.3, 0.4]])
    assert robustness.top_share(maps, 40).tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]


def test_tied_pixels_share_the_places_that_are_left():
    assert robustness.top_share(torch.tensor([[4.0, 1.0, -1.0, 1.0, 0.0]]), 40).tolist() == [
        pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0])
    ]


@given(whole_maps, st.floats(1, 100))
def test_shares_sum_to_the_number_of_places(values, percent):
    share = robustness.top_share(as_map(values), percent)
    assert share.sum().item() == pytest.approx(max(1, round(8 * percent / 100)))
    assert share.min() >= 0
    assert share.max() <= 1


def test_the_score_counts_common_pixels():
    before = torch.tensor([[9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0]])
    after = torch.tensor([[9.0, 0, 7, 1, 2, 3, -8, 4, 5, 6]])
    assert robustness.lrp_robustness(before, after, 30).tolist() == pytest.approx([2 / 3])
    assert robustness.lrp_robustness(before, -before.flip(1), 50).tolist() == [0]


def test_equal_maps_without_ties_score_one_in_any_shape():
    maps = torch.randn((4, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    assert robustness.lrp_robustness(maps, maps, 20).tolist() == [1] * 4
    assert robustness.lrp_robustness(maps, -3 * maps, 20).tolist() == [1] * 4  # neither sign nor scale counts


@settings(deadline=None)
@given(whole_maps, whole_maps, st.permutations(range(8)), st.sampled_from([10, 25, 50, 75, 100]))
def test_the_score_is_symmetric_and_blind_to_the_order_of_pixels(first, second, order, percent):
    before, after = as_map(first), as_map(second)
    score = robustness.lrp_robustness(before, after, percent)
    assert 0 <= score.item() <= 1
    assert robustness.lrp_robustness(after, before, percent).item() == pytest.approx(score.item())
    moved = [as_map([values[index] for index in order]) for values in (first, second)]
    assert robustness.lrp_robustness(*moved, percent).item() == pytest.approx(score.item())


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
    score = robustness.lrp_robustness(as_map(first), as_map(second), percent).item()
    assert score == pytest.approx(np.mean(drawn), abs=5 * np.std(drawn) / 3000**0.5 + 1e-9)


def test_a_common_support_alone_does_not_look_robust():
    """Unrelated maps on the same 64 of 784 pixels: choosing tied zeros by index would give them 0.91 and more."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.zeros(2, 50, 784)
    maps[:, :, 100:164] = torch.randn((2, 50, 64), generator=generator)
    score = robustness.lrp_robustness(maps[0], maps[1], 20)
    assert torch.allclose(score, torch.tensor((64 + 93 * 93 / 720) / 157, dtype=torch.float64))


@pytest.mark.stochastic
def test_unrelated_maps_without_ties_score_the_percentage():
    maps = torch.randn((2, 400, 100), generator=torch.Generator().manual_seed(0))
    assert errors_off(robustness.unrelated_robustness(maps[0], maps[1], 20), 0.2).abs() < MOST


def test_unrelated_pairs_are_never_of_one_image():
    maps = torch.eye(4)
    assert robustness.lrp_robustness(maps, maps, 25).tolist() == [1] * 4
    assert robustness.unrelated_robustness(maps, maps, 25).tolist() == [0] * 4
    assert robustness.unrelated_robustness(maps, maps.roll(-1, dims=0), 25).tolist() == [1] * 4  # the one before it


def test_softmax_robustness_is_one_minus_the_largest_change():
    before = torch.tensor([[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    after = torch.tensor([[0.4, 0.3, 0.3], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    assert robustness.softmax_robustness(before, after).tolist() == pytest.approx([0.7, 0, 1])


@pytest.mark.parametrize("percent", [0, -5, 100.1, float("nan"), "20", None])
def test_a_bad_percentage_gets_a_sentence(percent):
    maps = torch.randn(2, 10)
    with pytest.raises(ValueError, match="top_percent is .*; it must be a finite number above 0 and at most 100"):
        robustness.lrp_robustness(maps, maps, percent)


def test_bad_maps_get_a_sentence():
    with pytest.raises(ValueError, match=r"before and after are \[2, 10\] and \[2, 9\]"):
        robustness.lrp_robustness(torch.zeros(2, 10), torch.zeros(2, 9), 20)
    with pytest.raises(ValueError, match="NaN"):
        robustness.lrp_robustness(torch.full((1, 4), float("nan")), torch.zeros(1, 4), 20)
    with pytest.raises(ValueError, match="at least 2"):
        robustness.unrelated_robustness(torch.zeros(1, 4), torch.zeros(1, 4), 20)
    with pytest.raises(ValueError, match=r"shapes \[2, 3\] and \[2, 4\]"):
        robustness.softmax_robustness(torch.zeros(2, 3), torch.zeros(2, 4))


@pytest.mark.stochastic
def test_a_paired_difference_is_that_of_scipy():
    generator = np.random.default_rng(1)
    first = generator.random(80)
    second = first + 0.05 + 0.1 * generator.standard_normal(80)
    found = robustness.paired_difference(first, second)
    assert found.mean == pytest.approx(np.mean(second - first))
    assert found.p_value == pytest.approx(stats.wilcoxon(second, first).pvalue)
    interval = stats.bootstrap((second - first,), np.mean, method="percentile", n_resamples=9999, rng=generator)
    assert found.low == pytest.approx(interval.confidence_interval.low, abs=0.004)
    assert found.high == pytest.approx(interval.confidence_interval.high, abs=0.004)
    assert found.n_images == 80
    assert found.direction == 1
    assert robustness.paired_difference(second, first).direction == -1
    assert robustness.paired_difference(second, first).effect == pytest.approx(-found.effect)


def test_the_effect_is_the_rank_biserial_correlation():
    found = robustness.paired_difference(np.zeros(4), np.array([3.0, -1.0, 2.0, 0.0]))
    assert found.effect == pytest.approx((3 + 2 - 1) / 6)
    assert robustness.paired_difference(np.zeros(3), np.ones(3)).effect == 1


def test_no_difference_is_no_direction():
    scores = torch.rand(10)
    found = robustness.paired_difference(scores, scores)
    assert (found.mean, found.p_value, found.effect, found.direction) == (0, 1, 0, 0)
    with pytest.raises(ValueError, match="the same 2 or more images"):
        robustness.paired_difference(scores, scores[:5])


def test_scores_that_are_no_numbers_get_a_sentence():
    with pytest.raises(ValueError, match="NaN or infinite"):
        robustness.paired_difference(torch.tensor([0.1, float("nan")]), torch.tensor([0.1, 0.2]))


@pytest.mark.stochastic
def test_a_scaled_difference_is_that_of_scipy():
    generator = np.random.default_rng(2)
    floor, ceiling = 0.1 + 0.1 * generator.random(90), 1 - 0.05 * generator.random(90)
    score = floor + (ceiling - floor) * (0.4 + 0.1 * generator.standard_normal(90))
    # All of it moved up, with the room: nothing is won; then a fifth of the room is.
    high = (0.5 + score / 2, 0.5 + floor / 2, 0.5 + ceiling / 2)
    assert robustness.scaled_difference((score, floor, ceiling), high).mean == pytest.approx(0, abs=1e-12)
    second = (high[0] + 0.2 * (high[2] - high[1]), *high[1:])
    found = robustness.scaled_difference((score, floor, ceiling), second)
    assert found.mean == pytest.approx(0.2)

    def statistic(*parts, axis=-1):
        means = [part.mean(axis) for part in parts]
        return (means[3] - means[4]) / (means[5] - means[4]) - (means[0] - means[1]) / (means[2] - means[1])

    noisy = (second[0] + 0.05 * generator.standard_normal(90), *second[1:])
    found = robustness.scaled_difference((score, floor, ceiling), noisy)
    interval = stats.bootstrap(
        (score, floor, ceiling, *noisy), statistic, paired=True, method="percentile", n_resamples=4999, rng=generator
    )
    assert found.low == pytest.approx(interval.confidence_interval.low, abs=0.005)
    assert found.high == pytest.approx(interval.confidence_interval.high, abs=0.005)
    assert found.direction == 1


def test_without_room_there_is_no_scaled_score():
    parts = (np.array([0.2, 0.4]), np.ones(2), np.ones(2))
    found = robustness.scaled_difference(parts, parts)
    assert np.isnan(found.mean)
    assert found.direction == 0
    with pytest.raises(ValueError, match="each needs score, floor and ceiling"):
        robustness.scaled_difference(parts[:2], parts)
