"""Statistics of scores: crossed over runs and images, paired by image where there is one run, and as the paper has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats
from scipy.optimize import brentq
from torch import Tensor

from relevance.base import checks

# p-values and their asterisks (Carbone et al., Table V); the first bound that holds counts.
ASTERISKS = ((1e-4, "****"), (1e-3, "***"), (1e-2, "**"), (5e-2, "*"))
Scores = Tensor | np.ndarray
# What a difference may be and still be as good as none, in the score's own units; and how often a verdict may be wrong.
MARGIN, LEVEL = 0.02, 0.05
# No p-value is told apart below this, and a rank correlation no further from 1 and -1 has no z.
LEAST = 1e-15
WITHIN = (LEAST - 1, 1 - LEAST)
HIGHER, EQUIVALENT, LOWER, UNDECIDED = STANDINGS = ("higher", "equivalent", "lower", "undecided")


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
    moved = difference[difference != 0]
    ranks = stats.rankdata(np.abs(moved))
    return PairedDifference(
        *_over_images(difference, seed),
        p_value=float(stats.wilcoxon(difference).pvalue),
        effect=float((np.sign(moved) * ranks).sum() / ranks.sum()),
        n_images=len(difference),
    )


def _over_images(values: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Return the mean of values [N] with its 95 % bootstrap interval."""
    low, high = np.quantile(_resampling(len(values), seed) @ values, [LEVEL / 2, 1 - LEVEL / 2])
    return float(values.mean()), float(low), float(high)


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
    of means, since the room of a single image may be nothing. Its interval is that of the ratio's linear part (delta method).

    Args:
        first: score, floor and ceiling of the first model, each [N], or each [R, N] of 2 or more runs.
        second: of the second model, image by image; of runs too if those of the first are.
        seed: of the bootstrap over images, where there are no runs.

    Returns:
        The scaled score of ``second`` minus that of ``first``, with the interval of :func:`paired_difference` or of
        :func:`crossed_difference`; NaN where a ceiling is not above its floor.
    """
    seed = checks.seed("seed", seed)
    for name, given in (("first", first), ("second", second)):
        if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 3:
            raise ValueError(f"{name} is {checks.shown(given)}; it must be three: score, floor and ceiling, each [N].")
    if all(getattr(part, "ndim", 1) == 2 for part in (*first, *second)):
        values = [[_runs(name, part) for part in given] for name, given in (("first", first), ("second", second))]
        _same_images(*values[0], *values[1])
    else:
        values = [[_scores(part, first[0], paired=True)[0] for part in given] for given in (first, second)]
    shares = [_shares_of_room(*parts) for parts in values]
    if any(np.isnan(share).any() for share in shares):
        return Interval(math.nan, math.nan, math.nan)
    if shares[0].ndim == 2:
        found = crossed_difference(shares[0], shares[1])
        return Interval(found.mean, found.low, found.high)
    return Interval(*_over_images(shares[1] - shares[0], seed))


def _shares_of_room(score: np.ndarray, floor: np.ndarray, ceiling: np.ndarray) -> np.ndarray:
    """Return numbers whose mean is the scaled score, and whose spread is that of its linear part; NaN if there is no room."""
    won, room = score - floor, ceiling - floor
    if not room.mean() > 0:
        return np.full_like(score, np.nan)
    share = won.mean() / room.mean()
    return np.asarray(share + (won - share * room) / room.mean())


class CrossedDifference(NamedTuple):
    """A mean over runs and images, or a difference of two, with what would change in other runs and on other images.

    Attributes:
        mean: of ``second - first``, or of the one score.
        low, high: 95 % t interval.
        p_value: two-sided, of no difference from zero; not told apart below 1e-15.
        n_runs: number of runs, of each model.
        n_images: number of images, which all runs share.
        run_share: share of the mean's variance that is due to runs, in [0, 1].
    """

    mean: float
    low: float
    high: float
    p_value: float
    n_runs: tuple[int, ...]
    n_images: int
    run_share: float

    @property
    def direction(self) -> int:
        """1 if the whole interval lies above zero, -1 if it lies below, 0 if it holds zero."""
        return int(self.low > 0) - int(self.high < 0)


def crossed_difference(first: Scores, second: Scores) -> CrossedDifference:
    """Compare two models by all their runs on the same images, by how much ``second`` is larger than ``first``.

    Runs and images are both random, and each run meets each image: a score is a mean, plus the run's part, plus the image's,
    plus a rest. Runs of two models are independent, and the images are the same. The variance of the difference is
    s_run1^2 / R1 + s_run2^2 / R2 + s_d^2 / N, with s_d^2 of the differences of the two means by image, which holds the
    rests: by the mean squares of a two-way analysis of variance (Searle, Casella and McCulloch 1992, *Variance Components*,
    chapter 4). Where the runs' part of it, of both models together, comes out negative, it counts as zero.

    The ends are those of a t interval whose quantile is the mean of two, weighed by their parts of the variance (Cochran 1964,
    *Biometrics* 20, 191-195): that of N - 1 degrees for images, and for runs that of the degrees of Satterthwaite (1946,
    *Biometrics Bulletin* 2, 110-114), R - 1 to R1 + R2 - 2. In simulations with 3 and 5 runs its 95 % intervals hold the truth in
    94 to 97 % of all cases. With R - 1 degrees for the whole it would be 97 to 99 % where images make most of the spread, and
    with Satterthwaite's for the whole as few as 92 % where the three runs of one model do. Of 2 runs it can be 91 %.

    Args:
        first: [R1, N]: of 2 or more runs of the first model.
        second: [R2, N]: of the second model; image by image.

    Raises:
        ValueError: a model has one run, of which nothing can be said about others, or the images are not the same.
    """
    pair = [_runs("first", first), _runs("second", second)]
    _same_images(*pair)
    return _crossed(pair[1].mean() - pair[0].mean(), pair[1].mean(0) - pair[0].mean(0), pair)


def crossed_mean(scores: Scores) -> CrossedDifference:
    """Return the mean over runs and images, with its interval and its difference from zero, as :func:`crossed_difference`.

    Of a model's score, or of what differs within its own runs, such as its score under an attack minus that under noise.

    Args:
        scores: [R, N]: of 2 or more runs on the same images.
    """
    runs = _runs("scores", scores)
    return _crossed(runs.mean(), runs.mean(0), [runs])


def _crossed(mean: float, by_image: np.ndarray, models: Sequence[np.ndarray]) -> CrossedDifference:
    """Return the interval of a mean [] of numbers by image [N], of models whose runs [R, N] differ."""
    count = by_image.size
    of_images = by_image.var(ddof=1) / count
    between = np.array([scores.mean(1).var(ddof=1) / len(scores) for scores in models])
    sizes = [len(scores) for scores in models]
    of_runs = max(between.sum() - sum(map(_rest, models)), 0.0)
    error = math.sqrt(of_images + of_runs)
    made_of: dict[str, Any] = {"n_runs": tuple(sizes), "n_images": count}
    if error == 0:
        return CrossedDifference(float(mean), float(mean), float(mean), float(mean == 0), **made_of, run_share=0.0)
    share = of_runs / error**2
    degrees = between.sum() ** 2 / (between**2 / np.subtract(sizes, 1)).sum() if of_runs else 1.0
    quantile, p_value = _of_two_parts(abs(mean) / error, share, degrees, count - 1)
    ends = float(mean - quantile * error), float(mean + quantile * error)
    return CrossedDifference(float(mean), *ends, p_value, **made_of, run_share=float(share))


def _of_two_parts(off: float, share: float, *degrees: float) -> tuple[float, float]:
    """Return the t quantile of an error of two parts, and the p-value of what is off by so many errors (Cochran 1964).

    Args:
        off: in standard errors, at least 0.
        share: the first part's of the variance, in [0, 1].
        degrees: of freedom, of both parts.
    """

    def quantile(tails: float) -> float:
        first, second = (-special.stdtrit(number, tails / 2) for number in degrees)
        return float(share * first + (1 - share) * second)

    # The level at which the interval would end at zero.
    least = math.log(LEAST)
    found = least if quantile(LEAST) < off else brentq(lambda level: quantile(math.exp(level)) - off, least, 0)
    return quantile(LEVEL), math.exp(found)


def _rest(scores: np.ndarray) -> float:
    """Return how much of the variance between means of runs, over their number, is the rest's: of scores [R, N]."""
    n_runs, count = scores.shape
    left = scores - scores.mean(0) - scores.mean(1, keepdims=True) + scores.mean()
    return float((left**2).sum() / ((n_runs - 1) * (count - 1)) / count / n_runs)


