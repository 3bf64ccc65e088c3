"""Similarity of maps and statistics of scores, against scipy, loops and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from relevance import metrics

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
    found = metrics.rank_similarity(*maps)
    for index, (first, second) in enumerate(zip(*maps, strict=True)):
        assert found[index].item() == pytest.approx(stats.spearmanr(first.flatten(), second.flatten()).statistic)
    assert found[0] == 1
    assert metrics.rank_similarity(maps[0], -maps[0])[1].item() == pytest.approx(-1)


def test_structural_similarity_is_the_published_formula(maps):
    """Window by window, with reflected edges, in loops."""
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    for first, second, found in zip(*maps, metrics.structural_similarity(*maps), strict=True):
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
    assert metrics.structural_similarity(maps[0], maps[0]).tolist() == pytest.approx([1] * 5)


def test_the_relative_error_of_scaled_maps_is_known(maps):
    before, _ = maps
    assert metrics.relative_error(before, before).tolist() == [0] * 5
    assert metrics.relative_error(before, 3 * before).tolist() == pytest.approx([4] * 5, rel=1e-5)
    assert metrics.relative_error(before, torch.zeros_like(before)).tolist() == pytest.approx([1] * 5)


def test_a_score_that_means_nothing_is_nan_with_a_reason(maps):
    before, after = (x.clone() for x in maps)
    before[1], after[2] = 0, 0.5
    found = metrics.map_scores(before, after, 20)
    assert found["reason"].tolist() == [
        "", "the clean map is 0 everywhere, which ranks nothing", "the attacked map is 0.5 everywhere, which ranks nothing",
        "", "",
    ]  # fmt: skip
    scores = found[["lrp_robustness", "rank", "structure", "error"]]
    assert scores.iloc[[1, 2]].isna().all(axis=None)
    assert scores.iloc[[0, 3, 4]].notna().all(axis=None)
    assert found["lrp_robustness"][3] == metrics.lrp_robustness(before, after, 20)[3].item()
    assert torch.isnan(metrics.rank_similarity(before, after)).tolist() == [False, True, True, False, False]


def test_no_maps_have_no_scores():
    none = torch.zeros(0, 1, 4, 4)
    for score in (
        metrics.linear_similarity,
        metrics.rank_similarity,
        metrics.structural_similarity,
        metrics.relative_error,
    ):
        assert score(none, none).shape == (0,)
    assert len(metrics.map_scores(none, none, 20)) == 0
