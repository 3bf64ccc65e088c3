"""A network with one or many samples of its parameters: what every attack, explanation and score takes."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from relevance.base import checks, chunks
from relevance.base.chunks import Sample
from relevance.base.environment import chosen_device
from relevance.networks import architectures

NETWORK = "a torch.nn.Module"
# In a file, what the network holds beside its parameters, such as the statistics of batch norm.
BUFFER = "buffer:"


def log_mean_softmax(logits: Tensor) -> Tensor:
    """Return log E[softmax f] over the samples, [N, K], of logits [S, N, K].

    Taken as logsumexp over the samples of the log-softmax, minus log S, so that nothing underflows.
    """
    return torch.logsumexp(logits.log_softmax(-1), dim=0) - math.log(len(logits))


def as_outputs(given: Any, images: Tensor) -> Tensor:
    """Return what a network gives for images if it is outputs [N, ...], such as logits [N, K], or say what it is."""
    return checks.results("the network", given, len(images), f"logits [{len(images)}, K]")


def _numbers(outputs: Tensor) -> Tensor:
    """Return outputs [S, N, ...] if the largest of each image is a number, or say of how many it is none.

    That leaves -inf to the classes that a network rules out.
    """
    if outputs.numel() and not (usable := outputs.flatten(2).amax(2).isfinite()).all():
        raise ValueError(
            f"the network gives NaN or infinite outputs for {int((~usable).any(0).sum())} of {outputs.shape[1]} images; they "
            "must be numbers, or nothing can be said of them."
        )
    return outputs


def given(posterior: Any, images: Any, classes: Any, name: str) -> tuple[Tensor, Tensor]:
    """Return images in [0, 1] and a class of each, or say what they, or the posterior, must be.

    Args:
        posterior: what must be a :class:`Posterior`.
        images: [N, C, H, W], of the shape that it takes.
        classes: [N], among its classes.
        name: of the argument that ``classes`` are.
    """
    images = checks.pixels("images", images, as_posterior(posterior).image_shape)
    return images, posterior.class_indices(name, classes, images)


def as_posterior(value: Any, name: str = "posterior") -> Posterior:
    """Return ``value`` if it is a posterior, or say how to make one."""
    found: Posterior = checks.kind_of(name, value, Posterior, "a Posterior; Posterior.of(network) makes one")
    return found


def _copied(network: nn.Module) -> nn.Module:
    """Return a copy of a network with all that it computes, and without the hooks that only change its gradients."""
    copied = copy.deepcopy(network, {id(value): value for value in chunks.left_behind(network)})
    for module in copied.modules():
        module._backward_hooks.clear()
        module._backward_pre_hooks.clear()
    return copied


@torch.no_grad()
def fill(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy ``values`` into the parameters and buffers of a network that have their names.

    Not by ``load_state_dict``, which some classes write anew, and MNASNet wants to know the version of.
    """
    for name, value in (*network.named_parameters(), *network.named_buffers()):
        if name in values:
            value.copy_(values[name])