def crossed_bootstrap(first: Scores, second: Scores, seed: int = 0, n_resamples: int = 2000) -> Interval:
    """Return what :func:`crossed_difference` does, by drawing runs of each model, and images, apart: a check of it.

    This is the bootstrap of Owen (2007, doi:10.1214/07-AOAS122). Of R runs it sees (R - 1) / R of their variance, and its
    ends are quantiles and not Student's: of few runs its interval is too narrow, and of the rest it counts three times what
    there is. So the two agree where runs are many.

    Args:
        first: [R1, N].
        second: [R2, N], image by image.
        seed: of the draws.
        n_resamples: number of draws.
    """
    pair = [_runs("first", first), _runs("second", second)]
    _same_images(*pair)
    generator = np.random.default_rng(checks.seed("seed", seed))
    n_resamples = checks.count("n_resamples", n_resamples)
    images = _weights(generator, pair[0].shape[1], n_resamples)
    drawn = [((_weights(generator, len(runs), n_resamples) @ runs) * images).sum(1) for runs in pair]
    low, high = np.quantile(drawn[1] - drawn[0], [LEVEL / 2, 1 - LEVEL / 2])
    return Interval(float(pair[1].mean() - pair[0].mean()), float(low), float(high))


def _weights(generator: np.random.Generator, count: int, n_resamples: int) -> np.ndarray:
    """Return how much each of ``count`` weighs in each bootstrap sample, [n_resamples, count]."""
    return generator.multinomial(count, np.full(count, 1 / count), n_resamples) / count


