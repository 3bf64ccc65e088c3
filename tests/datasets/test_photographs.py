"""Photographs of installed packages: which there are, their crops by another path, and what is said where one is missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from relevance.datasets import photographs

needs_all = pytest.mark.skipif(
    not photographs.are_installed(), reason="scikit-image, of the group photographs, is not installed"
)
HERE = ["palace", "flower"]  # of scikit-learn, which is always installed


def test_photographs_are_the_files_own_pixels():
    """At the side of the largest square nothing is resized."""
    images = photographs.photographs(HERE, (3, 427, 427), device="cpu")
    assert images.shape == (2, 3, 427, 427)
    assert images.dtype == torch.float32
    with Image.open(photographs._file("palace")) as image:
        pixels = np.asarray(image)
    # 640 pixels wide: 106.5 are left away on each side, which is between two pixels.
    both = (pixels[:, 106:533].astype(float) + pixels[:, 107:534]) / 2 / 255
    assert (images[0].permute(1, 2, 0).numpy() - both).__abs__().max() < 0.01


def test_crops_are_squares_of_their_places():
    """Each is what PIL cuts out, and the middle of the whole is the middle."""
    for crop, left, top in (("upper left", 0, 0), ("lower right", 640 - 320, 427 - 320)):
        images = photographs.photographs(["flower"], (3, 320, 320), crop=crop, device="cpu")
        with Image.open(photographs._file("flower")) as image:
            wanted = np.asarray(image.crop((left, top, left + 320, top + 320)))
        assert np.abs(images[0].permute(1, 2, 0).numpy() * 255 - wanted).max() <= 1e-3
    images, names = photographs.crops(HERE, (3, 32, 32), device="cpu")
    assert images.shape == (8, 3, 32, 32)
    assert names[:3] == ["palace, whole", "flower, whole", "palace, upper left"]
    assert torch.equal(images[:2], photographs.photographs(HERE, (3, 32, 32), device="cpu"))


@needs_all
def test_every_photograph_is_in_its_package_and_says_whose_it_is():
    images = photographs.photographs(device="cpu")
    assert images.shape == (len(photographs.PHOTOGRAPHS), 3, 224, 224)
    assert (images.flatten(1).std(1) > 0.05).all()
    assert all("CC" in one.credit or "public domain" in one.credit for one in photographs.PHOTOGRAPHS.values())


def test_what_cannot_be_had_is_said(monkeypatch):
    with pytest.raises(ValueError, match="names is 'dog'; "):
        photographs.photographs(["dog"])
    with pytest.raises(ValueError, match="names is 'cat'; it must be a list"):
        photographs.photographs("cat")
    with pytest.raises(ValueError, match="crop is 'half'; it may be one of: lower right, "):
        photographs.photographs(HERE, crop="half")
    with pytest.raises(ValueError, match="photographs must have 3 channels"):
        photographs.photographs(HERE, (1, 8, 8))
    monkeypatch.setattr(photographs, "_folder", lambda package: None)
    assert not photographs.are_installed()
    with pytest.raises(
        FileNotFoundError, match="'cat' comes with the package scikit-image, which is not installed"
    ) as caught:
        photographs.photographs(["cat"])
    assert len(str(caught.value)) <= 300
