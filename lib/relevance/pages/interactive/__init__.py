"""What a reader can turn, in a kernel and without one: pictures, the playground, a pad to draw on.

For each choice there is a figure, a text for those who cannot see it, and what was computed: classes of choices have ``figure``,
``alt`` and ``reading``, as :func:`relevance.pages.interactive.turning` wants them.
"""

from relevance.pages.interactive.attacked import Look, of_study, sizes
from relevance.pages.interactive.manipulated import Defended, Manipulated
from relevance.pages.interactive.maps import Drawn, Holes, Ruled, Scatter, Trained
from relevance.pages.interactive.pad import canvas
from relevance.pages.interactive.playground import playground
from relevance.pages.interactive.preset import preset_link
from relevance.pages.interactive.turning import turning

__all__ = [
    "Defended",
    "Drawn",
    "Holes",
    "Look",
    "Manipulated",
    "Ruled",
    "Scatter",
    "Trained",
    "canvas",
    "of_study",
    "playground",
    "preset_link",
    "sizes",
    "turning",
]
