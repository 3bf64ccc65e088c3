"""A network, a posterior and a folder, each by the name of an example or by a reader's own path.

The examples go the way of what a reader brings: their weights are saved as state dicts, or laid out as flat vectors, and come
back by a door; their images are saved as PNG files, and read from the folder.
"""

from __future__ import annotations

import copy
import glob
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from relevance.base import checks
from relevance.datasets import dataset, reading
from relevance.inference.ensemble import deep_ensemble
from relevance.inference.laplace import laplace, last_layer
from relevance.networks import architectures, doors, pretrained
from relevance.networks.posterior import Posterior
from relevance.studies.store import kept

DENSE, CONVOLUTIONAL = "dense", "convolutional"
CHECKPOINT, ENSEMBLE, LAPLACE = "one checkpoint", "five checkpoints", "Laplace vectors"
DIGITS, PHOTOGRAPHS = "digits", "photographs"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "network": (DENSE, CONVOLUTIONAL),
    "posterior": (CHECKPOINT, ENSEMBLE, LAPLACE),
    "folder": (DIGITS, PHOTOGRAPHS),
}
SHAPE = (1, 28, 28)
N_TRAIN, N_MEMBERS, EPOCHS, HIDDEN = 600, 5, 20, 32
LEARNED_FROM = "mnist-5k"


