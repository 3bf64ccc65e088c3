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


def test_the_interval_of_a_mean_rho_over_runs_holds_the_truth_at_least_as_often():
    """Runs have parts of their own in both scores of an image, and the images are the same."""
    generator = np.random.default_rng(10)
    shared, own = 0.8, 0.6
    covariance = 0.6 * shared**2
    truth = 6 / math.pi * math.asin(covariance / (shared**2 + own**2) / 2)
    inside, n_cases = 0, 500
    for _ in range(n_cases):
        x = generator.normal(size=100)
        y = 0.6 * x + 0.8 * generator.normal(size=100)
        scores = [shared * one + own * generator.normal(size=(4, 100)) for one in (x, y)]
        found = metrics.spearman(*scores)
        inside += found.low <= truth <= found.high
    # 95 %, less 4.5 standard errors of 1 %; more than that is allowed.
    assert inside / n_cases > 0.95 - MOST * 0.01
    rhos = [stats.spearmanr(*pair).statistic for pair in zip(*scores, strict=True)]
    assert found.rho == pytest.approx(math.tanh(np.arctanh(rhos).mean()))
    assert found.n_images == 100
    with pytest.raises(ValueError, match="first has 4 runs and second 3; they must be of the same runs"):
        metrics.spearman(scores[0], scores[1][:3])
    flat = np.where(np.arange(4)[:, None] == 2, 0.5, scores[0])
    assert metrics.spearman(flat, scores[1]).reason == "first is 0.5 for every image, which ranks nothing"


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


# Standard deviations of the parts of a score: of runs of the two models, of images in their difference, of the rest.
PARTS = {
    "all": ((0.005, 0.005), 0.05, 0.03),
    "runs": ((0.05, 0.05), 0.05, 0.03),
    "one model's runs": ((0.02, 0.0), 0.05, 0.03),
    "images": ((0.001, 0.001), 0.2, 0.03),
    "no runs": ((0.0, 0.0), 0.05, 0.03),
}


def crossed_scores(generator, n_runs, n_images, parts, shift=0.0):
    """Scores of two models, whose runs differ, on images that both share."""
    of_runs, of_images, rest = parts
    common = 0.5 + 0.1 * generator.standard_normal(n_images)
    own = of_images * generator.standard_normal(n_images)
    given = zip(n_runs, of_runs, (common, common + own + shift), strict=True)
    return [
        by_image + spread * generator.standard_normal((count, 1)) + rest * generator.standard_normal((count, n_images))
        for count, spread, by_image in given
    ]


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("n_images", [100, 200])
@pytest.mark.parametrize("n_runs", [(3, 3), (5, 5), (3, 5)], ids=str)
def test_a_crossed_interval_holds_the_truth_as_often_as_it_says(n_runs, n_images, parts):
    generator = np.random.default_rng(0)
    n_cases = 2000
    inside = 0
    for _ in range(n_cases):
        found = statistics.crossed_difference(*crossed_scores(generator, n_runs, n_images, parts))
        inside += found.low <= 0 <= found.high
    # The standard error of the share is 0.5 %.
    assert 0.93 <= inside / n_cases <= 0.97


@pytest.mark.parametrize("n_runs", [3, 5])
@pytest.mark.parametrize(("run", "image"), [(0.02, 0.05), (0.005, 0.1), (0.05, 0.05)])
def test_the_interval_of_one_model_s_mean_does_too(n_runs, run, image):
    generator = np.random.default_rng(1)
    n_cases = 2000
    inside = 0
    for _ in range(n_cases):
        scores = (
            run * generator.standard_normal((n_runs, 1))
            + image * generator.standard_normal(150)
            + 0.03 * generator.standard_normal((n_runs, 150))
        )
        found = statistics.crossed_mean(scores)
        inside += found.low <= 0 <= found.high
    assert 0.93 <= inside / n_cases <= 0.97


