"""Softplus beside SmoothGrad in trained networks: where the identity for one layer is lost, and what brings it back.

(Dombrowski et al. 2019, arXiv:1906.07983, Theorem 2 and what follows it.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks
from relevance.explanations.gradient import gradient
from relevance.explanations.smoothing import smooth_grad, softened
from relevance.metrics.similarity import relative_error
from relevance.networks.posterior import Posterior
from relevance.studies.dombrowski import theorem_2

NONE, ONE, EACH = "no smoothing", "one beta for all neurons", "a beta for each neuron"
# Numbers in the derivatives of a layer that are taken together.
VALUES_AT_ONCE = 20_000_000
# Numbers of noise that are drawn at once.
DRAWN_AT_ONCE = 2_000_000


def dense(image_shape: tuple[int, ...], hidden: int, n_classes: int, depth: int) -> nn.Sequential:
    """Return a dense network of ``depth`` hidden layers of equal width, with leaky ReLUs, and all parameters zero.

    :func:`relevance.inference.sgd` draws its parameters; zeros make networks of the same shape the same for the store.
    """
    checks.count("depth", depth)
    widths = [math.prod(image_shape), *[checks.count("hidden", hidden)] * depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LeakyReLU()]
    network = nn.Sequential(*layers, nn.Linear(hidden, n_classes))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return network


def each_its_beta(posterior: Posterior, images: Tensor, target: Tensor, beta: float) -> Tensor:
    """Return gradient maps of a dense network in which every neuron has a beta of its own: [N, ...] as ``images``.

    Noise on the image reaches a neuron of the first layer times |w|, so the theorem gives it beta / |w|. It reaches
    deeper ones, as far as the layers are linear, times the length of the derivative of their input by the image, which
    stands in for |w| there; it is another one at each image, and held fixed when the gradient is taken.

    Args:
        posterior: one sample of a network of ``Flatten``, ``Linear`` and ``LeakyReLU`` or ``ReLU`` in turns.
        images: [N, C, H, W].
        target: [N].
        beta: above 0.

    Raises:
        ValueError: the posterior is another one.
    """
    checks.number("beta", beta, above=0)
    layers, slopes = _dense_layers(posterior)
    if not slopes:
        raise ValueError("the network has no hidden layer; there is nothing to smooth.")
    widest = max(weight.shape[0] for weight, _ in layers) * layers[0][0].shape[1]
    n_at_once = max(1, VALUES_AT_ONCE // widest)
    parts = zip(images.split(n_at_once), target.split(n_at_once), strict=True)
    return torch.cat([_each_its_beta(layers, slopes, some, chosen, beta) for some, chosen in parts])


def _each_its_beta(
    layers: list[tuple[Tensor, Tensor]], slopes: list[float], images: Tensor, target: Tensor, beta: float
) -> Tensor:
    activations = images.flatten(1)
    # Derivatives of the activations by the image: [N, width, d]; of the image itself the identity, left out.
    derivative: Tensor | None = None
    gates = []
    for (weight, bias), slope in zip(layers[:-1], slopes, strict=True):
        inputs = activations @ weight.T + bias
        by_image = weight.expand(len(images), *weight.shape) if derivative is None else weight @ derivative
        own = beta / by_image.norm(dim=2).clamp(min=1e-12)
        gates.append(slope + (1 - slope) * torch.sigmoid(own * inputs))
        activations = slope * inputs + (1 - slope) * functional.softplus(own * inputs) / own
        derivative = gates[-1][:, :, None] * by_image
    assert derivative is not None
    return torch.einsum("nk,nkd->nd", layers[-1][0][target], derivative).reshape(images.shape)


def _dense_layers(posterior: Posterior) -> tuple[list[tuple[Tensor, Tensor]], list[float]]:
    children = list(posterior.network.named_children())
    known = all(isinstance(module, (nn.Flatten, nn.Linear, nn.ReLU, nn.LeakyReLU)) for _, module in children)
    if len(posterior) != 1 or not known:
        raise ValueError(
            "a beta for each neuron is known for one sample of a dense network of Flatten, Linear and ReLU or LeakyReLU; "
            f"this is {len(posterior)} of {', '.join(type(module).__name__ for _, module in children)}."
        )
    layers = [
        (posterior.samples[f"{name}.weight"][0], posterior.samples[f"{name}.bias"][0])
        for name, module in children
        if isinstance(module, nn.Linear)
    ]
    activations = [module for _, module in children if isinstance(module, (nn.ReLU, nn.LeakyReLU))]
    return layers, [getattr(module, "negative_slope", 0.0) for module in activations]


def compare(
    posteriors: Mapping[str, Posterior],
    images: Tensor,
    target: Tensor,
    betas: Sequence[float],
    n_noise: int = 50,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare softplus with SmoothGrad at the sigma that stands for its beta, on trained networks.

    Args:
        posteriors: name -> one sample of a dense network with ReLUs, or leaky ones.
        images: [N, C, H, W] in [0, 1].
        target: [N].
        betas: above 0.
        n_noise: noisy copies of each of two runs of SmoothGrad, whose mean is compared.
        seed: of the noise.

    Returns:
        Rows of ``network``, ``beta``, ``sigma``, ``smoothing`` (none, which is the gradient as it is; one beta for all
        neurons; or one for each), and means over the images: Pearson's ``correlation`` of the maps; ``error``, their
        mean squared difference over SmoothGrad's mean square; the ``ceiling``, the correlation that an exact average
        would have with a mean of so few copies, by the two runs; and the ``error by chance`` of that mean.
    """
    rows = []
    for name, posterior in posteriors.items():
        plain = gradient(posterior, images, target)
        for beta in betas:
            sigma = theorem_2.gaussian_sigma(beta)
            runs = [
                smooth_grad(posterior, images, target, noise=sigma, n_noise=n_noise, seed=2 * seed + half)
                for half in (0, 1)
            ]
            mean = (runs[0] + runs[1]) / 2
            between = _correlations(*runs).clamp(min=0)
            maps = {
                NONE: plain,
                ONE: gradient(softened(posterior, beta), images, target),
                EACH: each_its_beta(posterior, images, target, beta),
            }
            # The mean of two runs has half the noise of one: r of two halves -> 2 r / (1 + r) (Spearman and Brown).
            ceiling = (2 * between / (1 + between)).sqrt().mean().item()
            chance = relative_error(mean, (runs[0] - runs[1]) / 2 + mean).mean().item()
            rows += [
                {
                    "network": name,
                    "beta": float(beta),
                    "sigma": sigma,
                    "smoothing": smoothing,
                    "correlation": _correlations(found, mean).mean().item(),
                    "error": relative_error(mean, found).mean().item(),
                    "ceiling": ceiling,
                    "error by chance": chance,
                }
                for smoothing, found in maps.items()
            ]
    return pd.DataFrame(rows)


