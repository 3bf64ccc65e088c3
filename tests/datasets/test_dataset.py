from __future__ import annotations

import pytest
import torch


def test_balanced_test_gives_every_class_its_share(digits):
    images, labels = digits.balanced_test(500, seed=0)
    assert images.shape == (500, 1, 28, 28)
    assert torch.bincount(labels).tolist() == [50] * 10
    assert len(images.flatten(1).unique(dim=0)) == 500  # without replacement
    assert sorted(torch.bincount(digits.balanced_test(23)[1]).tolist()) == [2] * 7 + [3] * 3


def test_balanced_test_depends_on_the_seed_alone(digits):
    first, again, other = (digits.balanced_test(40, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    labels = digits.balanced_test(200, seed=0)[1]
    assert not torch.equal(labels, labels.sort().values)  # the order is random


def test_balanced_test_images_have_their_own_labels(digits):
    images, labels = digits.balanced_test(30, seed=3)
    for image, label in zip(images, labels, strict=True):
        same = (digits.test_images == image).flatten(1).all(1)
        assert label in digits.test_labels[same]


@pytest.mark.parametrize("n_images", [0, -1, 598, 2.5, True])
def test_balanced_test_refuses_what_it_cannot_give(digits, n_images):
    with pytest.raises(ValueError, match="n_images is .*; "):
        digits.balanced_test(n_images)


def test_balanced_test_says_how_many_there_can_be(digits):
    with pytest.raises(
        ValueError, match="n_images is 590; .* need 59 of class 8, which has 55, so it may be at most 550"
    ):
        digits.balanced_test(590)
    with pytest.raises(
        ValueError, match="n_images is 598; the data set has 597 test images, so it may be at most that"
    ):
        digits.balanced_test(598)


def test_smaller_is_balanced_and_said(digits):
    small = digits.smaller(100)
    assert torch.bincount(small.train_labels).tolist() == [10] * 10
    assert "a balanced subset of 100 training images" in small.source
    assert torch.equal(small.test_images, digits.test_images)
    assert digits.smaller(None) is digits
    assert digits.smaller(10_000) is digits
