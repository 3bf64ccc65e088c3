"""A generator of attribution maps: one pass gives the map, trained to align with the saliency of a robust network.

After Zeng et al. 2021 ("Generating Deep Networks Explanations with Robust Attribution Alignment"). Their supplement says that
a network trained by PGD in l2 gives the maps, and that generated maps are aligned with them; their abstract, that maps are
"up-sampled from the last convolutional layer of the network" which is explained. The rest had to be decided here:

- *two inputs*: :func:`networks.decoder` reads the last hidden features of the classifier, as the abstract has it, with the
  classifier as it is (whether the source trains both together is not said); :func:`networks.encoder_decoder` reads the image
  and stands alone;
- *what is aligned*: the magnitude of the gradient of a class's logit, summed over the channels, at every pixel;
- *the distance*: 1 minus the cosine of both maps, so that the size of gradients, which is no part of a map's look, is free;
- *the class*: the label; a generator has one map for an image, whatever class it is asked about;
- *other terms*: none by default. Those of masking models (Dabkowski and Gal 2017, arXiv:1705.07857, Eq. 3) can be weighed in.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from relevance.base import checks
from relevance.base.chunks import Sample
from relevance.base.environment import bar
from relevance.datasets.dataset import Dataset
from relevance.explanations.expected import checked, over_all
from relevance.explanations.gradient import gradient
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.networks.posterior import Posterior
from relevance.studies.zeng.generator.networks import body, features, run

EXPLAINED = ("label", "prediction")
TERMS = ("keep", "lose", "area", "variation")


@dataclass(frozen=True, eq=False)
class Generated:
    """A trained generator as a method of explanation: call it with a posterior, images and the class to explain.

    It goes wherever an ``Explain`` does. The class is checked and changes nothing.

    Attributes:
        generator: of :func:`train_generator`.
        reads_features: it decodes features of the posterior that it is called with; if not, it looks at the image alone, and
            **whose** prediction it is to explain makes no difference to its map.
    """

    generator: Posterior
    reads_features: bool = False

    def __call__(self, posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        """Return maps [N, C, H, W], at least 0: each channel has an equal share, and their sum is in (0, 1).

        Raises:
            ValueError: an image or a target is not what it may be, or the generator is for other images.
        """
        target = checked(posterior, images, target)
        network = self.generator.network
        if self.reads_features:
            layers, own = body(posterior.network), self.generator[0].samples

            def decoded(sample: Sample, x: Tensor, _: Tensor) -> Tensor:
                weights = {name: value[0] for name, value in own.items()}
                read: Tensor = functional_call(network, weights, (run(layers, sample, x),))
                return read

            maps = over_all(posterior, decoded, images, target)
        else:
            checks.image_batch("images", images, getattr(network, "image_shape", None))
            maps = self.generator.logits(images).mean(0)
        _check_fit(maps, images)
        return maps.expand_as(images) / images.shape[1]


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How a generator is trained.

    Attributes:
        epochs, learning_rate, batch_size, seed: as for :func:`relevance.inference.sgd`.
        alignment: what 1 minus the cosine with the robust saliency weighs; at least 0, as all weights are.
        keep: weight of -log p(class) where the map keeps the image and the rest is the mean training image.
        lose: weight of p(class) where the map takes the image away.
        area: weight of the map's mean.
        variation: weight of the mean squared difference of neighbours.
        explained: ``"label"``, or ``"prediction"`` of the robust network, whose saliency is aligned with.
    """

    alignment: float = checks.real(1.0, at_least=0)
    keep: float = checks.real(0.0, at_least=0)
    lose: float = checks.real(0.0, at_least=0)
    area: float = checks.real(0.0, at_least=0)
    variation: float = checks.real(0.0, at_least=0)
    explained: str = checks.choice("label", EXPLAINED)


