"""Similarity of maps and statistics of scores, against scipy, loops and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from relevance import robustness
from relevance.robustness import statistics

pytestmark = pytest.mark.stochastic


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    before = torch.randn((5, 2, 9, 8), generator=generator)
    after = before + torch.tensor([0, 0.1, 1, 10, -2]).reshape(5, 1, 1, 1) * torch.randn(
        before.shape, generator=generator
    )
    return before.round(decimals=1), after.round(decimals=1)


def test_rank_similarity_is_spearmans_correlation(maps):
    found = robustness.rank_similarity(*maps)
    for index, (first, second) in enumerate(zip(*maps, strict=True)):
        assert found[index].item() == pytest.approx(stats.spearmanr(first.flatten(), second.flatten()).statistic)
    assert found[0] == 1
    assert robustness.rank_similarity(maps[0], -maps[0])[1].item() == pytest.approx(-1)


def test_structural_similarity_is_the_published_formula(maps):
    """Window by window, with reflected edges, in loops."""
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    for first, second, found in zip(*maps, robustness.structural_similarity(*maps), strict=True):
        a, b = first.double().numpy(), second.double().numpy()
        span = max(a.max(), b.max()) - min(a.min(), b.min())
        scores = []
        for channel in range(2):
            x, y = (np.pad(values[channel], 5, mode="symmetric") for values in (a, b))
            for row in range(9):
                for column in range(8):
                    p, q = (values[row : row + 11, column : column + 11] for values in (x, y))
                    mean_p, mean_q = (kernel * p).sum(), (kernel * q).sum()
                    var_p, var_q = ((kernel * (v - m) ** 2).sum() for v, m in ((p, mean_p), (q, mean_q)))
                    cov = (kernel * (p - mean_p) * (q - mean_q)).sum()
                    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
                    scores.append(
                        (2 * mean_p * mean_q + c1) * (2 * cov + c2)
                        / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
                    )  # fmt: skip
        assert found.item() == pytest.approx(np.mean(scores), abs=1e-9)
    assert robustness.structural_similarity(maps[0], maps[0]).tolist() == pytest.approx([1] * 5)


def test_the_relative_error_of_scaled_maps_is_known(maps):
    before, _ = maps
    assert robustness.relative_error(before, before).tolist() == [0] * 5
    assert robustness.relative_error(before, 3 * before).tolist() == pytest.approx([4] * 5, rel=1e-5)
    assert robustness.relative_error(before, torch.zeros_like(before)).tolist() == pytest.approx([1] * 5)


def test_a_score_that_means_nothing_is_nan_with_a_reason(maps):
    before, after = (x.clone() for x in maps)
    before[1], after[2] = 0, 0.5
    found = robustness.map_scores(before, after, 20)
    assert found["reason"].tolist() == [
        "", "the clean map is 0 everywhere, which ranks nothing", "the attacked map is 0.5 everywhere, which ranks nothing",
        "", "",
    ]  # fmt: skip
    scores = found[["lrp_robustness", "rank", "structure", "error"]]
    assert scores.iloc[[1, 2]].isna().all(axis=None)
    assert scores.iloc[[0, 3, 4]].notna().all(axis=None)
    assert found["lrp_robustness"][3] == robustness.lrp_robustness(before, after, 20)[3].item()
    assert torch.isnan(robustness.rank_similarity(before, after)).tolist() == [False, True, True, False, False]


def test_mann_whitney_counts_pairs_and_prints_the_papers_asterisks():
    first, second = np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.5, 0.6, 0.7])
    found = robustness.mann_whitney(first, second)
    wins = np.mean([(b > a) + 0.5 * (b == a) for a in first for b in second])
    assert found.effect == pytest.approx(wins)
    assert found.p_value == stats.mannwhitneyu(first, second, alternative="less").pvalue
    assert found.asterisks == "n.s." if found.p_value > 0.05 else "*"
    far = robustness.mann_whitney(torch.linspace(0, 1, 50), torch.linspace(2, 3, 60))
    assert far.effect == 1
    assert far.asterisks == "****"
    assert robustness.mann_whitney(torch.linspace(2, 3, 60), torch.linspace(0, 1, 50)).asterisks == "n.s."
    table = {0.2: "n.s.", 0.05: "n.s.", 0.049: "*", 0.01: "**", 0.0099: "**", 0.0005: "***", 0.0001: "****"}
    assert {p: robustness.asterisks(p) for p in table} == table


def test_spearmans_interval_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    pearson = 0.6
    truth = 6 / math.pi * math.asin(pearson / 2)  # of a bivariate normal
    inside = 0
    for _ in range(400):
        x = generator.normal(size=60)
        y = pearson * x + math.sqrt(1 - pearson**2) * generator.normal(size=60)
        found = robustness.spearman(x, y)
        assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
        inside += found.low <= truth <= found.high
    assert 0.92 <= inside / 400 <= 0.98
    perfect = robustness.spearman(x, x**3)
    assert perfect[:3] == (1, 1, 1)


def test_a_correlation_that_means_nothing_is_nan_with_a_reason():
    found = robustness.spearman(np.ones(5), np.arange(5))
    assert math.isnan(found.rho)
    assert found.reason == "first is 1 for every image, which ranks nothing"
    assert robustness.spearman(np.arange(5), [1, 5, 2, 4, 3]).reason == ""


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: robustness.spearman([1, 2, 3], [1, 2, 3]), "there are 3 images; an interval of rho needs at least 4"),
        (lambda: robustness.spearman([1, 2, 3, 4], [1, 2, 3]), r"first and second have the shapes \[4\] and \[3\]"),
        (lambda: robustness.mann_whitney([1, math.nan], [1, 2]), "values that are NaN or infinite"),
        (lambda: robustness.mann_whitney([1], [1, 2]), "they must both be a score of each of 2 or more images"),
        (lambda: robustness.structural_similarity(torch.ones(2, 3), torch.ones(2, 3)), "structure needs maps of shape"),
        (lambda: robustness.rank_similarity(torch.ones(2, 3), torch.ones(2, 4)), "they must have the same shape"),
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
