from __future__ import annotations

import pytest
import torch

from relevance.base import chunks


@pytest.mark.parametrize("n_values", [1, 300, 800])
def test_logits_do_not_depend_on_how_samples_and_images_are_cut(dense_posterior, some_images, monkeypatch, n_values):
    """A row has 63 values: one image at a time, two halves of three, and two samples of six images."""
    whole = dense_posterior.logits(some_images)
    monkeypatch.setitem(chunks.VALUES_AT_ONCE, "cpu", n_values)
    wanted = {1: (1, 1), 300: (3, 1), 800: (6, 2)}[n_values]
    assert chunks.at_once(dense_posterior.network, dense_posterior.samples, some_images) == wanted
    assert torch.allclose(dense_posterior.logits(some_images), whole, atol=1e-12)
