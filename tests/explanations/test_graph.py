from __future__ import annotations

import pytest

from oracles import FOUR_TARGETS, random_posterior, residual
from relevance import explanations


def test_layers_of_branches_have_both_readings(images):
    posterior = random_posterior(residual(), n_samples=2)
    for name in ("0", "2.body.0", "2.body.3", "6"):
        down = explanations.lrp(posterior, images, FOUR_TARGETS, layer=name)
        at = explanations.lrp(posterior, images, FOUR_TARGETS, layer=name, reading="class", per_sample=True)
        assert down.shape == images.shape
        assert at.shape[:2] == (2, 4)
    with pytest.raises(ValueError, match=r"layer is '1'; it may be one of: 0, 2\.body\.0, 2\.body\.3, 6"):
        explanations.lrp(posterior, images, FOUR_TARGETS, layer=1)
    with pytest.raises(ValueError, match="reading is 'both'; it may be one of: activation, class"):
        explanations.lrp(posterior, images, FOUR_TARGETS, layer=0, reading="both")
