"""Statistics of scores: paired by image where the images are the same, and as the paper has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor

from relevance.base import checks

# p-values and their asterisks (Carbone et al., Table V); the first bound that holds counts.
ASTERISKS = ((1e-4, "****"), (1e-3, "***"), (1e-2, "**"), (5e-2, "*"))
Scores = Tensor | np.ndarray


class PairedDifference(NamedTuple):
    """Differences of two scores of the same images.

    Attributes:
        mean: of ``second - first``.
        low, high: 95 % bootstrap interval of the mean, over images.
        p_value: two-sided Wilcoxon signed-rank test of no shift.
        effect: matched-pairs rank-biserial correlation in [-1, 1]: positive where ``second`` is larger.
        n_images: number of pairs.
    """

    mean: float
    low: float
    high: float
    p_value: float
    effect: float
    n_images: int

    @property
    def direction(self) -> int:
        """1 if the whole interval lies above zero, -1 if it lies below, 0 if it holds zero."""
        return int(self.low > 0) - int(self.high < 0)


def paired_difference(first: Scores, second: Scores, seed: int = 0) -> PairedDifference:
    """Compare two scores of the same images, by how much ``second`` is larger than ``first``.

    Args:
        first: [N].
        second: [N], image by image.
        seed: of the bootstrap.
    """
    pair, seed = _scores(first, second, paired=True), checks.seed("seed", seed)
    difference = pair[1] - pair[0]
    if not difference.any():
        return PairedDifference(0.0, 0.0, 0.0, 1.0, 0.0, len(difference))
    resampled = _resampling(len(difference), seed) @ difference
    low, high = np.quantile(resampled, [0.025, 0.975])
    moved = difference[difference != 0]
    ranks = stats.rankdata(np.abs(moved))
    return PairedDifference(
        mean=float(difference.mean()),
        low=float(low),
        high=float(high),
        p_value=float(stats.wilcoxon(difference).pvalue),
        effect=float((np.sign(moved) * ranks).sum() / ranks.sum()),
        n_images=len(difference),
    )


class Interval(NamedTuple):
    """A number with its interval.

    Attributes:
        mean: the number; NaN where it is not defined.
        low, high: its 95 % interval.
    """

    mean: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """1 if the whole interval lies above zero, -1 if it lies below, 0 if it holds zero or is not defined."""
        return int(self.low > 0) - int(self.high < 0)


def scaled_difference(first: Sequence[Scores], second: Sequence[Scores], seed: int = 0) -> Interval:
    """Compare scores as shares of the room that each model leaves them between a floor and a ceiling.

    A model whose unrelated maps are alike has a high floor, above which little is left to win: neither the score nor its
    excess over the floor is fair to it. The scaled score is (mean score - mean floor) / (mean ceiling - mean floor), a ratio
    of means, since the room of a single image may be nothing.

    Args:
        first: score, floor and ceiling of the first model, each [N].
        second: of the second model, image by image.
        seed: of the bootstrap over images.

    Returns:
        The scaled score of ``second`` minus that of ``first``, with its bootstrap interval.
    """
    seed = checks.seed("seed", seed)
    for name, given in (("first", first), ("second", second)):
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 3:
            raise ValueError(f"{name} is {checks.shown(given)}; it must be three: score, floor and ceiling, each [N].")
    parts = [_scores(value, first[0], paired=True)[0] for value in (*first, *second)]

    def scaled(means: list[Any]) -> Any:
        score, floor, ceiling = means
        room = ceiling - floor
        return (score - floor) / np.where(room > 0, room, np.nan)

    def difference(means: list[Any]) -> Any:
        return scaled(means[3:]) - scaled(means[:3])

    mean = float(difference([part.mean() for part in parts]))
    resampled = difference(list((_resampling(len(parts[0]), seed) @ np.stack(parts, 1)).T))
    low, high = np.nanquantile(resampled, [0.025, 0.975]) if not math.isnan(mean) else (math.nan, math.nan)
    return Interval(mean, float(low), float(high))


@lru_cache(maxsize=4)
def _resampling(count: int, seed: int, n_resamples: int = 2000) -> np.ndarray:
    """Return how much each image weighs in each bootstrap sample, [n_resamples, count]: one product resamples many means."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(count, np.full(count, 1 / count), n_resamples) / count


class MannWhitney(NamedTuple):
    """Two groups of scores, compared as if they were of different images.

    Attributes:
        p_value: one-sided: of the hypothesis that ``first`` is stochastically lower than ``second``.
        effect: probability that a score of ``second`` is above one of ``first``, ties counted half, in [0, 1].
        asterisks: of the p-value, or ``"n.s."`` (Carbone et al., Table V).
    """

    p_value: float
    effect: float
    asterisks: str


