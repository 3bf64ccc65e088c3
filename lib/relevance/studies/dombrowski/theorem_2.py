"""Softplus as an average over noise: exact for one layer, and what is left of it in deep networks.

(Dombrowski et al. 2019, arXiv:1906.07983, Theorem 2.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import integrate, special, stats
from torch import Tensor
from torch.nn import functional

from relevance.base import checks

# Beyond so many scales the logistic density is below 1e-26.
REACH = 60.0


def density(noise: np.ndarray | float, beta: float) -> np.ndarray:
    """Return p_beta(e) = beta / (exp(beta e / 2) + exp(-beta e / 2))^2, the logistic density of scale 1 / beta.

    Args:
        noise: any shape.
        beta: above 0.
    """
    checks.number("beta", beta, above=0)
    # With exponentials of negative numbers only, so that nothing overflows.
    decay = np.exp(-beta * np.abs(noise))
    return np.asarray(beta * decay / (1 + decay) ** 2)


def gaussian_sigma(beta: float) -> float:
    """Return log(2) sqrt(2 pi) / beta, the standard deviation that the source puts in the place of p_beta.

    It is the one at which E[relu(-e)], the smoothed ReLU at its kink, is that of softplus_beta, log(2) / beta.
    """
    return math.log(2) * math.sqrt(2 * math.pi) / checks.number("beta", beta, above=0)


def closed_form(weights: Tensor, points: Tensor, beta: float) -> Tensor:
    """Return the gradient of softplus_{beta / |w|}(w^T x) at ``points`` [n, d], by automatic differentiation: [n, d].

    Args:
        weights: w, [d], not zero.
        points: x, [n, d].
        beta: above 0.
    """
    size = _size(weights)
    with torch.enable_grad():
        leaf = points.detach().double().requires_grad_()
        outputs = functional.softplus(leaf @ weights.double(), checks.number("beta", beta, above=0) / size)
        return torch.autograd.grad(outputs.sum(), leaf)[0]


def by_quadrature(weights: Tensor, points: Tensor, beta: float) -> Tensor:
    """Return E[grad relu(w^T (x - e w / |w|))] with e from p_beta, by adaptive quadrature over e: [n, d].

    The integrand is computed as it stands, a gradient that jumps times a density. Arguments as for :func:`closed_form`.
    """
    size, factors = _size(weights), []
    checks.number("beta", beta, above=0)
    for along in (points.double() @ weights.double()).tolist():

        def integrand(noise: float, along: float = along) -> float:
            return float(along - size * noise > 0) * float(density(noise, beta))

        # Quadrature is told where the gradient jumps and where the density peaks.
        breaks = sorted({0.0, min(max(along / size, -REACH / beta), REACH / beta)})
        value, _ = integrate.quad(integrand, -REACH / beta, REACH / beta, points=breaks, epsabs=1e-10, limit=200)
        factors.append(value)
    return torch.tensor(factors, dtype=torch.float64)[:, None] * weights.double()


class Sampled(NamedTuple):
    """A mean of samples, [n], with its standard errors, as multiples of w."""

    mean: Tensor
    error: Tensor


def by_sampling(weights: Tensor, points: Tensor, beta: float, n_draws: int, seed: int = 0) -> Sampled:
    """Return E[grad relu(w^T (x - e))] by sampling noise e of all d components, as a multiple of w.

    The component of e along w is logistic. What is across w is normal, and much larger, which must not matter.

    Args:
        weights, points, beta: as for :func:`closed_form`.
        n_draws: at least 2.
        seed: of the noise.
    """
    size = _size(weights)
    checks.count("n_draws", n_draws, at_least=2)
    generator = np.random.default_rng(checks.seed("seed", seed))
    unit = (weights.double() / size).numpy()
    across = generator.normal(scale=10 / checks.number("beta", beta, above=0), size=(n_draws, len(unit)))
    noise = across - np.outer(across @ unit, unit) + np.outer(generator.logistic(scale=1 / beta, size=n_draws), unit)
    on = torch.from_numpy(
        (points.double().numpy() @ weights.double().numpy())[:, None] > noise @ weights.double().numpy()
    )
    mean = on.double().mean(1)
    return Sampled(mean, (mean * (1 - mean) / n_draws).sqrt())


def _size(weights: Tensor) -> float:
    size = weights.double().norm().item()
    if weights.ndim != 1 or not size > 0:
        raise ValueError(
            f"weights have shape {list(weights.shape)} and length {size:g}; they must be [d] and not zero."
        )
    return size


def theorem(
    weights: Tensor, points: Tensor, betas: Sequence[float], n_draws: int = 20_000, seed: int = 0
) -> pd.DataFrame:
    """Check Theorem 2 for one layer at some points.

    Returns:
        A row for each beta: the largest error of any component by quadrature; the largest error by sampling, in its
        standard errors; and the largest error of the slope with Gaussian noise in the place of p_beta, as a share of w,
        on a fine grid.
    """
    rows = []
    for beta in betas:
        exact = closed_form(weights, points, beta)
        sampled = by_sampling(weights, points, beta, n_draws, seed)
        share = (exact @ weights.double()) / _size(weights) ** 2
        # The exact error, not the estimated one: where no draw crosses the kink the estimate is zero.
        error = (share * (1 - share) / n_draws).sqrt().clamp(min=1 / n_draws)
        rows.append(
            {
                "beta": float(beta),
                "quadrature, largest error": (by_quadrature(weights, points, beta) - exact).abs().max().item(),
                "sampling, standard errors": ((sampled.mean - share).abs() / error).max().item(),
                "Gaussian noise, largest error": gaussian_curve(beta)["error"].abs().max(),
            }
        )
    return pd.DataFrame(rows).set_index("beta")


def gaussian_curve(beta: float, n_points: int = 2001) -> pd.DataFrame:
    """Return the slope of a smoothed ReLU with p_beta and with Gaussian noise, over beta x in [-8, 8], for |w| = 1."""
    scaled = np.linspace(-8, 8, n_points)
    at = scaled / checks.number("beta", beta, above=0)
    slopes = {"softplus": special.expit(beta * at), "Gaussian": stats.norm.cdf(at / gaussian_sigma(beta))}
    return pd.DataFrame({"beta x": scaled, **slopes, "error": slopes["Gaussian"] - slopes["softplus"]})


def spherical_logistic(shape: tuple[int, ...], beta: float, generator: np.random.Generator) -> np.ndarray:
    """Draw noise whose component in every direction has the density p_beta: [m, ...], each draw of one radius.

    A logistic variable is a normal one times twice a Kolmogorov variable (Andrews and Mallows 1974). With one such factor
    for all components of a normal vector, all its projections are logistic; independent logistic components are not.
    """
    factors = 2 * stats.kstwobign.ppf(generator.uniform(size=shape[0])) / checks.number("beta", beta, above=0)
    return np.asarray(factors.reshape(-1, *[1] * (len(shape) - 1)) * generator.normal(size=shape))
