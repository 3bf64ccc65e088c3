"""What a generator's maps are worth: how well they align, how they fare under attack, and whether they look at the classifier.

Next to each number stand those of the controls: a map that is the same for every image, and one for each class.
"""

from relevance.generated.measures import alignment_with, deletion_curves, randomised, sanity, speed, steadiness
from relevance.generated.setting import (
    ALONE,
    DECODED,
    GENERATED,
    MEAN,
    OF_CLASS,
    OTHER,
    RANDOM,
    ROBUST,
    STANDARD,
    Setting,
)
from relevance.generated.tables import curves_of, layers_of, tables, times_of
from relevance.generated.told import aligned, deleted, faster, means, sane, steady

__all__ = [
    "ALONE",
    "DECODED",
    "GENERATED",
    "MEAN",
    "OF_CLASS",
    "OTHER",
    "RANDOM",
    "ROBUST",
    "STANDARD",
    "Setting",
    "aligned",
    "alignment_with",
    "curves_of",
    "deleted",
    "deletion_curves",
    "faster",
    "layers_of",
    "means",
    "randomised",
    "sane",
    "sanity",
    "speed",
    "steadiness",
    "steady",
    "tables",
    "times_of",
]
