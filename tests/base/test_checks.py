from __future__ import annotations

import pytest
import torch


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 1, 5, 5), r"images has shape \[2, 1, 5, 5\]; it must have shape \[N, 1, 4, 4\]"),
        (torch.rand(1, 4, 4), r"images has shape \[1, 4, 4\]"),
        (torch.full((2, 1, 4, 4), 1.5), r"images has values from 1.5 to 1.5; they must lie in \[0, 1\]"),
        (torch.full((2, 1, 4, 4), -0.1), r"images has values from -0.1"),
        (torch.full((2, 1, 4, 4), float("nan")), "images has values that are NaN or infinite"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.int64), "images is a tensor of torch.int64"),
        ([[0.0]], "images is a list"),
    ],
)
def test_bad_images_get_a_sentence(dense_posterior, images, message):
    with pytest.raises(ValueError, match=message):
        dense_posterior.predict(images)
