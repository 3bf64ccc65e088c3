"""Networks that were trained elsewhere: torchvision's, with their published weights, and a reader's own.

Each becomes a posterior of one sample, so that attacks, explanations and scores take it as they take the small networks of
this book. Its images are in [0, 1]; the network normalises them itself.
"""

from __future__ import annotations

import copy
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from relevance.base import checks
from relevance.base.environment import chosen_device, data_root
from relevance.datasets import folders
from relevance.datasets.reading import import_torchvision
from relevance.networks.architectures import Classifier, Normalise, channel_values
from relevance.networks.posterior import Posterior

# Name in torchvision -> what it is called, and the parameter that has a value for each class. The four of Dombrowski et
# al. 2019 (arXiv:1906.07983, Sec. 5 and supplement B).
ARCHITECTURES = {
    "vgg16": ("VGG-16", "classifier.6.bias"),
    "resnet18": ("ResNet-18", "fc.bias"),
    "alexnet": ("AlexNet", "classifier.6.bias"),
    "densenet121": ("DenseNet-121", "classifier.bias"),
}
PUBLISHED = "published"
IMAGE_SHAPE = (3, 224, 224)
# Of ImageNet's pixels, channel by channel, in the units of [0, 1]: torchvision's weights expect images normalised by them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
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
    """Return one of torchvision's classifiers as a posterior of one sample.

    Args:
        name: ``"vgg16"``, ``"resnet18"``, ``"alexnet"`` or ``"densenet121"``.
        weights: ``"published"``, those that torchvision names, of ImageNet's 1,000 classes: a file of their name in
            :func:`weight_folders`, else downloaded into the last of these; None, drawn at random; or the path of a state
            dict of this architecture (``.safetensors``, or a ``.pth`` that is read without running code in it).
        image_shape: (3, H, W) of the images; the networks take many sizes, and were trained with 3x224x224.
        n_classes: for random weights, 1,000 if None. Other weights have their own.
        seed: of random weights, which are normal with the variance of He et al. 2015; biases are zero.
        device: where the samples are put; a CUDA GPU where there is one if not given.

    Raises:
        ValueError: the name, the size or the number of classes is not what it may be, or the file does not fit.
        FileNotFoundError: the file is not there, or the published weights are not and cannot be downloaded.
    """
    title, of_classes = ARCHITECTURES[checks.one_of("name", name, ARCHITECTURES)]
    checks.seed("seed", seed)
    device = chosen_device(device)
    if weights is not None:
        checks.path("weights", weights)
    import_torchvision()
    from torchvision import models

    published = models.get_model_weights(name).DEFAULT
    shape = checks.image_shape("image_shape", image_shape)
    least = max(published.meta["min_size"])
    if shape[0] != 3 or min(shape[1:]) < least:
        raise ValueError(
            f"image_shape is {shape}; it must have 3 channels and at least {least}x{least} pixels, which {title} takes."
        )
    state: Mapping[str, Tensor] | None = None
    if weights is not None:
        state, source = _published(published.url, title) if weights == PUBLISHED else _read(Path(weights))
        known = len(state[of_classes]) if of_classes in state else None
        if known is not None and n_classes not in {None, known}:
            raise ValueError(f"n_classes is {n_classes}; the weights of {source} have {known} classes.")
        n_classes = known
    else:
        source = f"random weights, seed {seed}"
    n_classes = checks.count("n_classes", 1000 if n_classes is None else n_classes, at_least=2)
    # Without memory or values at first: drawing those that torchvision starts with takes seconds.
    with torch.device("meta"):
        model = models.get_model(name, weights=None, num_classes=n_classes)
    if state is None:
        _draw(model.to_empty(device="cpu"), seed)
    else:
        _fill(model, state, title, source)
    return wrap(model, shape, mean=IMAGENET_MEAN, std=IMAGENET_STD, name=name, source=source, device=device)


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
    posterior.network.load_state_dict({key: value[0] for key, value in samples.items()}, strict=False, assign=True)
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
    import_torchvision()
    from torchvision import models

    checks.one_of("name", name, ARCHITECTURES)
    return _found(models.get_model_weights(name).DEFAULT.url)


def _found(url: str) -> Path | None:
    places = [folder / url.rpartition("/")[2] for folder in weight_folders()]
    return next((place for place in places if place.is_file()), None)


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


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {OLD_NAME.sub(r"\1\2", name): value for name, value in state.items()}


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
    try:
        model.load_state_dict(
            {name: value.float() if value.is_floating_point() else value for name, value in state.items()}, assign=True
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{source} does not fit {title} ({reason:.200}); it must be a state dict of torchvision's."
        ) from None


def _normalisation(mean: Sequence[float] | None, std: Sequence[float] | None, channels: int) -> Normalise:
    return Normalise(channel_values("mean", mean, channels), channel_values("std", std, channels, above=0))