def standing(low: float, high: float, margin: float = MARGIN) -> str:
    """Say what an interval decides: ``"higher"``, ``"equivalent"``, ``"lower"`` or ``"undecided"``.

    It is *equivalent* if the whole interval lies within the margin, also where it leaves out zero: such a difference is
    there, and too small to count. It is *higher* or *lower* if the interval leaves out zero and reaches beyond the margin, and
    *undecided* otherwise, or if it is NaN.

    Args:
        low, high: ends of the interval, in the score's units.
        margin: up to which a difference is as good as none, above 0.
    """
    margin = checks.number("margin", margin, above=0)
    for name, end in (("low", low), ("high", high)):
        if isinstance(end, bool) or not isinstance(end, (int, float, np.floating, np.integer)):
            raise ValueError(f"{name} is {checks.shown(end)}; it must be a number, the end of an interval.")
    if np.isnan(low) or np.isnan(high):
        return UNDECIDED
    if low > high:
        raise ValueError(f"low is {low:g} and high is {high:g}; low must not be above high.")
    if -margin <= low and high <= margin:
        return EQUIVALENT
    return HIGHER if low > 0 else LOWER if high < 0 else UNDECIDED


def holm(p_values: Sequence[float] | np.ndarray | pd.Series) -> np.ndarray:
    """Return the p-values of one family, adjusted so that a false one among them is as rare as in a single test.

    Holm (1979, *Scandinavian Journal of Statistics* 6, 65-70): the k-th smallest of m times m - k + 1, none below a smaller
    one's, none above 1. It asks nothing of how the tests depend on each other.

    Args:
        p_values: [M], each in [0, 1].

    Returns:
        [M], in the order given.
    """
    try:
        given = np.asarray(p_values, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"p_values is {checks.shown(p_values)}; it must be numbers in [0, 1].") from None
    if given.ndim != 1 or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"p_values is {checks.shown(p_values)}; it must be a list of numbers in [0, 1].")
    order = np.argsort(given, kind="stable")
    adjusted = np.empty_like(given)
    adjusted[order] = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)).clip(max=1)
    return adjusted