def _correlations(first: Tensor, second: Tensor) -> Tensor:
    flat = (maps.flatten(1).double() for maps in (first, second))
    one, other = (values - values.mean(1, keepdim=True) for values in flat)
    return functional.cosine_similarity(one, other)


def exact_noise(
    posterior: Posterior, images: Tensor, target: Tensor, beta: float, n_draws: int = 20_000, seed: int = 0
) -> pd.DataFrame:
    """Smooth a network of one hidden layer with noise that is logistic in all directions, and compare with softplus.

    The neurons' mean slopes are sampled (with one hidden layer the gradient is linear in them), so that many draws are
    cheap.

    Returns:
        A row for each smoothing: the largest difference of a neuron's slope from its mean under the noise, in [0, 1],
        and the same in standard errors of the mean; ``error`` of the maps, as in :func:`compare`.
    """
    layers, slopes = _dense_layers(posterior)
    if len(slopes) != 1:
        raise ValueError(f"the network has {len(slopes)} hidden layers; this check is for one.")
    (weight, bias), slope = layers[0], slopes[0]
    inputs, sizes = (images.flatten(1) @ weight.T + bias).double(), weight.double().norm(dim=1)
    generator, on, done = np.random.default_rng(checks.seed("seed", seed)), torch.zeros_like(inputs), 0
    while done < n_draws:
        some = min(n_draws - done, max(1, DRAWN_AT_ONCE // weight.shape[1]))
        noise = (
            torch.from_numpy(theorem_2.spherical_logistic((some, weight.shape[1]), beta, generator)) @ weight.double().T
        )
        on += torch.stack([(one > noise).sum(0) for one in inputs])
        done += some
    mean = on / n_draws

    def maps(gate: Tensor) -> Tensor:
        return (layers[1][0][target].double() * (slope + (1 - slope) * gate)) @ weight.double()

    rows = {}
    for name, own in ((ONE, torch.full_like(sizes, beta)), (EACH, beta / sizes)):
        gate = torch.sigmoid(own * inputs)
        error = (mean * (1 - mean) / n_draws).sqrt().clamp(min=1 / n_draws)
        rows[name] = {
            "slope, largest difference": (gate - mean).abs().max().item(),
            "in standard errors": ((gate - mean).abs() / error).max().item(),
            "error of the maps": relative_error(maps(mean), maps(gate)).mean().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("smoothing")
