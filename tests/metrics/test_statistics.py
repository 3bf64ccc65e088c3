from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from oracles import MOST
from relevance import metrics
from relevance.metrics import statistics

pytestmark = pytest.mark.stochastic


@pytest.mark.stochastic
def test_a_paired_difference_is_that_of_scipy():
    generator = np.random.default_rng(1)
    first = generator.random(80)
    second = first + 0.05 + 0.1 * generator.standard_normal(80)
    found = metrics.paired_difference(first, second)
    assert found.mean == pytest.approx(np.mean(second - first))
    assert found.p_value == pytest.approx(stats.wilcoxon(second, first).pvalue)
    interval = stats.bootstrap((second - first,), np.mean, method="percentile", n_resamples=9999, rng=generator)
    assert found.low == pytest.approx(interval.confidence_interval.low, abs=0.004)
    assert found.high == pytest.approx(interval.confidence_interval.high, abs=0.004)
    assert found.n_images == 80
    assert found.direction == 1
    assert metrics.paired_difference(second, first).direction == -1
    assert metrics.paired_difference(second, first).effect == pytest.approx(-found.effect)


def test_the_effect_is_the_rank_biserial_correlation():
    found = metrics.paired_difference(np.zeros(4), np.array([3.0, -1.0, 2.0, 0.0]))
    assert found.effect == pytest.approx((3 + 2 - 1) / 6)
    assert metrics.paired_difference(np.zeros(3), np.ones(3)).effect == 1


def test_no_difference_is_no_direction():
    scores = torch.rand(10)
    found = metrics.paired_difference(scores, scores)
    assert (found.mean, found.p_value, found.effect, found.direction) == (0, 1, 0, 0)
    with pytest.raises(ValueError, match="the same 2 or more images"):
        metrics.paired_difference(scores, scores[:5])


def test_scores_that_are_no_numbers_get_a_sentence():
    with pytest.raises(ValueError, match="NaN or infinite"):
        metrics.paired_difference(torch.tensor([0.1, float("nan")]), torch.tensor([0.1, 0.2]))


@pytest.mark.stochastic
def test_a_scaled_difference_is_that_of_scipy():
    generator = np.random.default_rng(2)
    floor, ceiling = 0.1 + 0.1 * generator.random(90), 1 - 0.05 * generator.random(90)
    score = floor + (ceiling - floor) * (0.4 + 0.1 * generator.standard_normal(90))
    # All of it moved up, with the room: nothing is won; then a fifth of the room is.
    high = (0.5 + score / 2, 0.5 + floor / 2, 0.5 + ceiling / 2)
    assert metrics.scaled_difference((score, floor, ceiling), high).mean == pytest.approx(0, abs=1e-12)
    second = (high[0] + 0.2 * (high[2] - high[1]), *high[1:])
    found = metrics.scaled_difference((score, floor, ceiling), second)
    assert found.mean == pytest.approx(0.2)

    def statistic(*parts, axis=-1):
        means = [part.mean(axis) for part in parts]
        return (means[3] - means[4]) / (means[5] - means[4]) - (means[0] - means[1]) / (means[2] - means[1])

    noisy = (second[0] + 0.05 * generator.standard_normal(90), *second[1:])
    found = metrics.scaled_difference((score, floor, ceiling), noisy)
    interval = stats.bootstrap(
        (score, floor, ceiling, *noisy), statistic, paired=True, method="percentile", n_resamples=4999, rng=generator
    )
    assert found.low == pytest.approx(interval.confidence_interval.low, abs=0.005)
    assert found.high == pytest.approx(interval.confidence_interval.high, abs=0.005)
    assert found.direction == 1


def test_without_room_there_is_no_scaled_score():
    parts = (np.array([0.2, 0.4]), np.ones(2), np.ones(2))
    found = metrics.scaled_difference(parts, parts)
    assert np.isnan(found.mean)
    assert found.direction == 0
    with pytest.raises(ValueError, match="it must be three: score, floor and ceiling"):
        metrics.scaled_difference(parts[:2], parts)


def test_mann_whitney_counts_pairs_and_prints_the_papers_asterisks():
    first, second = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.5, 0.6, 0.7])
    found = metrics.mann_whitney(first, second)
    wins = np.mean([(b > a) + 0.5 * (b == a) for a in first for b in second])
    assert found.effect == pytest.approx(wins)
    assert found.p_value == stats.mannwhitneyu(first, second, alternative="less").pvalue
    assert found.asterisks == "n.s." if found.p_value > 0.05 else "*"
    far = metrics.mann_whitney(torch.linspace(0, 1, 50), torch.linspace(2, 3, 60))
    assert far.effect == 1
    assert far.asterisks == "****"
    assert metrics.mann_whitney(torch.linspace(2, 3, 60), torch.linspace(0, 1, 50)).asterisks == "n.s."
    table = {0.2: "n.s.", 0.05: "n.s.", 0.049: "*", 0.01: "**", 0.0099: "**", 0.0005: "***", 0.0001: "****"}
    assert {p: metrics.asterisks(p) for p in table} == table


