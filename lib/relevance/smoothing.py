"""Defences that smooth explanations: softplus for kinks, noise on the image, noise on the weights, a posterior.

Each turns a method of explanation into another one, so that it can be attacked, by who knows of it and by who does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, manipulation, robustness
from relevance.manipulation import Explain, Keeper, Manipulation
from relevance.posterior import Posterior

BETA, SMOOTH_GRAD, NOISE_GRAD, POSTERIOR, NONE = "softplus", "SmoothGrad", "NoiseGrad", "posterior", "none"
# What is written beside the parameter, and whether more of it is smoother.
PARAMETERS = {BETA: "beta", SMOOTH_GRAD: "noise", NOISE_GRAD: "noise", POSTERIOR: "samples", NONE: ""}
# What axes call the parameters.
NAMES = {
    BETA: "beta",
    SMOOTH_GRAD: "noise on the image [pixel range]",
    NOISE_GRAD: "noise on the weights [share]",
    POSTERIOR: "samples",
}
UNAWARE, AWARE = "of the plain map", "of the smoothed map"


def softplus(explain: Explain, beta: float) -> Explain:
    """Return the method on the network with softplus of sharpness ``beta`` for its kinks (Dombrowski et al., Sec. 3.2).

    A network that is soft already, such as one whose kinks an attack has replaced, stays as it is.
    """
    checks.number("beta", beta, above=0)
    ready: dict[int, tuple[Posterior, Posterior]] = {}

    def smoothed(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        known = ready.get(id(posterior))
        if known is None or known[0] is not posterior:
            known = ready[id(posterior)] = (posterior, attacks.softened(posterior, beta))
        return explain(known[1], images, target)

    return smoothed


def smooth_grad(explain: Explain, noise: float, n_noise: int = 10, seed: int = 0) -> Explain:
    """Return the mean of the method's maps at noisy copies of the image (Smilkov et al. 2017, arXiv:1706.03825).

    Args:
        explain: any method.
        noise: standard deviation, in units of the pixel range; at least 0. Copies for the gradient may leave [0, 1], as in
            :func:`relevance.explanations.smooth_grad`; for other methods, which take no such image, they are cut to it.
        n_noise: copies.
        seed: of the noise, the same for all images.
    """
    checks.number("noise", noise, at_least=0)
    checks.count("n_noise", n_noise)
    if explain is explanations.gradient:
        # Noise that is cut is no longer Gaussian, nor of mean zero: Theorem 2 says nothing of it.
        return partial(explanations.smooth_grad, noise=noise, n_noise=n_noise, seed=seed)

    def smoothed(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        total = torch.zeros(())
        for _ in range(n_noise):
            drawn = torch.randn(images.shape[1:], generator=generator, dtype=torch.float64).to(images)
            total = total + explain(posterior, (images + noise * drawn).clamp(0, 1), target)
        return total / n_noise

    return smoothed


def noise_grad(explain: Explain, noise: float, n_noise: int = 10, seed: int = 0) -> Explain:
    """Return the mean of the method's maps over networks with noise on the weights (Bykov et al. 2022, arXiv:2106.10185).

    Weights are multiplied by 1 + ``noise`` times a standard normal number: such networks are a posterior of ``n_noise`` samples
    around each sample, and the mean over them is the expected map.

    Args:
        explain: any method that takes a posterior with another number of samples.
        noise: standard deviation of the factor; at least 0.
        n_noise: networks for each sample.
        seed: of the noise.
    """
    checks.number("noise", noise, at_least=0)
    checks.count("n_noise", n_noise)

    def smoothed(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        return explain(shaken(posterior, noise, n_noise, seed), images, target)

    return smoothed


def shaken(posterior: Posterior, noise: float, n_noise: int, seed: int = 0) -> Posterior:
    """Return a posterior of ``n_noise`` noisy copies of every sample, as :func:`noise_grad` explains them."""
    generator = torch.Generator().manual_seed(seed)
    samples = {}
    for name, value in posterior.samples.items():
        shape = (n_noise, *value.shape)
        factor = 1 + noise * torch.randn(shape, generator=generator, dtype=torch.float64).to(value)
        samples[name] = (value * factor).flatten(0, 1)
    return Posterior(posterior.network, samples, posterior.record)


DEFENCES: dict[str, Callable[..., Explain]] = {BETA: softplus, SMOOTH_GRAD: smooth_grad, NOISE_GRAD: noise_grad}


@dataclass(frozen=True)
class Defence:
    """A way of smoothing with its parameter.

    Attributes:
        name: ``"softplus"`` (parameter: beta), ``"SmoothGrad"`` or ``"NoiseGrad"`` (standard deviation of the noise),
            ``"posterior"`` (number of samples) or ``"none"``.
        parameter: see above.
        n_noise: copies, where there is noise.
    """

    name: str
    parameter: float = 0.0
    n_noise: int = 10

    def __post_init__(self) -> None:
        checks.one_of("defence", self.name, PARAMETERS)

    def explain(self, plain: Explain) -> Explain:
        """Return the method as this defence smooths it; for a posterior it is the network, not the method, that changes."""
        if self.name == BETA:
            return softplus(plain, self.parameter)
        if self.name in DEFENCES:
            return DEFENCES[self.name](plain, self.parameter, self.n_noise)
        return plain

    def model(self, network: Posterior, posterior: Posterior) -> Posterior:
        """Return the model that this defence explains: the network, or samples of the posterior."""
        return posterior.thinned(int(self.parameter)) if self.name == POSTERIOR else network

    def __str__(self) -> str:
        return f"{self.name}, {PARAMETERS[self.name]} {self.parameter:g}" if self.name != NONE else "no smoothing"


def grid(
    betas: Sequence[float], noise: Mapping[str, Sequence[float]], counts: Sequence[int], n_noise: int
) -> list[Defence]:
    """Return no defence, and every defence at every value of its parameter.

    Args:
        betas: of softplus.
        noise: ``"image"`` -> standard deviations for SmoothGrad, ``"weights"`` -> for NoiseGrad.
        counts: samples of the posterior.
        n_noise: copies, where there is noise.
    """
    values = {BETA: betas, SMOOTH_GRAD: noise["image"], NOISE_GRAD: noise["weights"], POSTERIOR: counts}
    return [Defence(NONE), *(Defence(name, value, n_noise) for name, some in values.items() for value in some)]


def attacked(network: Posterior, images: Tensor, aims_of: Explain, explain: Explain, how: Manipulation) -> Tensor:
    """Manipulate images of one model: :func:`relevance.manipulation.manipulated` with the maps of other images as targets.

    Args:
        network: the model.
        images: [N, C, H, W], at least 2.
        aims_of: the method whose maps of the other images are aimed at.
        explain: the method that is attacked.
        how: settings.
    """
    target = network.predict(images).argmax(1)
    with torch.no_grad():
        aims = manipulation.shares(aims_of)(network, images, target).roll(1, 0)
    return manipulation.manipulated(network, images, target, manipulation.shares(explain), aims, how)


def search(network: Posterior, images: Tensor, plain: Explain, defence: Defence, how: Manipulation) -> Tensor:
    """Manipulate the map that a defence gives, knowing of it."""
    if defence.name == BETA:
        # What is explained is soft already, so that the steps may follow just that as well.
        how = replace(how, betas=(*how.betas, (defence.parameter, defence.parameter)))
    smoothed = defence.explain(plain)
    return attacked(network, images, smoothed, smoothed, how)


def measured(
    network: Posterior,
    posterior: Posterior,
    images: Tensor,
    plain: Explain,
    defences: Sequence[Defence],
    how: Manipulation,
    keep: Keeper = lambda function, *arguments: function(*arguments),
) -> pd.DataFrame:
    """Attack the maps of every defence, by who knows of it and by who does not.

    Who does not know of it manipulates the network's plain map; the images found are then explained with the defence. Who
    does, manipulates the smoothed map itself.

    Args:
        network: a single network.
        posterior: of the same architecture.
        images: [N, C, H, W] in [0, 1], at least 2.
        plain: the method without any smoothing, such as :func:`relevance.explanations.gradient`.
        defences: what is compared.
        how: settings of the manipulation.
        keep: calls a function with arguments and may find its result on disk, as :func:`relevance.store.kept`.

    Returns:
        A row for each defence, manipulation and image: ``defence``, ``parameter``, ``manipulation`` (:data:`UNAWARE` or
        :data:`AWARE`), ``image``, ``similarity`` (Pearson's correlation of the defence's maps before and after), ``ranks``
        (Spearman's), ``noise`` (the correlation under noise of the same norm), ``output_change`` and ``l2``.
    """
    none = Defence(NONE)
    plainly = keep(search, network, images, plain, none, how)
    parts = []
    for defence in defences:
        model = defence.model(network, posterior)
        shown = manipulation.shares(defence.explain(plain))
        for name in (UNAWARE, AWARE):
            found = plainly if name == UNAWARE or defence == none else keep(search, model, images, plain, defence, how)
            parts.append(_rows(model, images, found, shown, how).assign(
                defence=defence.name, parameter=defence.parameter, manipulation=name))  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    first = ["defence", "parameter", "manipulation", "image"]
    return rows[[*first, *rows.columns.drop(first)]]


def _rows(model: Posterior, images: Tensor, found: Tensor, shown: Explain, how: Manipulation) -> pd.DataFrame:
    target = model.predict(images).argmax(1)
    control = manipulation.noised(images, found, how.seed)
    with torch.no_grad():
        before, after, noisy = (shown(model, some, target) for some in (images, found, control))
    columns: dict[str, Any] = {
        "similarity": robustness.linear_similarity(before, after),
        "ranks": robustness.rank_similarity(before, after),
        "noise": robustness.linear_similarity(before, noisy),
        "output_change": (model.predict(found) - model.predict(images)).abs().amax(1),
        "l2": (found - images).flatten(1).norm(dim=1),
    }
    rows = pd.DataFrame({name: value.detach().cpu().numpy() for name, value in columns.items()})
    return rows.assign(image=np.arange(len(rows)))


def quality(
    network: Posterior,
    images: Tensor,
    plain: Explain,
    pairs: Mapping[float, float],
    n_noises: Sequence[int],
    n_reference: int = 200,
) -> pd.DataFrame:
    """Compare softplus with SmoothGrad in what they show and in run time, measured in turn in one run.

    Args:
        network: a single network.
        images: [N, C, H, W].
        plain: the method.
        pairs: beta -> the standard deviation of SmoothGrad's noise that belongs to it.
        n_noises: numbers of copies for SmoothGrad.
        n_reference: copies of the SmoothGrad that both are compared with.

    Returns:
        A row for each pair and method: ``beta``, ``noise``, ``method``, ``copies``, ``correlation`` with the reference of other
        noise (median over images), and ``time``, in units of the plain map's.
    """
    target = network.predict(images).argmax(1)
    rows = []
    for beta, noise in pairs.items():
        wanted = manipulation.shares(smooth_grad(plain, noise, n_reference, seed=1))(network, images, target)
        methods = {("softplus", 1): softplus(plain, beta)}
        methods |= {(SMOOTH_GRAD, count): smooth_grad(plain, noise, count) for count in n_noises}
        for (name, copies), explain in methods.items():
            maps = manipulation.shares(explain)(network, images, target)
            taken, once = (_seconds(partial(way, network, images, target)) for way in (explain, plain))
            alike = robustness.linear_similarity(wanted, maps).nanmedian().item()
            rows.append({"beta": beta, "noise": noise, "method": name, "copies": copies, "correlation": alike,
                         "time": taken / once})  # fmt: skip
    return pd.DataFrame(rows)


def compared(rows: pd.DataFrame) -> str:
    """Say, from :func:`quality`, whether softplus shows what SmoothGrad does, and how much sooner."""
    soft, rest = rows[rows["method"] == BETA], rows[rows["method"] == SMOOTH_GRAD]
    fewest = rest[rest["copies"] == rest["copies"].min()]
    factor = (fewest["time"].to_numpy() / soft["time"].to_numpy()).mean()
    worst, best = (soft.iloc[int(place)] for place in (soft["correlation"].argmin(), soft["correlation"].argmax()))
    nearer = (fewest["correlation"].to_numpy() > soft["correlation"].to_numpy()).sum()
    return (
        f"The map under softplus correlates {best['correlation']:.3f} with that of SmoothGrad at beta {best['beta']:g} and "
        f"{worst['correlation']:.3f} at beta {worst['beta']:g}. It takes {soft['time'].mean():.1f} plain maps, SmoothGrad with "
        f"{int(fewest['copies'].iloc[0])} copies {factor:.0f} times as long, and its maps are nearer to the reference in "
        f"{nearer} of {len(soft)} cases."
    )


def _seconds(work: Callable[[], Tensor], repeats: int = 5) -> float:
    """Return the shortest of several times, the one that other processes disturbed least."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)