def assign(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Make parameters of a network be the ``values`` of their names, which are not copied; whatever is tied stays so."""
    fresh = {
        id(parameter): nn.Parameter(values[name], requires_grad=False)
        for name, parameter in network.named_parameters()
        if name in values
    }
    for module in network.modules():
        for part, parameter in module._parameters.items():
            if id(parameter) in fresh:
                module._parameters[part] = fresh[id(parameter)]


def _compare(path: Path, settings: Mapping[str, Any], samples: Mapping[str, Tensor]) -> None:
    """Refuse a file whose settings are of another network than its samples, before the network takes any memory."""
    try:
        with torch.device("meta"):
            wanted = {name: value.shape for name, value in architectures.build(settings).named_parameters()}
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(
            f"path is {path}, whose network cannot be built ({error!s:.120}); give it as the argument network."
        ) from None
    if any(name not in samples or samples[name].shape[1:] != shape for name, shape in wanted.items()):
        raise ValueError(
            f"path is {path}, whose samples do not fit the network that it names, {checks.shown(settings)}."
        )


@dataclass(frozen=True, eq=False)
class Posterior:
    """Samples from the posterior p(w | D) over the parameters of one network.

    A deterministic network is a posterior of one sample.

    Attributes:
        network: gives the architecture, in evaluation mode; its own parameters are not used.
        samples: parameter name -> [S, ...], the S samples stacked; buffers in which samples differ may be among them.
        record: how the samples were made: method, settings, seed, data set, versions, wall time, diagnostics.
    """

    network: nn.Module
    samples: dict[str, Tensor]
    record: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.kind_of("network", self.network, nn.Module, NETWORK)
        checks.kind_of("samples", self.samples, dict, "a dict of parameter names to tensors [S, ...]")
        if not any(True for _ in self.network.parameters()):
            raise ValueError("network has no parameters; it must have some, of which there are samples.")
        for name, value in self.samples.items():
            checks.finite(f"samples of {name}", checks.tensor(f"samples of {name}", value, "a tensor [S, ...]"))
        wanted = {name: tuple(value.shape) for name, value in self.network.named_parameters()}
        # Samples may have buffers of their own, such as batch norm's statistics.
        wanted |= {name: tuple(value.shape) for name, value in self.network.named_buffers() if name in self.samples}
        given = {name: tuple(value.shape[1:]) for name, value in self.samples.items()}
        if wanted != given:
            odd = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
            raise ValueError(
                f"samples do not fit the network at {', '.join(odd)}: they have {[given.get(name) for name in odd]} "
                f"after the first dimension; they must have {[wanted.get(name) for name in odd]}."
            )
        lengths = {len(value) for value in self.samples.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"samples have the lengths {sorted(lengths)}; all parameters must have the same number of samples, "
                "at least 1."
            )
        # A copy of its own, in evaluation mode: what is done to the caller's network later changes nothing here.
        object.__setattr__(self, "network", _copied(self.network).eval().requires_grad_(False))

    def _of_samples(self, chosen: slice | Tensor) -> Posterior:
        """Return a posterior of some samples, sharing the network."""
        part = copy.copy(self)
        object.__setattr__(part, "samples", {name: value[chosen] for name, value in self.samples.items()})
        object.__setattr__(part, "_known", self.known)
        return part

    def of_network(self, network: nn.Module) -> Posterior:
        """Return a posterior of the same samples of another network, in evaluation mode, which is not copied."""
        other = copy.copy(self)
        object.__setattr__(other, "network", network.eval())
        object.__setattr__(other, "_known", {})
        return other

    @property
    def known(self) -> dict[Any, Any]:
        """What was worked out of the network before, such as its graph; posteriors of the same network share it."""
        known: dict[Any, Any] = self.__dict__.setdefault("_known", {})
        return known

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_known"}

    @classmethod
    def of(cls, network: nn.Module, record: Mapping[str, Any] | None = None) -> Posterior:
        """Return a trained network as a posterior of one sample: a copy of its present parameters."""
        checks.kind_of("network", network, nn.Module, NETWORK)
        samples = {name: value.detach().clone()[None] for name, value in network.named_parameters()}
        return cls(network, samples, dict(record or {}))

    def __len__(self) -> int:
        return len(next(iter(self.samples.values())))

    def __getitem__(self, index: int | slice) -> Posterior:
        """Return a posterior of the chosen samples: ``posterior[3]`` has one, ``posterior[:10]`` the first ten."""
        if isinstance(index, slice):
            parts = (index.start, index.stop, index.step)
            if not all(part is None or isinstance(part, Integral) for part in parts) or (index.step or 1) < 1:
                raise ValueError(f"index is {index}; it must be a slice of whole numbers, forwards.")
            for edge in (index.start, index.stop):
                if edge is not None and abs(edge) > len(self):
                    raise ValueError(f"index is {index}, {abs(edge)} samples; this posterior has {len(self)}.")
            if not range(*index.indices(len(self))):
                raise ValueError(f"index is {index}, which holds no samples; this posterior has {len(self)}.")
            chosen = index
        else:
            checks.kind_of("index", index, Integral, "a whole number or a slice")
            if not -len(self) <= index < len(self):
                raise IndexError(f"index is {index}; this posterior has {len(self)} samples, counted from 0.")
            chosen = slice(index, index + 1 or None)
        return self._of_samples(chosen)

    def thinned(self, n_samples: int) -> Posterior:
        """Return a posterior of ``n_samples`` samples at even distances, so that neighbours in a chain are left out."""
        checks.count("n_samples", n_samples, at_most=len(self))
        chosen = torch.linspace(0, len(self) - 1, n_samples, device=self.device).round().long()
        if n_samples == 1:
            chosen = chosen.new_tensor([len(self) - 1])
        return self._of_samples(chosen)

    def __iter__(self) -> Iterator[Posterior]:
        return (self[index] for index in range(len(self)))

    @property
    def device(self) -> torch.device:
        """The device that the samples are on."""
        return next(iter(self.samples.values())).device

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """(C, H, W) of the images that the network takes, where the network says it."""
        shape = getattr(self.network, "settings", {}).get("image_shape")
        return tuple(shape) if shape else None

    def check_images(self, images: Tensor) -> None:
        """Say so if images are not what this posterior computes with: of its shape, precision and device."""
        checks.image_batch("images", images, self.image_shape)
        own = next(iter(self.samples.values()))
        if images.dtype != own.dtype or images.device != own.device:
            raise ValueError(
                f"images are {images.dtype} on {images.device}; the posterior computes in {own.dtype} on {own.device}, "
                "so they must be too."
            )

    def logits(self, images: Tensor) -> Tensor:
        """Return the pre-softmax outputs of every sample: [S, N, K] for images [N, C, H, W].

        Raises:
            ValueError: images are not what they may be; or the network gives no numbers for some, which is looked at where no
                gradient is asked for, so that attacks need not at every step.
        """
        self.check_images(images)
        n_images, n_samples = chunks.at_once(self.network, self.samples, images)
        parts = []
        for some in images.split(n_images):

            def of_sample(sample: Sample, x: Tensor = some) -> Tensor:
                return as_outputs(chunks.call(self.network, sample, x), x)

            parts.append(torch.cat(list(chunks.over_samples(of_sample, self.samples, n_samples))))
        logits = torch.cat(parts, dim=1)
        return logits if logits.requires_grad else _numbers(logits)

    def log_predictive(self, images: Tensor) -> Tensor:
        """Return the log of the posterior predictive, log E[softmax f(x, w)]: [N, K]."""
        return log_mean_softmax(self._of_classes(self.logits(images)))

    def predict(self, images: Tensor) -> Tensor:
        """Return the posterior predictive E[softmax f(x, w)], probabilities [N, K], for images in [0, 1]."""
        return self.log_predictive(checks.pixels("images", images, self.image_shape)).exp()

    @staticmethod
    def _of_classes(logits: Tensor) -> Tensor:
        if logits.ndim != 3:
            raise ValueError(
                f"the network gives outputs of shape [N, {str(list(logits.shape[2:]))[1:]}; they must be logits [N, K]."
            )
        return logits

    def class_indices(self, name: str, classes: Tensor, images: Tensor) -> Tensor:
        """Return ``classes`` if they are a class of this posterior for each image, or say what they must be."""
        self.check_images(images)
        # Asked of the network once: for eight large images, asking took a fifteenth of their gradients' time.
        shape = ("classes", tuple(images.shape[1:]))
        if shape not in self.known:
            with torch.no_grad():
                logits = self._of_classes(self[0].logits(images[:1]))
            self.known[shape] = logits.shape[-1]
        return checks.class_indices(name, classes, len(images), self.known[shape]).to(images.device)

    def accuracy(self, images: Tensor, labels: Tensor) -> float:
        """Return the share of ``images`` whose predicted class is their label, in [0, 1]."""
        probabilities = self.predict(images)
        checks.some_images("images", images)
        labels = checks.class_indices("labels", labels, *probabilities.shape)
        return (probabilities.argmax(-1) == labels).double().mean().item()

    def save(self, path: str | Path) -> None:
        """Write samples and record to ``path`` (safetensors: nothing is pickled). The file appears whole or not."""
        metadata = {
            "record": json.dumps(self.record),
            "network": json.dumps(getattr(self.network, "settings", {})),
        }
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.samples.items()}
        tensors |= {BUFFER + name: value.cpu().contiguous() for name, value in self.network.named_buffers()}
        target = Path(path)
        partial = target.with_name(target.name + ".partial")
        safetensors.torch.save_file(tensors, partial, metadata)
        partial.replace(target)

    @classmethod
    def load(
        cls,
        path: str | Path,
        network: nn.Module | None = None,
        device: torch.device | str | None = None,
    ) -> Posterior:
        """Read what :meth:`save` wrote.

        Args:
            path: the file.
            network: the architecture; needed only where it is not one of :mod:`relevance.networks.architectures`.
            device: where the samples are put; a CUDA GPU where there is one if not given.

        Raises:
            ValueError: the file is damaged, or does not fit ``network``, or names no network.
            FileNotFoundError: there is no such file.
        """
        target = chosen_device(device)
        if not (path := checks.path("path", path)).exists():
            raise FileNotFoundError(
                f"path is {str(path)!r}, which is no file; it must be one that Posterior.save wrote."
            )
        if network is not None:
            checks.kind_of("network", network, nn.Module, NETWORK)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                # Copies: what is read lies in the file until it is, and changes or is lost with it.
                tensors = {name: file.get_tensor(name).to(target, copy=True) for name in file.keys()}  # noqa: SIM118
            record, settings = (json.loads(metadata.get(part, "{}")) for part in ("record", "network"))
            if not (isinstance(record, dict) and isinstance(settings, dict) and tensors):
                raise ValueError("it holds no samples, or a record or a network of another form")
        except (safetensors.SafetensorError, ValueError, TypeError, RecursionError, OSError) as error:
            raise ValueError(
                f"path is {path}, which is damaged ({error!s:.99}); Posterior.save must have written it."
            ) from None
        if network is None and not settings:
            raise ValueError(
                f"{path} does not say what network its samples belong to; give it as the argument network."
            )
        samples = {name: value for name, value in tensors.items() if not name.startswith(BUFFER)}
        if network is None:
            _compare(path, settings, samples)
        fresh = copy.deepcopy(network) if network is not None else architectures.build(settings)
        posterior = cls(fresh.to(target), samples, record)
        buffers = {name.removeprefix(BUFFER): value for name, value in tensors.items() if name.startswith(BUFFER)}
        if {name: value.shape for name, value in buffers.items()} != {
            name: value.shape for name, value in posterior.network.named_buffers()
        }:
            raise ValueError(f"{path} does not fit the network: their buffers, such as batch norm's, differ.")
        for name, value in buffers.items():
            if value.isnan().any():
                raise ValueError(f"{name} of {path} has values that are NaN; they must be numbers.")
        fill(posterior.network, buffers)
        return posterior