def saliency(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """Return the magnitude of the gradient of the target's logit, summed over the channels: [N, 1, H, W]."""
    return gradient(posterior, images, target).abs().sum(1, keepdim=True)


def train_generator(
    network: nn.Module,
    robust: Posterior,
    data: Dataset,
    *,
    reads: Posterior | None = None,
    progress: bool = True,
    **settings: Any,
) -> Posterior:
    """Train a generator to align with :func:`saliency` of a robust network on the training images.

    The same arguments give the same generator on the same machine; ``network`` is left as it is.

    Args:
        network: of :func:`networks.encoder_decoder`, or of :func:`networks.decoder`.
        robust: such as :func:`relevance.inference.adversarial` with ``norm="l2"`` gives; also asked by the masking terms.
        data: its training images and labels are used.
        reads: the classifier whose features :func:`networks.decoder` reads; None if the generator reads images.
        progress: show a progress bar.
        settings: fields of :class:`Settings`.

    Returns:
        The generator as a posterior of one sample, for :class:`Generated`; ``record["history"]`` has ``loss`` and ``cosine`` of
        every epoch.

    Raises:
        ValueError: a setting is not what it may be, the network does not fit the data, or the loss is not finite.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    images, labels = data.train_images, data.train_labels
    with torch.no_grad():
        target = labels if chosen.explained == "label" else robust.predict(images).argmax(1)
        wanted = saliency(robust, images, target).detach()
        read = images if reads is None else features(reads, images)
    model = _initialised(network, read, chosen.seed)
    with torch.no_grad():
        _check_fit(model(read[:2]), images[:2])
    mean = images.mean(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=chosen.learning_rate)
    generator = torch.Generator().manual_seed(chosen.seed)
    history: dict[str, list[float]] = {"loss": [], "cosine": []}
    with bar(chosen.epochs, "generator", "epoch", show=progress) as shown:
        for epoch in range(chosen.epochs):
            sums = torch.zeros(2, dtype=torch.float64, device=images.device)
            for rows in torch.randperm(len(images), generator=generator).to(images.device).split(chosen.batch_size):
                maps = model(read[rows])
                alike = functional.cosine_similarity(maps.flatten(1), wanted[rows].flatten(1)).mean()
                loss = chosen.alignment * (1 - alike)
                if any(getattr(chosen, name) for name in TERMS):
                    loss = loss + _masking(maps, robust, images[rows], target[rows], mean, chosen)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                sums += torch.stack([loss.detach(), alike.detach()]).double() * len(rows)
            means = (sums / len(images)).tolist()
            history["loss"].append(training.finite(means[0], epoch, chosen))
            history["cosine"].append(means[1])
            shown.update()
    return Posterior.of(model, training.record("generator", data, asdict(chosen), started, history=history))


def _masking(
    maps: Tensor, robust: Posterior, images: Tensor, target: Tensor, mean: Tensor, weights: Settings
) -> Tensor:
    """Return the terms of a masking model (Dabkowski and Gal 2017, Eq. 3, with a linear last term), weighed."""
    total = weights.area * maps.mean()
    total = total + weights.variation * sum(maps.diff(dim=axis).square().mean() for axis in (2, 3))
    for mask, term in ((maps, "keep"), (1 - maps, "lose")):
        if weight := getattr(weights, term):
            logs = robust.log_predictive(mask * images + (1 - mask) * mean).gather(1, target[:, None])
            total = total + weight * (-logs if term == "keep" else logs.exp()).mean()
    return total


def _initialised(network: nn.Module, read: Tensor, seed: int) -> nn.Module:
    """Return a copy of the generator with parameters drawn anew, on the device and in the precision of what it reads."""
    model = Posterior.of(network).network.cpu().requires_grad_()
    with training.seeded(seed, torch.device("cpu")):
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.reset_parameters()
    return model.to(read)


def _check_fit(maps: Tensor, images: Tensor) -> None:
    wanted = (len(images), 1, *images.shape[-2:])
    if maps.shape != wanted:
        raise ValueError(
            f"the generator gives maps of shape {list(maps.shape)}; for these images they must be {list(wanted)}."
        )