def test_spearmans_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    pearson = 0.6
    truth = 6 / math.pi * math.asin(pearson / 2)  # of a bivariate normal
    inside = 0
    for _ in range(400):
        x = generator.normal(size=60)
        y = pearson * x + math.sqrt(1 - pearson**2) * generator.normal(size=60)
        found = metrics.spearman(x, y)
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        inside += found.low <= truth <= found.high
    assert 0.92 <= inside / 400 <= 0.98
    perfect = metrics.spearman(x, x**3)
    assert perfect[:3] == (1, 1, 1)


def test_a_correlation_that_means_nothing_is_nan_with_a_reason():
    found = metrics.spearman(np.ones(5), np.arange(5))
    assert math.isnan(found.rho)
    assert found.reason == "first is 1 for every image, which ranks nothing"
    assert metrics.spearman(np.arange(5), [1, 5, 2, 4, 3]).reason == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.spearman([1, 2, 3], [1, 2, 3]), "there are 3 images; an interval of rho needs at least 4"),
        (lambda: metrics.spearman([1, 2, 3, 4], [1, 2, 3]), r"first and second have the shapes \[4\] and \[3\]"),
        (lambda: metrics.mann_whitney([1, math.nan], [1, 2]), "values that are NaN or infinite"),
        (lambda: metrics.mann_whitney([1], [1, 2]), "they must both be a score of each of 2 or more images"),
        (lambda: metrics.structural_similarity(torch.ones(2, 3), torch.ones(2, 3)), "structure needs maps of shape"),
        (lambda: metrics.rank_similarity(torch.ones(2, 3), torch.ones(2, 4)), "they must have the same shape"),
    ],
)
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_paper_s_test_and_the_paired_one_can_disagree():
    """A shift that every image shows, in scores that differ far more from image to image."""
    generator = np.random.default_rng(1)
    first = generator.uniform(size=50)
    second = first + 0.01
    assert statistics.mann_whitney(first, second).asterisks == "n.s."
    assert statistics.paired_difference(first, second).p_value < 1e-6


@pytest.mark.parametrize("n_values", [1, 2, 30])
def test_a_median_of_what_is_all_the_same_has_no_width(n_values):
    assert statistics.median_interval(pd.Series([0.3] * n_values)) == (0.3, 0.3, 0.3)
    assert statistics.median_interval(pd.Series([0.3, math.nan] * n_values)) == (0.3, 0.3, 0.3)


def test_the_median_s_interval_is_that_of_all_resamples():
    # Of two values, a resample has the median 0, 1/2 or 1, a quarter, half and a quarter of the time.
    assert statistics.median_interval(pd.Series([1.0, 0.0])) == (0.5, 0, 1)
    # Of eleven, the median is at most the k-th with the probability that six or more of eleven draws are.
    values = pd.Series(np.arange(1.0, 12)).sample(frac=1, random_state=0)
    below = stats.binom.sf(5, 11, np.arange(1, 12) / 11)
    found = statistics.median_interval(values)
    # No probability is so near to 2.5 or 97.5 % that the draws decide.
    assert np.abs(np.subtract.outer(below, [0.025, 0.975])).min() > MOST * math.sqrt(0.025 * 0.975 / 2000)
    assert found == (6, 1 + (below < 0.025).sum(), 1 + (below < 0.975).sum())
    assert statistics.median_interval(values, seed=1) == found


def test_a_median_interval_is_that_of_scipy():
    generator = np.random.default_rng(3)
    values = generator.normal(size=101)
    found = statistics.median_interval(pd.Series([*values, math.nan]))
    interval = stats.bootstrap((values,), np.median, method="percentile", n_resamples=4999, rng=generator)
    assert found.mean == np.median(values)
    assert found.low == pytest.approx(interval.confidence_interval.low, abs=0.1)
    assert found.high == pytest.approx(interval.confidence_interval.high, abs=0.1)
    assert found == statistics.median_interval(pd.Series(values))


@pytest.mark.parametrize(("n_true", "total"), [(0, 1), (1, 1), (0, 12), (5, 12), (12, 12), (300, 1000)])
def test_the_interval_of_a_share_is_wilson_s(n_true, total):
    truths = pd.Series([True] * n_true + [False] * (total - n_true))
    found = statistics.share_interval(truths)
    z, share = stats.norm.ppf(0.975), n_true / total
    # Where (share - p)^2 = z^2 p (1 - p) / n: the roots of a square.
    roots = np.sort(np.roots([1 + z**2 / total, -(2 * share + z**2 / total), share**2]))
    assert found.mean == pytest.approx(share)
    assert found[1:] == pytest.approx(tuple(roots), abs=1e-7)
    other = statistics.share_interval(~truths)
    assert (other.low, other.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-12)
    assert (found.low == 0) == (n_true == 0)


@pytest.mark.parametrize("interval", [statistics.median_interval, statistics.share_interval])
@pytest.mark.parametrize("kind", [bool, float])
def test_of_no_values_there_is_no_interval(interval, kind):
    found = interval(pd.Series([], dtype=kind))
    assert all(math.isnan(value) for value in found)
    assert found.direction == 0


def test_of_images_without_a_number_there_is_no_median():
    assert all(math.isnan(value) for value in statistics.median_interval(pd.Series([math.nan, math.nan])))
