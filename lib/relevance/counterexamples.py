"""A network for which Theorem 1 holds for the direction of the gradient, and not for the gradient.

(Dombrowski et al. 2019, arXiv:1906.07983, Theorem 1.)
"""

from __future__ import annotations

import torch
from torch import nn

from relevance import attacks, bounds, curvature
from relevance.posterior import Posterior


def planted(beta: float, strength: float = 1.0) -> Posterior:
    """Return a softplus network with a flat level set on which the gradient changes all the same.

    g(x, y) = softplus(x + y) - softplus(y - x), times ``strength``, is zero where x is, for all y: a straight line,
    with curvature 0. Its gradient there, 2 strength sigmoid(beta y) along x, keeps its direction and not its length.
    """
    network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    samples = {
        "1.weight": torch.tensor([[1.0, 1.0], [-1.0, 1.0]]),
        "1.bias": torch.zeros(2),
        "3.weight": strength * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]),
        "3.bias": torch.zeros(2),
    }
    return attacks.softened(Posterior(network, {name: value[None].double() for name, value in samples.items()}), beta)


def told(beta: float = 3.0, reach: float = 1.0) -> str:
    """Say what the bound gives for :func:`planted` from y = -reach to y = reach, in both readings."""
    g = curvature.logit(planted(beta), 0)
    ends = g.coordinates(torch.tensor([[0.0, -reach], [0.0, reach]], dtype=torch.float64))
    walked, _ = bounds.path(g.function, ends[0], ends[1])
    return (
        f"Along {walked.length:g} of its level set the largest curvature is {walked.shape.largest.max().item():.1g}; the unit "
        f"normal turns by {walked.turned:.1g}, and the gradient changes by {walked.changed:.3g}, within the "
        f"{walked.gradient_bound:.3g} that the norm of the Hessian allows."
    )
