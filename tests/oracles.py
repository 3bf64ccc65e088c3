"""How far off a random result may be: a number of its own standard errors, and never a number that some machine gave.

Another CPU rounds differently, so its chains and trainings go elsewhere. What does not change is what they are draws of.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

# Standard errors that a mean may be off: of a normal variable, once in 150,000 cases.
MOST = 4.5


def effective_size(draws: Tensor) -> Tensor:
    """Return how many independent draws have a mean as exact as that of each component of one chain, [...] of [S, ...]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # arviz 0.x announces its successor on import
        import arviz
    chain = draws.flatten(1)[None].double().numpy()
    found = arviz.ess(arviz.convert_to_dataset({"x": chain}), method="mean")["x"].values
    return torch.as_tensor(found).reshape(draws.shape[1:])


def standard_error(draws: Tensor, *, chain: bool = False) -> Tensor:
    """Return the standard error of the mean over the first dimension: sd / sqrt(n), with n the effective size of a chain."""
    size = effective_size(draws) if chain else torch.tensor(float(len(draws)))
    return draws.double().std(0) / size.sqrt()


def errors_off(draws: Tensor, wanted: Tensor | float, *, chain: bool = False) -> Tensor:
    """Return by how many standard errors the mean over the first dimension misses what is wanted."""
    return (draws.double().mean(0) - wanted) / standard_error(draws, chain=chain)


def moments_off(draws: Tensor, mean: Tensor, covariance: Tensor, *, chain: bool = False) -> Tensor:
    """Return by how many standard errors the means and covariances of draws [S, D] are off, [D + D^2].

    The covariance is the mean of products of what is left when the true mean is taken away, so it too is a mean of draws.
    """
    left = draws - mean
    products = (left[:, :, None] * left[:, None, :]).flatten(1)
    return torch.cat([errors_off(draws, mean, chain=chain), errors_off(products, covariance.flatten(), chain=chain)])