def test_a_difference_of_three_hundredths_is_found_and_none_is_called_so():
    generator = np.random.default_rng(2)
    found = {0.03: [], 0.0: []}
    for shift, standings in found.items():
        for _ in range(500):
            one = statistics.crossed_difference(*crossed_scores(generator, (5, 5), 200, PARTS["all"], shift))
            standings.append(statistics.standing(one.low, one.high))
    # The error is 0.005, a sixth of the difference, and half of the interval is a little more than half of the margin.
    assert found[0.03].count(statistics.HIGHER) >= 475
    assert found[0.0].count(statistics.EQUIVALENT) >= 450
    assert found[0.0].count(statistics.HIGHER) + found[0.0].count(statistics.LOWER) <= 25


def test_the_variance_is_that_of_the_mean_squares():
    """Anew, by sums of squares of a two-way table, for scores whose components are all positive."""
    first, second = crossed_scores(np.random.default_rng(3), (4, 6), 50, ((0.05, 0.04), 0.1, 0.02))
    found = statistics.crossed_difference(first, second)
    of_runs, squares, freedom = 0.0, [], []
    for scores in (first, second):
        runs, images = scores.shape
        total = ((scores - scores.mean()) ** 2).sum()
        rows = images * ((scores.mean(1) - scores.mean()) ** 2).sum()
        columns = runs * ((scores.mean(0) - scores.mean()) ** 2).sum()
        rest = (total - rows - columns) / ((runs - 1) * (images - 1))
        of_runs += (rows / (runs - 1) - rest) / images / runs
        squares.append(rows / (runs - 1) / images / runs)
        freedom.append(runs - 1)
    of_images = (second.mean(0) - first.mean(0)).var(ddof=1) / 50
    degrees = sum(squares) ** 2 / sum(square**2 / number for square, number in zip(squares, freedom, strict=True))
    share = of_runs / (of_runs + of_images)
    error = math.sqrt(of_runs + of_images)

    def half(tail):
        return error * (share * stats.t.ppf(tail, degrees) + (1 - share) * stats.t.ppf(tail, 49))

    assert found.mean == pytest.approx(second.mean() - first.mean())
    assert (found.low, found.high) == pytest.approx((found.mean - half(0.975), found.mean + half(0.975)))
    assert half(1 - found.p_value / 2) == pytest.approx(abs(found.mean))
    assert found.run_share == pytest.approx(share)
    assert (found.n_runs, found.n_images) == ((4, 6), 50)


def test_where_runs_do_not_differ_images_are_left_with_the_t_test_of_pairs():
    generator = np.random.default_rng(4)
    first, second = (np.tile(generator.random(60), (count, 1)) for count in (3, 5))
    found = statistics.crossed_difference(first, second)
    wanted = stats.ttest_rel(second[0], first[0])
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found[1:3] == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.run_share == 0
    assert statistics.crossed_mean(second - 0.5).p_value == pytest.approx(stats.ttest_1samp(second[0], 0.5).pvalue)


def test_where_images_do_not_differ_runs_are_left_with_welch_s_test():
    generator = np.random.default_rng(5)
    first, second = (np.tile(generator.random((count, 1)), (1, 60)) for count in (3, 5))
    found = statistics.crossed_difference(first, second)
    wanted = stats.ttest_ind(second[:, 0], first[:, 0], equal_var=False)
    assert found.p_value == pytest.approx(wanted.pvalue)
    assert found[1:3] == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.run_share == pytest.approx(1)


def test_scores_that_are_all_the_same_leave_no_doubt():
    found = statistics.crossed_difference(np.full((3, 9), 0.5), np.full((2, 9), 0.75))
    assert found[:4] == (0.25, 0.25, 0.25, 0)
    assert (found.direction, found.run_share) == (1, 0)
    assert statistics.crossed_mean(np.zeros((2, 9)))[:4] == (0, 0, 0, 1)


def test_the_bootstrap_that_draws_runs_and_images_apart_agrees():
    first, second = crossed_scores(np.random.default_rng(6), (30, 30), 200, ((0.02, 0.02), 0.1, 0.03), 0.05)
    found = statistics.crossed_difference(first, second)
    drawn = statistics.crossed_bootstrap(first, second)
    assert drawn.mean == pytest.approx(found.mean)
    # Of 30 runs it sees 29 / 30 of the variance; a quantile of 2,000 draws has an error of 1.4 % of the spread by 2.3.
    assert drawn.high - drawn.low == pytest.approx(found.high - found.low, rel=0.08)
    assert statistics.crossed_bootstrap(first, second) == drawn


