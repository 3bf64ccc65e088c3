"""What there is to turn in a chapter: for each choice a figure, a text for those who cannot see it, and what was computed.

Each class has ``figure``, ``alt`` and ``reading``, as :func:`relevance.controls.turning` wants them.
"""

from relevance.turns.attacked import Look, of_study, sizes
from relevance.turns.manipulations import Defended, Manipulated
from relevance.turns.maps import WITH_PARAMETER, Holes, Ruled, Scatter, Trained

__all__ = [
    "WITH_PARAMETER",
    "Defended",
    "Holes",
    "Look",
    "Manipulated",
    "Ruled",
    "Scatter",
    "Trained",
    "of_study",
    "sizes",
]
