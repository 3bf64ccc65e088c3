"""Images from a folder, or an archive, with one folder a class."""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from relevance.base import checks

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
TEST_EVERY = 5
# A bomb is an image of more pixels than PIL takes for one.
UNREADABLE = (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError)


class Parts(NamedTuple):
    """The two halves of a data set, as :class:`dataset.Dataset` holds them."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    note: str


def read_folder(folder: Path) -> Parts:
    """Read ``folder/{train,test}/<class>/<image>`` or ``folder/<class>/<image>``.

    Raises:
        ValueError: there are no such images, or they differ in size, or one cannot be read.
    """
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        train, test, note = _by_class(folder / "train"), _by_class(folder / "test"), ""
    else:
        every = _by_class(folder)
        test = {label: files[TEST_EVERY - 1 :: TEST_EVERY] for label, files in every.items()}
        train = {
            label: [file for i, file in enumerate(files) if (i + 1) % TEST_EVERY] for label, files in every.items()
        }
        note = f"every {TEST_EVERY}th image of each class is for testing"
    return _assemble(folder, train, test, note)


def read_archive(archive: Path) -> Parts:
    """Read a tar archive whose members are ``.../{train,test}/<class>/<image>``, without unpacking it on disk."""
    parts: dict[str, dict[str, list[Any]]] = {"train": defaultdict(list), "test": defaultdict(list)}
    with tarfile.open(archive) as tar:
        for member in tar:  # in the archive's order: going back and forth in a compressed file is slow
            place = PurePosixPath(member.name).parts
            if member.isfile() and len(place) >= 3 and place[-3] in parts:
                stream = tar.extractfile(member)
                if stream is not None:
                    parts[place[-3]][place[-2]].append((member.name, _pixels(stream, member.name)))
    train, test = (
        {label: [array for _, array in sorted(named, key=lambda pair: pair[0])] for label, named in part.items()}
        for part in parts.values()
    )
    return _assemble(archive, train, test, "")


def _by_class(folder: Path) -> dict[str, list[Any]]:
    return {
        place.name: files
        for place in sorted(folder.iterdir())
        if place.is_dir()
        and not place.name.startswith(".")
        and (files := sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES))
    }


def _pixels(source: Path | IO[bytes], name: str) -> np.ndarray:
    try:
        with Image.open(source) as image:
            _refuse_deep(image, name)
            return np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB"))
    except UNREADABLE as error:
        raise ValueError(f"The image {name} cannot be read ({error}); replace it or take it away.") from None


def _assemble(place: Path, train: Mapping[str, Sequence[Any]], test: Mapping[str, Sequence[Any]], note: str) -> Parts:
    classes = tuple(sorted(train))
    if not classes:
        raise ValueError(
            f"{place} has no folders with images in it; it must hold a folder of images for each class, or train/ and "
            "test/ with such folders."
        )
    if len(classes) < 2 or set(test) != set(train):
        raise ValueError(
            f"{place} holds the class folders {list(classes)} to train and {sorted(test)} to test; it must hold "
            "the same two or more class folders of images in train/ and test/, or class folders alone."
        )
    for label in classes:
        for part, files in (("train", train[label]), ("test", test[label])):
            if not files:
                raise ValueError(
                    f"{place} has no images of class {label} to {part}; without train/ and test/, each class folder must "
                    f"have at least {TEST_EVERY} images."
                )
    (train_images, train_labels), (test_images, test_labels) = (_stack(place, classes, part) for part in (train, test))
    if {train_images.shape[1], test_images.shape[1]} == {1, 3}:  # one half is grey throughout
        train_images, test_images = (
            images.expand(-1, 3, -1, -1).contiguous() for images in (train_images, test_images)
        )
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"{place} has training images of shape {list(train_images.shape[1:])} and test images of shape "
            f"{list(test_images.shape[1:])}; all images must have one size."
        )
    return Parts(train_images, train_labels, test_images, test_labels, classes, note)


def _stack(place: Path, classes: tuple[str, ...], part: Mapping[str, Sequence[Any]]) -> tuple[Tensor, Tensor]:
    arrays: list[np.ndarray] = []
    labels: list[int] = []
    for index, label in enumerate(classes):
        for item in part[label]:
            arrays.append(item if isinstance(item, np.ndarray) else _pixels(item, str(item)))
            labels.append(index)
    if any(array.ndim == 3 for array in arrays):
        arrays = [array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=-1) for array in arrays]
    sizes = {array.shape for array in arrays}
    if len(sizes) != 1:
        shown = sorted(f"{size[1]}x{size[0]}" for size in sizes)
        raise ValueError(f"{place} has images of the sizes {', '.join(shown[:5])}; all images must have one size.")
    images = torch.from_numpy(np.stack(arrays))
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.to(torch.float32).div(255).contiguous(), torch.tensor(labels, dtype=torch.int64)


def read_images(folder: Path, image_shape: tuple[int, int, int], kept: float = 1.0) -> tuple[Tensor, list[str]]:
    """Read all images below a folder, of whatever sizes, cropped about their centres and resized to one.

    Args:
        folder: the folder; what is hidden in it is passed over.
        image_shape: (C, H, W) that is wanted, with 1 (grey) or 3 channels.
        kept: share of the sides of the largest crop of this shape that is kept, in (0, 1].

    Returns:
        Images [N, C, H, W], float32 in [0, 1], and their places below the folder, by which they are sorted.

    Raises:
        ValueError: a shape or a share is not what it may be, there is no such folder, it holds no image, or one cannot be read.
    """
    channels, height, width = checks.image_shape("image_shape", image_shape)
    if channels not in {1, 3}:
        raise ValueError(f"image_shape is {image_shape}; images have 1 or 3 channels.")
    checks.number("kept", kept, above=0, at_most=1)
    if not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, which is no folder; it must be one that holds images.")
    places = [
        place
        for place in sorted(folder.rglob("*"))
        if place.suffix.lower() in SUFFIXES
        and place.is_file()
        and not any(part.startswith(".") for part in place.relative_to(folder).parts)
    ]
    if not places:
        raise ValueError(f"{folder} holds no image; it may hold {', '.join(sorted(SUFFIXES))}, also in folders in it.")
    mode = "L" if channels == 1 else "RGB"
    arrays = []
    for place in places:
        try:
            with Image.open(place) as image:
                _refuse_deep(image, str(place))
                # Photographs may lie on their side, and say so.
                upright = ImageOps.exif_transpose(image).convert(mode)
        except UNREADABLE as error:
            raise ValueError(f"The image {place} cannot be read ({error}); replace it or take it away.") from None
        if upright.size != (width, height) or kept < 1:
            upright = ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR, bleed=(1 - kept) / 2)
        arrays.append(np.asarray(upright).reshape(height, width, channels))
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
    names = [place.relative_to(folder).as_posix() for place in places]
    return images.to(torch.float32).div(255).contiguous(), names


def _refuse_deep(image: Image.Image, name: str) -> None:
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"The image {name} has more than 8 bits a pixel; convert it to 8 bits.")
