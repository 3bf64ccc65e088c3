"""Which pixels of a map are on top, ties shared out."""

from __future__ import annotations

from torch import Tensor

from relevance.base import checks


def top_share(maps: Tensor, top_percent: float) -> Tensor:
    """Return by how much each pixel belongs to the ``top_percent`` most relevant ones of its map, in absolute value.

    Pixels above the threshold belong to it wholly (1), those below not at all (0). Pixels that tie at the threshold
    share the places that are left: the share is the probability of being chosen when ties are broken at random.

    Args:
        maps: [N, ...].
        top_percent: in (0, 100]; of P entries, max(1, round(P top_percent / 100)) places are given.

    Returns:
        [N, P] in [0, 1]; each row sums to the number of places.
    """
    percent = checks.number("top_percent", top_percent, above=0, at_most=100)
    strength = checks.maps("maps", maps).detach().flatten(1).abs()
    places = max(1, round(strength.shape[1] * percent / 100))
    threshold = strength.topk(places, dim=1).values[:, -1:]
    above = (strength > threshold).double()
    tied = (strength == threshold).double()
    left = places - above.sum(1, keepdim=True)
    return above + tied * left / tied.sum(1, keepdim=True)


def on_top(relevance: Tensor, top_percent: float) -> Tensor:
    """Return which pixels of a map [C, H, W] have an entry that is wholly among the most relevant ones: bool [H, W]."""
    return (top_share(relevance[None], top_percent)[0] == 1).reshape(relevance.shape).any(0)
