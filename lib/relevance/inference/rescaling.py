"""Draws along directions that the likelihood does not see: the scales of hidden units.

A unit whose activation is positively homogeneous, as ReLU is, may take all that comes to it times a, and hand it on divided by a:
the network computes the same. Only the prior holds a, and given all else its distribution is known. Leapfrog steps follow such a
valley slowly, since it is curved and its walls are steep; a draw along it is a generalised Gibbs step (Liu and Sabatti 2000,
doi:10.1093/biomet/87.2.353) that leaves the posterior as it is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from relevance.base import chunks
from relevance.inference.energy import Coordinates, NetworkEnergy

# Images on which it is seen whether scales make no difference.
N_IMAGES = 64
# Proposals of a draw; nearly all are accepted.
N_PROPOSALS = 2
# The proposal's deviation beside that of the normal distribution with the same mode and curvature.
WIDER = 1.05


class Hidden(NamedTuple):
    """A layer of hidden units: names of the weight and the bias that lead to them, and of the weight that leads away."""

    weight: str
    bias: str | None
    after: str


class Rescaling:
    """The scales of a network's hidden units, as far as they are free; called, it draws them.

    Args:
        energy: the posterior.
        coordinates: of its positions.
    """

    def __init__(self, energy: NetworkEnergy, coordinates: Coordinates) -> None:
        self.energy = energy
        self.layers = [hidden for hidden in _pairs(energy, coordinates) if _is_free(energy, hidden)]

    def __call__(self, position: Tensor, generator: torch.Generator) -> Tensor:
        """Return a position [D] that differs from ``position`` in the scales of hidden units only, which are drawn anew."""
        parts = {name: part.clone() for name, part in self.energy.parts(position).items()}
        for hidden in self.layers:
            into, basis = parts[hidden.weight], self.energy.bases.get(hidden.after)
            away = parts[hidden.after] if basis is None else parts[hidden.after] @ basis.T
            before = into.double().square().sum(1)
            if hidden.bias is not None:
                before = before + parts[hidden.bias].double().square()
            n_before = into.shape[1] + (hidden.bias is not None)
            scale = _drawn(
                before * self.energy.precision, away.double().square().sum(0) * self.energy.precision,
                (n_before - len(away)) / 2, generator,
            ).to(into)  # fmt: skip
            parts[hidden.weight] = into * scale[:, None]
            if hidden.bias is not None:
                parts[hidden.bias] = parts[hidden.bias] * scale
            parts[hidden.after] = away / scale if basis is None else (away / scale) @ basis
        return torch.cat([part.flatten() for part in parts.values()])


def _pairs(energy: NetworkEnergy, coordinates: Coordinates) -> list[Hidden]:
    """Return the dense layers that follow each other, and may have a homogeneous activation between them."""
    found = []
    named = list(coordinates.layers.items())
    for (weight, first), (after, second) in pairwise(named):
        if all(type(layer.module) is nn.Linear and layer.calls == 1 for layer in (first, second)) and (
            first.module.out_features == second.module.in_features
        ):
            bias = weight.removesuffix("weight") + "bias"
            found.append(Hidden(weight, bias if bias in energy.names else None, after))
    return found


def _is_free(energy: NetworkEnergy, hidden: Hidden) -> bool:
    """Return whether a network computes the same when its hidden units are scaled by powers of 2, which rounds nothing."""
    network, images = energy.network, energy.data.train_images[:N_IMAGES]
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    scale = 2.0 ** (torch.arange(len(parameters[hidden.weight]), device=images.device) % 3 - 1).to(images)
    scaled = {hidden.weight: parameters[hidden.weight] * scale[:, None], hidden.after: parameters[hidden.after] / scale}
    if hidden.bias is not None:
        scaled[hidden.bias] = parameters[hidden.bias] * scale
    with torch.no_grad():
        one, other = (chunks.call(network, some, images) for some in (parameters, parameters | scaled))
    return torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def _drawn(before: Tensor, after: Tensor, power: float, generator: torch.Generator) -> Tensor:
    """Draw factors a [H] with a density of a^(2 power) exp(-(before a^2 + after / a^2) / 2) by the measure da / a.

    The density of u = log a^2 is log-concave; proposals are normal around its mode, whatever the factor is now, which is 1.
    """
    top = (power + (power**2 + before * after).sqrt()) / before
    deviation = WIDER * ((before * top + after / top) / 2).rsqrt()

    def log_ratio(u: Tensor) -> Tensor:
        """Return the log of the density beside that of the proposal, up to a constant."""
        distance = (u - top.log()) / deviation
        return power * u - (before * u.exp() + after * (-u).exp()) / 2 + distance**2 / 2

    now = torch.zeros_like(before)
    for _ in range(N_PROPOSALS):
        noise, uniform = (
            draw(before.shape, generator=generator, dtype=before.dtype, device=before.device)
            for draw in (torch.randn, torch.rand)
        )
        proposed = top.log() + deviation * noise
        now = torch.where(uniform.log() < log_ratio(proposed) - log_ratio(now), proposed, now)
    return (now / 2).exp()
