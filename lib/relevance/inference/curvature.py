"""A mass for each coordinate of a chain: how much the likelihood bends the energy there, beside the prior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad, vmap

from relevance.base import chunks
from relevance.inference.energy import Coordinates, NetworkEnergy
from relevance.inference.training import seeded

# Images whose gradients are taken one by one; the sum over all is estimated from them.
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

    def __call__(self, position: Tensor, power: float = 1.0) -> Tensor:
        """Return the mass [D] at ``position`` [D], at least 1, of the likelihood to a power."""
        energy = self.energy
        data = energy.data
        # Evenly over the set, which may be in the order of its classes.
        images = data.train_images[:: -(-len(data.train_labels) // MOST_IMAGES)]
        parameters = energy.unflatten(position)
        with torch.no_grad(), seeded(self.seed, images.device):
            labels = chunks.call(energy.network, parameters, images).softmax(-1).multinomial(1).squeeze(1)

        def loss(parts: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
            return energy.loss(chunks.call(energy.network, parts, image[None]), label[None]).sum()

        at_once = max(1, AT_ONCE // len(position))
        total = {name: torch.zeros_like(part) for name, part in energy.parts(position).items()}
        slopes = vmap(grad(loss), (None, 0, 0))
        for some, chosen in zip(images.split(at_once), labels.split(at_once), strict=True):
            for name, slope in slopes(parameters, some, chosen).items():
                turned = slope @ energy.bases[name] if name in energy.bases else slope
                total[name] += turned.square().sum(0)
        share = power * len(data.train_labels) / len(images) * energy.prior_scale**2
        return torch.cat([1 + share * self._averaged(name, part).flatten() for name, part in total.items()])

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
