"""What an explanation is worth: how steady it is, how alike two are, whether it says what the network does; statistics of scores.

Faithfulness asks the network itself: take something away from the image, and see whether the prediction changes as the map
says. A map is judged by the posterior whose prediction it is to explain, wherever it comes from: a map of a softened network is
judged by the network that is in use.
"""

from relevance.metrics.conservation import agreement, conservation, fidelity
from relevance.metrics.deletion import SHARES, deletion, deletion_area
from relevance.metrics.faithfulness import table
from relevance.metrics.infidelity import infidelity, random_squares
from relevance.metrics.overlap import lrp_robustness, softmax_robustness, unrelated_robustness
from relevance.metrics.similarity import (
    linear_similarity,
    map_scores,
    rank_similarity,
    relative_error,
    structural_similarity,
)
from relevance.metrics.statistics import (
    Correlation,
    CrossedDifference,
    Interval,
    MannWhitney,
    PairedDifference,
    asterisks,
    crossed_bootstrap,
    crossed_difference,
    crossed_mean,
    holm,
    mann_whitney,
    paired_difference,
    scaled_difference,
    spearman,
    standing,
)

__all__ = [
    "SHARES",
    "Correlation",
    "CrossedDifference",
    "Interval",
    "MannWhitney",
    "PairedDifference",
    "agreement",
    "asterisks",
    "conservation",
    "crossed_bootstrap",
    "crossed_difference",
    "crossed_mean",
    "deletion",
    "deletion_area",
    "fidelity",
    "holm",
    "infidelity",
    "linear_similarity",
    "lrp_robustness",
    "mann_whitney",
    "map_scores",
    "paired_difference",
    "random_squares",
    "rank_similarity",
    "relative_error",
    "scaled_difference",
    "softmax_robustness",
    "spearman",
    "standing",
    "structural_similarity",
    "table",
    "unrelated_robustness",
]
