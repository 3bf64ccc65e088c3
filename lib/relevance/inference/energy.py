"""What a chain moves through: a network's parameters as one vector, and the energy of its posterior with the gradient.

The vector is that of turned inputs (:class:`Coordinates`): a normal prior that is the same for all weights of a layer does not
change when the layer's inputs are turned, and the likelihood's stiff directions then lie along coordinates, where a mass of
their own for each can meet them.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from relevance.base import chunks
from relevance.datasets.dataset import Dataset
from relevance.inference.chain import State
from relevance.inference.training import Loss, cross_entropy

IMAGES_AT_ONCE = 10_000
# An eigenvalue problem of this size takes some ten seconds.
MOST_INPUTS = 4096
# A slope that is 0 but for rounding has less than so many units of it.
ROUNDING = 1000
AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass
class Layer:
    """A layer with a weight of its own.

    Attributes:
        module: the layer.
        on_data: whether what it takes does not depend on any parameter.
        n_dimensions: of what it takes.
        calls: how often it is called for one batch.
    """

    module: nn.Module
    on_data: bool
    n_dimensions: int
    calls: int = 1


def layers(network: nn.Module, images: Tensor) -> dict[str, Layer]:
    """Return the dense and convolutional layers of a network by the name of their weight, in the order of their calls.

    A weight that two layers share is none's own.
    """
    free = {name: value.detach().requires_grad_() for name, value in network.named_parameters()}
    holders = Counter(id(value) for module in network.modules() for value in module._parameters.values())
    names: dict[nn.Module, str] = {
        module: f"{place}.weight" if place else "weight"
        for place, module in network.named_modules()
        if isinstance(module, AFFINE) and holders[id(module._parameters.get("weight"))] == 1
    }
    found: dict[str, Layer] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        name = names[module]
        if name in found:
            found[name].calls += 1
        else:
            found[name] = Layer(module, not inputs[0].requires_grad, inputs[0].ndim)

    with _hooked(list(names), note), torch.enable_grad():
        chunks.call(network, free, images)
    return found


@contextmanager
def _hooked(modules: list[nn.Module], hook: object) -> Iterator[None]:
    handles = [module.register_forward_pre_hook(hook) for module in modules]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Coordinates:
    """An orthonormal basis of the inputs of each dense layer, in which a chain has the layer's weights.

    The first layer's are the principal axes of what it takes of the training images. What a hidden layer takes are units that
    may be permuted, and so are known only on the average of all permutations: their sum, and the rest.

    Args:
        network: its parameters.
        data: the training images.
        turned: whether inputs are turned at all.
        exact: leave out weights that no training image meets: on pixels that are 0 in every one, and along directions in which
            none lies. Their posterior is their prior, apart from all others: they are drawn from it exactly.
    """

    def __init__(self, network: nn.Module, data: Dataset, *, turned: bool = True, exact: bool = True) -> None:
        self.layers = layers(network, data.train_images[:2])
        # Name of a weight [out, in] -> [in, kept].
        self.bases: dict[str, Tensor] = {}
        for name, layer in self.layers.items():
            module = layer.module
            if type(module) is not nn.Linear or layer.calls > 1 or module.in_features > MOST_INPUTS:
                continue
            if layer.on_data:
                strengths, basis = _axes(_second_moments(network, module, data.train_images), turned)
                if exact:
                    basis = basis[:, ~_unmet(network, name, strengths, basis.to(module.weight), data)]
                if turned or basis.shape[1] < len(basis):
                    self.bases[name] = basis.to(module.weight)
            elif turned:
                self.bases[name] = _sum_and_rest(module.in_features).to(module.weight)


def _taken(network: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """Return what a layer takes of a batch of images."""
    seen: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].detach())

    with _hooked([layer], note), torch.no_grad():
        network(images)
    return seen[0]


def _second_moments(network: nn.Module, layer: nn.Module, images: Tensor) -> Tensor:
    """Return the sum of x x^T over what a dense layer takes of all images, in float64."""
    total = None
    for some in images.split(IMAGES_AT_ONCE):
        taken = _taken(network, layer, some).double().flatten(0, -2)
        total = taken.T @ taken + (0 if total is None else total)
    assert total is not None
    return total


def _axes(moments: Tensor, turned: bool) -> tuple[Tensor, Tensor]:
    """Return how much there is of a layer's inputs along each axis, [in], and the axes [in, in]: the principal ones if turned."""
    if not turned:
        return moments.diagonal(), torch.eye(len(moments), dtype=moments.dtype, device=moments.device)
    strengths, axes = torch.linalg.eigh(moments)
    return strengths.flip(0), axes.flip(1)


def _unmet(network: nn.Module, name: str, strengths: Tensor, axes: Tensor, data: Dataset) -> Tensor:
    """Return along which axes there is nothing of any training image, if no output depends on their weights otherwise."""
    unmet = (
        strengths <= len(strengths) * torch.finfo(strengths.dtype).eps * strengths.max()
    )  # the rank of a matrix, in numbers
    weight = dict(network.named_parameters())[name].detach().requires_grad_()
    with torch.enable_grad():
        outputs = chunks.call(network, {name: weight}, data.train_images[:IMAGES_AT_ONCE])
        (slope,) = torch.autograd.grad(outputs.square().sum(), weight)
    rounding = ROUNDING * torch.finfo(slope.dtype).eps * slope.norm()
    return unmet & ((slope @ axes).abs().amax(0) <= rounding)


