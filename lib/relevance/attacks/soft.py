"""Networks without kinks, for attacks that need a second derivative: softplus in place of ReLU and leaky ReLU."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from relevance import checks
from relevance.explanations.graph import RelevanceGraph
from relevance.explanations.steps import pass_on, register
from relevance.posterior import Posterior


class SoftLeakyReLU(nn.Module):
    """slope x + (1 - slope) softplus(x), with softplus(x) = log(1 + exp(beta x)) / beta: leaky ReLU as beta grows.

    (Dombrowski et al. 2019, arXiv:1906.07983, Sec. 2.1, for a slope of 0.)

    Args:
        beta: sharpness, above 0.
        slope: for negative inputs, in [0, 1].
    """

    def __init__(self, beta: float, slope: float = 0.0) -> None:
        super().__init__()
        self.beta = checks.number("beta", beta, above=0)
        self.slope = checks.number("slope", slope, at_least=0, at_most=1)

    def extra_repr(self) -> str:
        """Return the settings, for the network's description."""
        return f"beta={self.beta}, slope={self.slope}"

    def forward(self, x: Tensor) -> Tensor:
        """Return the soft activations of x, of any shape."""
        return self.slope * x + (1 - self.slope) * functional.softplus(x, self.beta)


register(SoftLeakyReLU, pass_on)


def softened(posterior: Posterior, beta: float) -> Posterior:
    """Return the posterior with a :class:`SoftLeakyReLU` for every ReLU and leaky ReLU of its network.

    The posterior that is given, and its network, stay as they are. Maxima of pools stay too.

    Raises:
        ValueError: beta is not above 0, or the network calls relu as a function, which cannot be replaced.
    """
    checks.number("beta", beta, above=0)
    network = copy.deepcopy(posterior.network)
    for parent in list(network.modules()):
        # Not named_children, which gives a module that is used twice once.
        for name, child in list(parent._modules.items()):
            if isinstance(child, (nn.ReLU, nn.LeakyReLU)):
                setattr(parent, name, SoftLeakyReLU(beta, getattr(child, "negative_slope", 0.0)))
    modules = dict(network.named_modules())
    for step in RelevanceGraph(network).steps.values():
        if step.activation and step.layer in {"relu", "leaky_relu"} and step.layer not in modules:
            raise ValueError(
                f"the network calls {step.layer} as a function, which cannot be softened; it must be a module, such as "
                "torch.nn.ReLU()."
            )
    if settings := getattr(network, "settings", None):
        # What is saved under the architecture's name would come back with its kinks.
        named: Any = network
        named.settings = {**settings, "architecture": f"softened {settings['architecture']}"}
    return Posterior(network, posterior.samples, posterior.record)
