from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oracles import as_map, whole_maps
from relevance import explanations


def test_top_pixels_are_the_largest_in_absolute_value():
    maps = torch.tensor([[1.0, -5.0, 3.0, 0.0, 2.0], [0.0, 0.1, 0.2, -0.3, 0.4]])
    assert explanations.top_share(maps, 40).tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]


def test_tied_pixels_share_the_places_that_are_left():
    assert explanations.top_share(torch.tensor([[4.0, 1.0, -1.0, 1.0, 0.0]]), 40).tolist() == [
        pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 0])
    ]


@given(whole_maps, st.floats(1, 100))
def test_shares_sum_to_the_number_of_places(values, percent):
    share = explanations.top_share(as_map(values), percent)
    assert share.sum().item() == pytest.approx(max(1, round(8 * percent / 100)))
    assert share.min() >= 0
    assert share.max() <= 1