@lru_cache(maxsize=4)
def _resampling(count: int, seed: int, n_resamples: int = 2000) -> np.ndarray:
    """Return how much each image weighs in each bootstrap sample, [n_resamples, count]: one product resamples many means."""
    return _weights(np.random.default_rng(seed), count, n_resamples)


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
    (1 + rho^2 / 2) / (N - 3). Of runs it is that of their mean z, whose variance is this one and that between runs, over their
    number: a little too wide, since part of what is between runs is of images too.

    Args:
        first: [N], at least 4 images, or [R, N] of 2 or more runs.
        second: of the same shape, image by image.
    """
    if any(getattr(scores, "ndim", 1) != 2 for scores in (first, second)):
        return _spearman(*_scores(first, second, paired=True))
    runs = _runs("first", first), _runs("second", second)
    _same_images(*runs)
    if len(runs[0]) != len(runs[1]):
        raise ValueError(f"first has {len(runs[0])} runs and second {len(runs[1])}; they must be of the same runs.")
    found = [_spearman(*pair) for pair in zip(*runs, strict=True)]
    z = np.arctanh(np.array([one.rho for one in found]).clip(*WITHIN))
    count, mean = found[0].n_images, float(z.mean())
    if math.isnan(mean):
        return next(one for one in found if one.reason)
    of_images, of_runs = (1 + math.tanh(mean) ** 2 / 2) / (count - 3), z.var(ddof=1) / len(z)
    error = math.sqrt(of_images + of_runs)
    quantile, p_value = _of_two_parts(abs(mean) / error, of_runs / error**2, len(z) - 1, count - 1)
    rho, low, high = (math.tanh(mean + side * quantile * error) for side in (0, -1, 1))
    return Correlation(rho, low, high, p_value, count)


def _spearman(first: np.ndarray, second: np.ndarray) -> Correlation:
    count = len(first)
    if count < 4:
        raise ValueError(f"there are {count} images; an interval of rho needs at least 4.")
    for name, scores in (("first", first), ("second", second)):
        if (scores == scores[0]).all():
            nan = math.nan
            return Correlation(
                nan, nan, nan, nan, count, f"{name} is {scores[0]:g} for every image, which ranks nothing"
            )
    result: Any = stats.spearmanr(first, second)
    rho, p_value = float(result.statistic), float(result.pvalue)
    z = math.atanh(min(max(rho, WITHIN[0]), WITHIN[1]))
    width = stats.norm.ppf(0.975) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    # The interval of a rho of 1 has no width.
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


def _runs(name: str, value: Scores) -> np.ndarray:
    """Return scores of runs on images as an array [R, N], or say what they must be."""
    try:
        runs = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {checks.shown(value)}; it must be scores [R, N], of runs on images.") from None
    if runs.ndim != 2 or runs.shape[1] < 2:
        raise ValueError(f"{name} has the shape {list(runs.shape)}; it must be [R, N], of runs on 2 or more images.")
    if len(runs) < 2:
        raise ValueError(
            f"{name} has {len(runs)} run; of one training nothing can be said about others, so it must have 2 or more."
        )
    if not np.isfinite(runs).all():
        raise ValueError(f"{name} has values that are NaN or infinite; scores must be numbers.")
    return runs


def _same_images(*runs: np.ndarray) -> None:
    counts = [scores.shape[1] for scores in runs]
    if len(set(counts)) > 1:
        raise ValueError(
            f"first and second are of {min(counts)} and {max(counts)} images; they must be of the same images."
        )


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
