from __future__ import annotations

import torch

from relevance.attacks import manipulation


def test_noise_has_the_norm_of_the_manipulation_on_black_and_white():
    # Half of all noise leads out of the pixel range here, and is cut.
    images = torch.zeros(3, 1, 6, 6)
    images[:, :, :3] = 1
    found = images.clone()
    found[0, 0, 0, :2], found[1, 0, 4] = 0.5, 0.9
    control = manipulation.noised(images, found, seed=3)
    sizes = (found - images).flatten(1).norm(dim=1)
    assert torch.allclose((control - images).flatten(1).norm(dim=1), sizes, atol=1e-4)
    assert torch.equal(control[2], images[2])
    assert control.min() >= 0
    assert control.max() <= 1


def test_shares_have_a_mean_of_one_and_zeros_stay():
    maps = torch.tensor([[[[1.0, -3.0]], [[2.0, 0.0]]], [[[0.0, 0.0]], [[0.0, 0.0]]]])
    shown = manipulation.shares(lambda posterior, images, target: maps)(None, None, None)
    assert torch.allclose(shown[0], torch.tensor([[[1.0, 1.0]]]))
    assert not shown[1].any()
