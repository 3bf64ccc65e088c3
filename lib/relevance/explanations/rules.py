"""Rules of layer-wise relevance propagation, as small declarative pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from relevance import checks


@runtime_checkable
class Rule(Protocol):
    """How a linear layer shares the relevance of its outputs among its inputs."""

    def share(self, inputs: Tensor, weight: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs.

        Args:
            inputs: activations a_j that entered the layer, [N, J].
            weight: w_kj, [K, J].
            outputs: z_k = sum_j a_j w_kj + b_k, [N, K], as the forward pass computed them.
            relevance: R_k, [N, K].

        Returns:
            R_j, [N, J].
        """
        ...


def stabilised(outputs: Tensor, epsilon: float) -> Tensor:
    """Return z + epsilon s(z), pushed away from zero; s is the sign, with s(0) = +1."""
    return outputs + torch.where(outputs >= 0, epsilon, -epsilon)


@dataclass(frozen=True)
class Epsilon:
    """R_j = sum_k a_j w_jk / (z_k + epsilon s(z_k)) R_k, with z_k including the bias.

    The bias and the stabiliser keep their share: with zero biases, the relevance is conserved as epsilon goes to 0.
    (Bach et al. 2015, Eq. 58; Carbone et al., Sec. VII-D.)

    Attributes:
        epsilon: at least 0; the paper takes 0.1. With 0, a neuron of z = 0 passes no relevance on.
    """

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        checks.number("epsilon", self.epsilon, at_least=0)

    def share(self, inputs: Tensor, weight: Tensor, outputs: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the inputs (see :class:`Rule`)."""
        divisor = stabilised(outputs, self.epsilon)
        if self.epsilon == 0:
            # z = 0 leaves 0 / 0; an infinite divisor makes it 0, also in derivatives.
            divisor = divisor.where(divisor != 0, torch.inf)
        return inputs * ((relevance / divisor) @ weight)