def test_of_few_runs_the_bootstrap_is_too_narrow_by_what_it_says():
    first, second = crossed_scores(np.random.default_rng(7), (3, 3), 400, ((0.05, 0.05), 0.0, 0.0))
    drawn = statistics.crossed_bootstrap(first, second, n_resamples=5000)
    found = statistics.crossed_difference(first, second)
    squares = np.array([scores.mean(1).var(ddof=1) for scores in (first, second)])
    degrees = squares.sum() ** 2 / (squares**2 / 2).sum()
    wanted = (found.high - found.low) / stats.t.ppf(0.975, degrees) * math.sqrt(2 / 3) * stats.norm.ppf(0.975)
    # Three runs have few means to draw: the quantiles are those of a coarse distribution.
    assert drawn.high - drawn.low == pytest.approx(wanted, rel=0.15)


def test_a_scaled_difference_of_runs_is_crossed_too():
    generator = np.random.default_rng(8)
    first, second = crossed_scores(generator, (5, 5), 200, PARTS["all"], 0.1)
    floor, ceiling = np.full_like(first, 0.2), np.ones_like(first)
    found = metrics.scaled_difference((first, floor, ceiling), (second, floor, ceiling))
    plain = metrics.crossed_difference(first, second)
    assert found == pytest.approx(tuple(value / 0.8 for value in plain[:3]))
    assert math.isnan(metrics.scaled_difference((first, ceiling, floor), (second, floor, ceiling)).mean)
    with pytest.raises(ValueError, match="first and second are of 100 and 200 images"):
        metrics.scaled_difference((first, floor, ceiling), (second[:, :100], floor[:, :100], ceiling[:, :100]))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.001, 0.03, "higher"),
        (0.03, 0.05, "higher"),
        (-0.05, -0.001, "lower"),
        (-0.02, 0.02, "equivalent"),
        (0.001, 0.019, "equivalent"),
        (-0.021, 0.01, "undecided"),
        (-0.3, 0.3, "undecided"),
        (0.0, 0.03, "undecided"),
        (math.nan, math.nan, "undecided"),
        (0.1, math.nan, "undecided"),
        (math.nan, -0.1, "undecided"),
    ],
)
def test_an_interval_decides_or_does_not(low, high, wanted):
    assert statistics.standing(low, high) == wanted
    assert statistics.standing(low / 2, high / 2, margin=0.01) == wanted


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.6]).tolist() == [1, 1]
    assert statistics.holm([]).tolist() == []


def test_holm_keeps_false_ones_among_a_family_rare():
    tests = stats.norm.sf(np.abs(np.random.default_rng(9).standard_normal((2000, 12)))) * 2
    families = [(statistics.holm(family) < 0.05).any() for family in tests]
    # 1 - 0.95 of independent tests that are all true, within 4.5 standard errors of 0.5 %.
    assert abs(np.mean(families) - (1 - (1 - 0.05 / 12) ** 12)) < MOST * 0.005
    assert (tests.min(1) < 0.05).mean() > 0.4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.crossed_difference(torch.rand(1, 9), torch.rand(3, 9)), "first has 1 run; of one training nothing"),
        (lambda: metrics.crossed_difference(torch.rand(3, 9), torch.rand(3, 8)), "first and second are of 8 and 9 images"),
        (lambda: metrics.crossed_mean(torch.rand(9)), r"scores has the shape \[9\]; it must be \[R, N\]"),
        (lambda: metrics.holm([0.5, 1.5]), r"p_values is \[0.5, 1.5\]; it must be a list of numbers in \[0, 1\]"),
        (lambda: metrics.standing(0.2, 0.1), "low is 0.2 and high is 0.1; low must not be above high"),
    ],
)  # fmt: skip
def test_bad_runs_get_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