class Convolutional(nn.Sequential):
    """Two convolutions that halve the image, quick enough for pictures that are drawn while a page is printed."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10),
        )  # fmt: skip


def network(given: str) -> nn.Module:
    """Return a network by the name of an example, or made by what a file of the reader's has.

    Args:
        given: ``"dense"``, ``"convolutional"``, or ``"path/to/file.py:Name"``: a module, or a class or function that makes one
            when it is called without arguments. The file is run, as Python runs any file that is imported.

    Raises:
        ValueError: there is no such example or file, it fails, or what it has under that name is or gives no module.
    """
    checks.kind_of("network", given, str, f"a text: {', '.join(EXAMPLES['network'])}, or file.py:Name")
    if given in EXAMPLES["network"]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return architectures.fully_connected(SHAPE, hidden=HIDDEN) if given == DENSE else Convolutional()
    place, _, name = given.rpartition(":")
    file = Path(place).expanduser()
    if not place.endswith(".py") or not name:
        raise ValueError(
            f"network is {checks.shown(given)}; it may be {', '.join(EXAMPLES['network'])}, or file.py:Name, of a file of yours."
        )
    if not file.is_file():
        raise ValueError(
            f"network is {checks.shown(given)}, whose file is not there; it must be {checks.shown(str(file.resolve()))}."
        )
    found = getattr(_imported(file), name, None)
    try:
        made = found() if callable(found) and not isinstance(found, nn.Module) else found
    except Exception as error:  # whatever the reader's code raises
        raise ValueError(
            f"network is {checks.shown(given)}, which cannot be called without arguments "
            f"({type(error).__name__}: {error!s:.80}); it must make a torch.nn.Module."
        ) from None
    found_module: nn.Module = checks.kind_of(f"network {name}", made, nn.Module, "a torch.nn.Module, or make one")
    return found_module


def pooled() -> nn.Sequential:
    """Return a network that sees an image of 28 x 28 at a quarter of its size: 490 weights, which a chain can walk through."""
    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(49, 8), nn.LeakyReLU(), nn.Linear(8, 10))


def posterior(
    network: nn.Module,
    given: str,
    image_shape: Sequence[int] = SHAPE,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Posterior:
    """Return a posterior of a network by the name of an example, or of the files of the reader's.

    Args:
        network: for an example, one of the examples.
        given: ``"one checkpoint"``, ``"five checkpoints"``, ``"Laplace vectors"``; or the path of a state dict, or a pattern of
            paths such as ``"runs/*.pth"``, each of which is a sample.
        image_shape: (C, H, W) of an image.
        mean, std: of each channel, by which the network normalises its images; None where it takes them in [0, 1].

    Raises:
        ValueError: there is no such example and no such file, an example is asked for a network that is none, or the files do
            not fit the network.
    """
    checks.kind_of("posterior", given, str, f"a text: {', '.join(EXAMPLES['posterior'])}, or a path")
    if given not in EXAMPLES["posterior"]:
        files = sorted(glob.glob(str(Path(given).expanduser()), recursive=True))
        if not files:
            raise ValueError(
                f"posterior is {checks.shown(given)}, which is no file; it may be {', '.join(EXAMPLES['posterior'])}, or files "
                f"such as runs/*.pth below {checks.shown(str(Path.cwd()))}."
            )
        return doors.from_states(network, files, image_shape=image_shape, mean=mean, std=std)
    if not isinstance(network, (architectures.Classifier, Convolutional)):
        raise ValueError(
            f"posterior is {given!r}, an example for the networks {' and '.join(EXAMPLES['network'])}; it must be a path to "
            f"checkpoints of {type(network).__name__}."
        )
    return _example(network, given)


def _example(network: nn.Module, given: str) -> Posterior:
    """Train an example, and let it in by the door that it is an example of."""
    data = reading.load(LEARNED_FROM).smaller(N_TRAIN)
    if given == LAPLACE:
        drawn = kept(laplace, network, data, progress=False, epochs=EPOCHS, n_samples=20, prior_scale=0.3)
        name, layer = last_layer(drawn.network, data.train_images[:2].to(drawn.device))
        parts = [drawn.samples[f"{name}.{part}"].flatten(1) for part, _ in layer.named_parameters()]
        below = copy.deepcopy(network)
        below.load_state_dict({key: value[0].cpu() for key, value in drawn.samples.items()})
        return doors.from_vectors(below, torch.cat(parts, 1), layer=name, image_shape=SHAPE, record={"drawn by": given})
    trained = kept(deep_ensemble, network, data, progress=False, epochs=EPOCHS, n_samples=N_MEMBERS)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, member in enumerate(trained[: 1 if given == CHECKPOINT else N_MEMBERS]):
            files.append(Path(folder) / f"{index}.pth")
            torch.save({key: value[0].cpu() for key, value in member.samples.items()}, files[-1])
        return doors.from_states(network, files, image_shape=SHAPE, record={"drawn by": given})


def images(given: str, image_shape: Sequence[int] = SHAPE, n_images: int = 24, seed: int = 0) -> Tensor:
    """Return images of an example, or of a folder of the reader's, in random order.

    Args:
        given: ``"digits"``, MNIST's test images; ``"photographs"``, crops of the two that scikit-learn brings along; or the path
            of a folder with images of any sizes, with or without folders in it.
        image_shape: (C, H, W) to which they are cropped and resized.
        n_images: how many at most; at least 2.
        seed: of the choice and the order.

    Returns:
        [N, C, H, W] in [0, 1].

    Raises:
        ValueError: there is no such example and no such folder, or it holds fewer than 2 images.
    """
    checks.kind_of("folder", given, str, f"a text: {', '.join(EXAMPLES['folder'])}, or a path")
    checks.count("n_images", n_images, at_least=2)
    checks.seed("seed", seed)
    with tempfile.TemporaryDirectory() as place:
        if given in EXAMPLES["folder"]:
            pictures = _digits(n_images, seed) if given == DIGITS else _crops(n_images, seed)
            for index, picture in enumerate(pictures):
                picture.save(Path(place) / f"{index:03d}.png")
        folder = Path(place if given in EXAMPLES["folder"] else given).expanduser()
        if not folder.is_dir():
            raise ValueError(
                f"folder is {checks.shown(given)}, which is no folder; it may be {', '.join(EXAMPLES['folder'])}, or one with "
                f"images, such as {checks.shown(str(folder.resolve()))} would be."
            )
        found, _ = pretrained.images_of(folder, image_shape)
    if len(found) < 2:
        raise ValueError(
            f"folder is {checks.shown(given)}, which holds 1 image; it must hold 2 or more, to compare maps of."
        )
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return found[order[:n_images].to(found.device)]


def _digits(n_images: int, seed: int) -> list[Image.Image]:
    data: dataset.Dataset = reading.load(LEARNED_FROM, device="cpu")
    values = (data.balanced_test(n_images, seed)[0][:, 0] * 255).round().byte().numpy()
    return [Image.fromarray(value) for value in values]


def _crops(n_images: int, seed: int) -> list[Image.Image]:
    """Cut squares out of photographs at random places."""
    import sklearn.datasets

    rng = np.random.default_rng(seed)
    whole = [Image.open(place) for place in sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))]
    crops = []
    for index in range(n_images):
        picture = whole[index % len(whole)]
        side = int(rng.integers(100, min(picture.size)))
        left, top = (int(rng.integers(0, length - side + 1)) for length in picture.size)
        crops.append(picture.crop((left, top, left + side, top + side)))
    return crops


def _imported(file: Path) -> object:
    """Run a file as a module of its own, with what lies beside it, or say why it fails."""
    spec = importlib.util.spec_from_file_location(f"readers_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the reader's code raises
        raise ValueError(
            f"network has the file {checks.shown(str(file))}, which fails ({type(error).__name__}: {error!s:.80}); it must run."
        ) from None
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module
