from __future__ import annotations

import pytest
import torch

from oracles import normalised_convolutional
from relevance import explanations, inference

pytestmark = pytest.mark.stochastic


def test_members_of_an_ensemble_keep_their_own_statistics_of_batch_norm(tiny_data, tmp_path):
    ensemble = inference.deep_ensemble(
        normalised_convolutional(), tiny_data, n_samples=2, epochs=3, seed=4, progress=False
    )
    images = tiny_data.test_images[:5]
    for index, one in enumerate(ensemble):
        alone = inference.sgd(normalised_convolutional(), tiny_data, epochs=3, seed=4 + index, progress=False)
        assert torch.allclose(one.logits(images), alone.logits(images), atol=1e-5)
        labels = tiny_data.test_labels[:5]
        assert torch.allclose(explanations.lrp(one, images, labels), explanations.lrp(alone, images, labels), atol=1e-5)
    ensemble.save(tmp_path / "ensemble.safetensors")
    loaded = type(ensemble).load(tmp_path / "ensemble.safetensors", normalised_convolutional())
    assert torch.equal(loaded.logits(images), ensemble.logits(images))
