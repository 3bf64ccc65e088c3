from __future__ import annotations

import pytest
from torch.nn import functional

pytestmark = pytest.mark.stochastic


def test_the_figure_has_a_row_for_each_map(halves):
    from relevance.pages import figures

    images = halves.test_images[:3]
    drawn = figures.generated_maps(images, {"one": images, "two": functional.relu(images - 0.5)})
    assert len([axis for axis in drawn.axes if axis.images]) == 9
    with pytest.raises(ValueError, match="'one' has 2 maps for 3 images"):
        figures.generated_maps(images, {"one": images[:2]})
