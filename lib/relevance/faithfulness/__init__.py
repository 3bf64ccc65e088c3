"""Does a map say what the network does? Infidelity and deletion, since a constant map is steady and says nothing.

Both ask the network itself: take something away from the image, and see whether the prediction changes as the map says.
They judge a map by the posterior whose prediction it is to explain, wherever the map comes from: a map of a softened
network is judged by the network that is in use.
"""

from relevance.faithfulness.common import BASELINES
from relevance.faithfulness.deletion import MEASURES, SHARES, deletion, deletion_area, places
from relevance.faithfulness.infidelity import PERTURBATIONS, infidelity, random_squares
from relevance.faithfulness.tables import table

__all__ = [
    "BASELINES",
    "MEASURES",
    "PERTURBATIONS",
    "SHARES",
    "deletion",
    "deletion_area",
    "infidelity",
    "places",
    "random_squares",
    "table",
]