def mann_whitney(first: Scores, second: Scores) -> MannWhitney:
    """Test whether ``first`` is stochastically lower than ``second``, as Carbone et al. do (Sec. VII-H).

    The test takes the scores for independent. Scores of the same images are not: :func:`paired_difference` is the test
    for those, and this one is here to print the paper's asterisks beside it.

    Args:
        first: [N], in the paper of the adversarially trained network.
        second: [M], in the paper of the Bayesian one.
    """
    pair = _scores(first, second, paired=False)
    result = stats.mannwhitneyu(pair[0], pair[1], alternative="less")
    p_value = float(result.pvalue)
    effect = 1 - float(result.statistic) / (len(pair[0]) * len(pair[1]))
    return MannWhitney(p_value, effect, asterisks(p_value))


def asterisks(p_value: float) -> str:
    """Return the notation of ``p_value``, in [0, 1], in Carbone et al., Table V: ``"n.s."`` to ``"****"``."""
    checks.number("p_value", p_value, at_least=0, at_most=1)
    return next((symbol for bound, symbol in ASTERISKS if p_value <= bound and p_value < 5e-2), "n.s.")


class Correlation(NamedTuple):
    """Spearman's rank correlation of two scores.

    Attributes:
        rho: in [-1, 1]; NaN where a score is the same for all images.
        low, high: 95 % interval.
        p_value: two-sided, of no correlation.
        n_images: number of pairs.
        reason: why rho is NaN; empty where it is not.
    """

    rho: float
    low: float
    high: float
    p_value: float
    n_images: int
    reason: str = ""


def spearman(first: Scores, second: Scores) -> Correlation:
    """Correlate the ranks of two scores of the same images.

    The interval is that of Fisher's z with the variance of Bonett and Wright 2000 (doi:10.1007/BF02294183),
    (1 + rho^2 / 2) / (N - 3).

    Args:
        first: [N], at least 4 images.
        second: [N], image by image.
    """
    pair = _scores(first, second, paired=True)
    count = len(pair[0])
    if count < 4:
        raise ValueError(f"there are {count} images; an interval of rho needs at least 4.")
    for name, scores in zip(("first", "second"), pair, strict=True):
        if (scores == scores[0]).all():
            nan = math.nan
            return Correlation(
                nan, nan, nan, nan, count, f"{name} is {scores[0]:g} for every image, which ranks nothing"
            )
    result: Any = stats.spearmanr(pair[0], pair[1])
    rho, p_value = float(result.statistic), float(result.pvalue)
    # A rho of 1 has no z; the interval then has no width.
    z = math.atanh(min(max(rho, -1 + 1e-15), 1 - 1e-15))
    width = stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    low, high = (rho, rho) if abs(rho) == 1 else (math.tanh(z - width), math.tanh(z + width))
    return Correlation(rho, low, high, p_value, count)


def _scores(first: Scores, second: Scores, *, paired: bool) -> list[np.ndarray]:
    """Return two scores as arrays, or say what they must be."""
    try:
        pair = [
            np.asarray(score.detach().cpu() if isinstance(score, Tensor) else score, dtype=np.float64)
            for score in (first, second)
        ]
    except (TypeError, ValueError, RuntimeError):
        kinds = " and ".join(type(score).__name__ for score in (first, second))
        raise ValueError(
            f"first and second are {kinds} of what are no numbers; they must both be scores [N]."
        ) from None
    shapes = [list(scores.shape) for scores in pair]
    if any(scores.ndim != 1 or len(scores) < 2 for scores in pair) or (paired and shapes[0] != shapes[1]):
        wanted = "[N], the scores of the same 2 or more images" if paired else "a score of each of 2 or more images"
        raise ValueError(f"first and second have the shapes {shapes[0]} and {shapes[1]}; they must both be {wanted}.")
    if not all(np.isfinite(scores).all() for scores in pair):
        raise ValueError("first and second have values that are NaN or infinite; scores must be numbers.")
    return pair


def median_interval(values: pd.Series, seed: int = 0) -> Interval:
    """Return the median over images with its 95 % bootstrap interval; images without a number are left out."""
    known = values.dropna().to_numpy(dtype=float)
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    resampled = np.median(np.random.default_rng(checks.seed("seed", seed)).choice(known, (2000, len(known))), axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(float(np.median(known)), float(low), float(high))


def share_interval(truths: pd.Series) -> Interval:
    """Return the share of true values with its 95 % interval (Wilson); NaN where there are no values."""
    if not len(truths):
        return Interval(math.nan, math.nan, math.nan)
    found = stats.binomtest(int(truths.sum()), len(truths)).proportion_ci(method="wilson")
    return Interval(float(truths.mean()), float(found.low), float(found.high))


def t_interval(values: Sequence[float] | np.ndarray | pd.Series) -> Interval:
    """Return the mean of a few numbers with its 95 % interval by Student's t; without width known, NaN, for one number."""
    numbers = np.asarray(values, dtype=np.float64)
    checks.count("the number of values", len(numbers))
    mean = float(numbers.mean())
    if len(numbers) == 1:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, len(numbers) - 1) * numbers.std(ddof=1) / math.sqrt(len(numbers)))
    return Interval(mean, mean - half, mean + half)
