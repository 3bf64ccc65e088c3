"""How much an attack changed: overlap and similarity of maps, softmax robustness, and statistics of the scores."""

from relevance.robustness.overlap import lrp_robustness, on_top, softmax_robustness, top_share, unrelated_robustness
from relevance.robustness.similarity import (
    linear_similarity,
    map_scores,
    rank_similarity,
    relative_error,
    structural_similarity,
)
from relevance.robustness.statistics import (
    Correlation,
    Interval,
    MannWhitney,
    PairedDifference,
    asterisks,
    mann_whitney,
    paired_difference,
    scaled_difference,
    spearman,
)

__all__ = [
    "Correlation",
    "Interval",
    "MannWhitney",
    "PairedDifference",
    "asterisks",
    "linear_similarity",
    "lrp_robustness",
    "mann_whitney",
    "map_scores",
    "on_top",
    "paired_difference",
    "rank_similarity",
    "relative_error",
    "scaled_difference",
    "softmax_robustness",
    "spearman",
    "structural_similarity",
    "top_share",
    "unrelated_robustness",
]
