"""Theorem IV.1 where its limits can be taken: a posterior of infinitely wide networks, in closed form.

A dense ReLU network of normal weights becomes a Gaussian process as its layers widen (Neal 1996; Lee et al. 2018,
arXiv:1711.00165), with the arc-cosine kernel (Cho and Saul 2009), and its posterior that of the process (Hron et al. 2020,
arXiv:2006.10541). So are its slopes: their mean and covariance at a point are derivatives of the kernel. A known function is
regressed on, since an infinite log-odds is none: with enough points every draw equals it on the manifold, as the theorem asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.func import jacfwd, vmap

from relevance.base import checks
from relevance.studies.carbone.geometry import ALONG, CURVED
from relevance.studies.carbone.manifolds import MANIFOLDS, Manifold

# Standard deviation of the noise that the data are said to have, in that of the function.
NOISE = 1e-3
SHARE = "normal share"


class Prior(NamedTuple):
    """Normal weights of a dense ReLU network; a layer's have a variance divided by its number of inputs.

    Attributes:
        n_layers: hidden ones.
        weight: variance, before it is divided; 2 keeps the size of what layers hand on.
        bias: variance of biases.
        scale: of the outputs, as a factor of their standard deviation.
    """

    n_layers: int = 2
    weight: float = 2.0
    bias: float = 0.1
    scale: float = 1.0


def kernel(first: Tensor, second: Tensor, prior: Prior) -> Tensor:
    """Return the covariance of the outputs at two sets of points.

    Args:
        first, second: [N, d], [M, d].
        prior: of the network.

    Returns:
        [N, M].
    """
    inputs = first.shape[-1]
    own, others = (prior.bias + prior.weight * points.square().sum(-1) / inputs for points in (first, second))
    shared = prior.bias + prior.weight * first @ second.T / inputs
    for _ in range(prior.n_layers):
        sizes = (own[:, None] * others).sqrt()
        cosine = (shared / sizes).clamp(-1, 1 - torch.finfo(first.dtype).eps)
        angle = cosine.arccos()
        shared = prior.bias + prior.weight / (2 * math.pi) * sizes * (angle.sin() + (math.pi - angle) * cosine)
        own, others = (prior.bias + prior.weight / 2 * sizes for sizes in (own, others))
    return prior.scale**2 * shared


def slope_variance(inputs: int, prior: Prior) -> float:
    """Return the prior variance of a slope, the same in all directions and at all points.

    A ReLU lets half of all slopes through, whatever they are: a hidden unit and its slopes are as likely as their negatives.
    """
    return prior.scale**2 * prior.weight / inputs * (prior.weight / 2) ** prior.n_layers


def slopes(points: Tensor, train: Tensor, values: Tensor, prior: Prior) -> tuple[Tensor, ...]:
    """Return what the posterior knows at points that are not among those of training.

    Args:
        points: [N, d].
        train: [M, d].
        values: [M], of the function there.
        prior: of the network.

    Returns:
        The mean of the outputs [N], their variance [N], the mean of the slopes [N, d] and their covariance [N, d, d].
    """
    noise = (NOISE * values.square().mean().sqrt()) ** 2
    root = torch.linalg.cholesky(kernel(train, train, prior) + noise * torch.eye(len(train)).to(train))
    solved = torch.cholesky_solve(values[:, None], root)[:, 0]

    def beside(point: Tensor) -> Tensor:
        return kernel(point[None], train, prior)[0]

    covariances, jacobians = vmap(beside)(points), vmap(jacfwd(beside))(points)
    whitened = torch.linalg.solve_triangular(root, covariances.T, upper=False)
    itself = kernel(points, points, prior).diagonal()
    explained = torch.linalg.solve_triangular(root, jacobians.transpose(0, 1).flatten(1), upper=False)
    explained = explained.unflatten(1, (len(points), -1))
    covariance = slope_variance(points.shape[1], prior) * torch.eye(points.shape[1]).to(points)
    return (
        covariances @ solved,
        (itself - whitened.square().sum(0)).clamp(min=0),
        torch.einsum("nmd,m->nd", jacobians, solved),
        covariance - torch.einsum("mnd,mne->nde", explained, explained),
    )


def case(manifold: Manifold, prior: Prior) -> dict[str, float]:
    """Return what is left of the slopes along a manifold and across it, in the space that it spans.

    Out of that space nothing is left: the kernel has no slope there. The function is :func:`known`.

    Returns:
        ``error``, the root mean square by which draws differ from the function at the test points, in the function's own;
        :data:`geometry.ALONG` and :data:`geometry.CURVED`, the share of its squared length that the average keeps of each part;
        ``normal share``, how much of the averaged slope's squared length is across, which no scale of the prior changes.
    """
    basis = manifold.span[:, :-1].double()  # the last direction is that of grey
    images = (manifold.data.train_images, manifold.data.test_images)
    train, test = ((some.flatten(1).double() - 0.5) @ basis for some in images)
    unit = train.square().mean().sqrt()
    train, test = train / unit, test / unit
    values, wanted = (known(points) for points in (train, test))
    mean, variance, slope, covariance = slopes(test, train, values, prior)
    along = basis.T @ manifold.tangent.double()
    along = along @ along.mT
    parts = {ALONG: along, CURVED: torch.eye(len(basis.T)).to(along) - along}
    averaged = {name: torch.einsum("nd,nde,ne->n", slope, part, slope).mean() for name, part in parts.items()}
    spread = {name: torch.einsum("nde,ned->n", part, covariance).mean() for name, part in parts.items()}
    off = ((mean - wanted).square() + variance).mean() / wanted.square().mean()
    return {
        "error": off.sqrt().item(),
        **{name: (averaged[name] / (averaged[name] + spread[name])).item() for name in parts},
        SHARE: (averaged[CURVED] / (averaged[ALONG] + averaged[CURVED])).item(),
    }


def known(points: Tensor) -> Tensor:
    """Return the function that is regressed on, of coordinates [N, d]; on the sphere its sign is the class."""
    return points[:, 0] * points[:, 1]


def sweep(names: Sequence[str], n_trains: Sequence[int], scales: Sequence[float]) -> pd.DataFrame:
    """Return :func:`case` for all manifolds, numbers of training points and scales of the prior: a row for each."""
    rows = []
    for name in names:
        for count in n_trains:
            manifold = MANIFOLDS[checks.one_of("name", name, MANIFOLDS)](checks.count("n_trains", count, at_least=4))
            for scale in scales:
                found = case(manifold, Prior(scale=checks.number("scales", scale, above=0)))
                rows.append({"manifold": name, "training points": count, "prior scale": scale, **found})
    return pd.DataFrame(rows)
