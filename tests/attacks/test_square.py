from __future__ import annotations

import pytest
import torch

from oracles import louder
from relevance.attacks import objectives
from relevance.attacks.square import square
from relevance.base import balls

pytestmark = pytest.mark.stochastic


def test_squares_find_without_a_gradient_what_there_is(trained_ensemble):
    posterior, _, images, labels = trained_ensemble
    attacked = square(posterior, images, labels, 0.3, n_queries=150, progress=False)
    assert balls.sizes(attacked - images, "linf").max() <= 0.3 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert posterior.accuracy(attacked, labels) < posterior.accuracy(images, labels) - 0.3
    margins = [objectives.margin(posterior.logits(x), labels) for x in (images, attacked)]
    assert (margins[1] >= margins[0]).all()
    wrong = margins[0] > 0
    assert torch.equal(attacked[wrong], images[wrong])
    # No image's squares depend on the other images.
    again = square(posterior, images, labels, 0.3, n_queries=150, progress=False)
    assert torch.equal(again, attacked)
    # It does not look at gradients: that of a network whose logits are louder is the same attack.
    loud = square(louder(posterior, 30), images, labels, 0.3, n_queries=150, progress=False)
    assert (loud != images).flatten(1).any(1)[~wrong].all()


def test_a_square_shrinks_and_fits_the_image():
    from relevance.attacks.square import _side

    sides = [_side(0.8, done, 8, 8) for done in (0, 0.003, 0.03, 0.15, 0.5, 0.99)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] == 7
    assert sides[-1] == 1
    assert _side(1.0, 0, 3, 50) == 3
