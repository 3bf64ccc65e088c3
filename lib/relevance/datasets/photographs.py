"""Photographs that installed packages bring along: nothing is downloaded, and every one may be passed on.

(scikit-image's and scikit-learn's. Their pages say whose they are: :data:`PHOTOGRAPHS` has it.)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from relevance.base import checks
from relevance.base.environment import chosen_device

IMAGE_SHAPE = (3, 224, 224)


class Photograph(NamedTuple):
    """Where a photograph is, and whose it is.

    Attributes:
        package: what is imported; ``distribution``: what is installed for it.
        file: in the package.
        credit: the photographer, and the licence.
    """

    package: str
    distribution: str
    file: str
    credit: str


PHOTOGRAPHS = {
    "cat": Photograph("skimage", "scikit-image", "data/chelsea.png", "Stefan van der Walt, CC0"),
    "coffee": Photograph("skimage", "scikit-image", "data/coffee.png", "Rachel Michetti, CC0"),
    "astronaut": Photograph("skimage", "scikit-image", "data/astronaut.png", "NASA, public domain"),
    "rocket": Photograph("skimage", "scikit-image", "data/rocket.jpg", "SpaceX, public domain"),
    "palace": Photograph("sklearn", "scikit-learn", "datasets/images/china.jpg", "danielbuechele, CC BY 2.0"),
    "flower": Photograph("sklearn", "scikit-learn", "datasets/images/flower.jpg", "vultilion, CC BY 2.0"),
}
# Squares of a photograph: side, as a share of the shorter side, and place, from 0 at the upper left to 1 at the lower right.
CROPS = {"whole": (1.0, 0.5), "upper left": (0.75, 0.0), "middle": (0.75, 0.5), "lower right": (0.75, 1.0)}


def photographs(
    names: Sequence[str] | None = None,
    image_shape: Sequence[int] = IMAGE_SHAPE,
    *,
    crop: str = "whole",
    device: torch.device | str | None = None,
) -> Tensor:
    """Return photographs at one size.

    Args:
        names: of :data:`PHOTOGRAPHS`; all of them if None.
        image_shape: (3, H, W); the crop, which is square, is resized to it (bilinear, antialiased).
        crop: of :data:`CROPS`: the largest square about the middle, or one of three quarters of its side.
        device: where the images are put; a CUDA GPU where there is one if not given.

    Returns:
        [N, 3, H, W], float32 in [0, 1].

    Raises:
        ValueError: a name, a shape or a crop is not what it may be.
        FileNotFoundError: the package of a photograph is not installed.
    """
    chosen = _names(names)
    channels, height, width = checks.image_shape("image_shape", image_shape)
    if channels != 3:
        raise ValueError(f"image_shape is {tuple(image_shape)}; photographs must have 3 channels.")
    share, place = CROPS[checks.one_of("crop", crop, CROPS)]
    arrays = []
    for name in chosen:
        with Image.open(_file(name)) as image:
            side = round(share * min(image.size))
            left, top = ((whole - side) * place for whole in image.size)
            part = image.convert("RGB").resize(
                (width, height), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
            )
        arrays.append(np.asarray(part))
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
    return images.to(torch.float32).div(255).contiguous().to(chosen_device(device))


def crops(
    names: Sequence[str] | None = None,
    image_shape: Sequence[int] = IMAGE_SHAPE,
    *,
    device: torch.device | str | None = None,
) -> tuple[Tensor, list[str]]:
    """Return every crop of every photograph: all photographs as a whole first, so that neighbours are of different ones.

    Args:
        names, image_shape, device: as for :func:`photographs`.

    Returns:
        Images [N, 3, H, W], and what each is: ``"cat, whole"``.

    Raises:
        ValueError, FileNotFoundError: as for :func:`photographs`.
    """
    chosen = _names(names)
    images = [photographs(chosen, image_shape, crop=crop, device=device) for crop in CROPS]
    return torch.cat(images), [f"{name}, {crop}" for crop in CROPS for name in chosen]


def are_installed() -> bool:
    """Return whether the packages of all photographs are installed."""
    return all(_folder(one.package) is not None for one in PHOTOGRAPHS.values())


def _names(names: Sequence[str] | None) -> list[str]:
    if names is not None and (isinstance(names, str) or not isinstance(names, Sequence) or not names):
        raise ValueError(f"names is {checks.shown(names)}; it must be a list of names of photographs, or None.")
    return [checks.one_of("names", name, PHOTOGRAPHS) for name in names or PHOTOGRAPHS]


def _folder(package: str) -> Path | None:
    """Return where a package is; it is not imported."""
    found = importlib.util.find_spec(package)
    return Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else None


def _file(name: str) -> Path:
    one = PHOTOGRAPHS[name]
    if (folder := _folder(one.package)) is None:
        raise FileNotFoundError(
            f"The photograph {name!r} comes with the package {one.distribution}, which is not installed: it is in the group "
            "photographs of this project's dependencies."
        )
    return folder / one.file