def _sum_and_rest(size: int) -> Tensor:
    """Return an orthonormal basis [size, size] whose first vector has equal parts (a Householder reflection)."""
    normal = torch.full((size,), size**-0.5, dtype=torch.float64)
    normal[0] -= 1
    if size == 1:
        return torch.ones((1, 1), dtype=torch.float64)
    return torch.eye(size, dtype=torch.float64) - 2 * torch.outer(normal, normal) / normal.square().sum()


class Turned:
    """What a layer takes of each batch of images in place of what comes to it."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []
        self.now = 0

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return what the layer takes of the batch that is the turn of, a hook before its forward."""
        return (self.batches[self.now],)


class NetworkEnergy:
    """-log p(D | w) - log p(w) of a network: the loss of each training image (the cross-entropy) and a normal prior.

    The gradient is summed over chunks of images, so that memory stays flat as the training set grows.

    Args:
        network: gives the outputs; its own parameters are not used.
        data: the training images and labels.
        prior_scale: standard deviation of the prior.
        loss: negative log-likelihood of each image.
        coordinates: of the positions; those of the parameters themselves, if None.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Dataset,
        prior_scale: float,
        loss: Loss = cross_entropy,
        coordinates: Coordinates | None = None,
    ) -> None:
        self.network, self.data, self.loss = network, data, loss
        self.prior_scale, self.precision = prior_scale, prior_scale**-2
        self.power = 1.0
        self.bases = {} if coordinates is None else coordinates.bases
        met = {} if coordinates is None else coordinates.layers
        named = dict(network.named_parameters())
        self.names = list(named)
        self.shapes = [
            torch.Size([len(value), self.bases[name].shape[1]]) if name in self.bases else value.shape
            for name, value in named.items()
        ]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.batches = list(
            zip(data.train_images.split(IMAGES_AT_ONCE), data.train_labels.split(IMAGES_AT_ONCE), strict=True)
        )
        # What the first layer takes is turned once for all, in place of its weights at every step.
        self.first = next((name for name in self.bases if met[name].on_data), None)
        self.running, self.turned = copy.deepcopy(network), Turned()
        if self.first is not None:
            place = self.first.removesuffix("weight").removesuffix(".")
            basis, layer = self.bases[self.first], network.get_submodule(place)
            self.turned.batches = [_taken(network, layer, images) @ basis for images, _ in self.batches]
            self.running.get_submodule(place).register_forward_pre_hook(self.turned)

    def parts(self, positions: Tensor) -> dict[str, Tensor]:
        """Split [..., D] into the coordinates [..., shape] of each parameter."""
        return {
            name: part.reshape(*positions.shape[:-1], *shape)
            for name, part, shape in zip(self.names, positions.split(self.sizes, dim=-1), self.shapes, strict=True)
        }

    def unflatten(self, positions: Tensor, without: str | None = None) -> dict[str, Tensor]:
        """Return the network's parameters [..., shape] at [..., D]; what no image meets of them is 0.

        Args:
            positions: of the chain.
            without: the name of a parameter that is left in its coordinates.
        """
        return {
            name: part @ self.bases[name].T if name in self.bases and name != without else part
            for name, part in self.parts(positions).items()
        }

    def flatten(self, parameters: dict[str, Tensor]) -> Tensor:
        """Return the position [D] of the network's parameters."""
        parts = ((name, parameters[name]) for name in self.names)
        return torch.cat([(part @ self.bases[name] if name in self.bases else part).flatten() for name, part in parts])

    def complete(self, samples: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the weights of samples [S, out, in] that no training image meets from their posterior, the prior; in place."""
        for name, basis in self.bases.items():
            if basis.shape[1] == len(basis):
                continue
            for weight in samples[name]:
                drawn = torch.randn(weight.shape, generator=generator, dtype=weight.dtype, device=generator.device)
                weight.add_(drawn - drawn @ basis @ basis.T, alpha=self.prior_scale)
        return samples

    def tempered(self, power: float) -> NetworkEnergy:
        """Return the energy with the likelihood to a power: 0 leaves the prior, 1 the posterior."""
        other = copy.copy(self)
        other.power = power
        return other

    def __call__(self, position: Tensor) -> State:
        """Return the terms of the energy and their gradient at ``position`` [D]."""
        gradient = self.precision * position
        losses = []
        for number, (images, labels) in enumerate(self.batches):
            self.turned.now = number
            with torch.enable_grad():
                leaf = position.detach().requires_grad_()
                logits = chunks.call(self.running, self.unflatten(leaf, without=self.first), images)
                loss = self.power * self.loss(logits, labels)
                (part,) = torch.autograd.grad(loss.sum(), leaf)
            gradient = gradient + part
            losses.append(loss.detach())
        return State(position, torch.cat([*losses, 0.5 * self.precision * position**2]), gradient)
