"""A mass for each coordinate of a chain: how much the likelihood bends the energy there, beside the prior."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from relevance.base import chunks
from relevance.inference.energy import IMAGES_AT_ONCE, Coordinates, NetworkEnergy
from relevance.inference.training import seeded

# Images whose gradients are taken one by one, where they must be; the sum over all is estimated from them.
MOST_IMAGES = 2000
# Numbers of gradients at once.
AT_ONCE = 20_000_000


class Curvature:
    """The diagonal of the posterior's curvature in units of the prior's: 1 + sigma^2 F, with F the Fisher information.

    F is taken at a position with labels that the network itself draws there (Martens 2020, JMLR 21(146), Sec. 5). Hidden
    units may be permuted, and a chain comes to such places; so F is averaged over what only a permutation tells apart: over
    the outputs of every layer but the last, and over the inputs of every layer but the first, their sum apart.

    Args:
        energy: the posterior.
        coordinates: of its positions.
        seed: of the labels.
    """

    def __init__(self, energy: NetworkEnergy, coordinates: Coordinates, seed: int) -> None:
        self.energy, self.seed = energy, seed
        names = list(coordinates.layers)
        self.last = names[-1] if names else ""
        self.on_data = {name for name, layer in coordinates.layers.items() if layer.on_data}
        # The gradient of a dense layer's weight by one image is an outer product, whose squares need not be taken one by one.
        self.dense = {
            name: layer.module
            for name, layer in coordinates.layers.items()
            if type(layer.module) is nn.Linear and layer.calls == 1 and layer.n_dimensions == 2
        }

    def __call__(self, position: Tensor, power: float = 1.0) -> Tensor:
        """Return the mass [D] at ``position`` [D], at least 1, of the likelihood to a power."""
        energy = self.energy
        parameters = energy.unflatten(position)
        total = {name: torch.zeros_like(part) for name, part in energy.parts(position).items()}
        together = {name for name in total if name.rpartition(".")[0] in {one.rpartition(".")[0] for one in self.dense}}
        parts = [self._dense(parameters)] if self.dense else []
        if rest := [name for name in total if name not in together]:
            parts.append(self._one_by_one(parameters, rest))
        for part in parts:
            for name, squares in part:
                total[name] += squares
        share = power * energy.prior_scale**2
        return torch.cat([1 + share * self._averaged(name, part).flatten() for name, part in total.items()])

    def _labels(self, parameters: dict[str, Tensor], images: Tensor) -> Tensor:
        """Return labels as the network draws them."""
        with torch.no_grad(), seeded(self.seed, images.device):
            return chunks.call(self.energy.network, parameters, images).softmax(-1).multinomial(1).squeeze(1)

    def _dense(self, parameters: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Give the summed squares of the gradients of dense layers: name of a parameter, and its coordinates'."""
        energy = self.energy
        free = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[module] = inputs[0].detach(), output

        handles = [module.register_forward_hook(note) for module in self.dense.values()]
        try:
            for images in energy.data.train_images.split(IMAGES_AT_ONCE):
                labels = self._labels(parameters, images)
                with torch.enable_grad():
                    loss = energy.loss(chunks.call(energy.network, free, images), labels).sum()
                    slopes = torch.autograd.grad(loss, [seen[module][1] for module in self.dense.values()])
                for (name, module), slope in zip(self.dense.items(), slopes, strict=True):
                    taken = seen[module][0]
                    yield (
                        name,
                        slope.square().T @ (taken @ energy.bases[name] if name in energy.bases else taken).square(),
                    )
                    if module.bias is not None:
                        yield name.removesuffix("weight") + "bias", slope.square().sum(0)
        finally:
            for handle in handles:
                handle.remove()

    def _one_by_one(self, parameters: dict[str, Tensor], names: list[str]) -> Iterator[tuple[str, Tensor]]:
        """Give the summed squares of the gradients of other parameters, estimated from some of the images."""
        from torch.func import grad, vmap  # takes long to import

        energy, data = self.energy, self.energy.data
        # Evenly over the set, which may be in the order of its classes.
        images = data.train_images[:: -(-len(data.train_labels) // MOST_IMAGES)]
        labels = self._labels(parameters, images)
        others = {name: value for name, value in parameters.items() if name not in names}

        def loss(parts: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
            return energy.loss(chunks.call(energy.network, others | parts, image[None]), label[None]).sum()

        chosen = {name: parameters[name] for name in names}
        at_once = max(1, AT_ONCE // sum(value.numel() for value in chosen.values()))
        slopes = vmap(grad(loss), (None, 0, 0))
        share = len(data.train_labels) / len(images)
        for some, drawn in zip(images.split(at_once), labels.split(at_once), strict=True):
            for name, slope in slopes(chosen, some, drawn).items():
                turned = slope @ energy.bases[name] if name in energy.bases else slope
                yield name, share * turned.square().sum(0)

    def _averaged(self, name: str, part: Tensor) -> Tensor:
        """Return the information of one parameter, averaged over what a permutation of hidden units tells apart."""
        if name == self.last.removesuffix("weight") + "bias":
            return part
        if part.ndim < 2:
            return part.mean().expand_as(part)
        averaged = part if name == self.last else part.mean(0, keepdim=True)
        if name not in self.on_data:
            first = 1 if name in self.energy.bases else 0
            rest = averaged[:, first:].mean(1, keepdim=True).expand(-1, part.shape[1] - first, *part.shape[2:])
            averaged = torch.cat([averaged[:, :first], rest], 1)
        return averaged.expand_as(part)
