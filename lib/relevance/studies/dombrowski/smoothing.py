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

from relevance.attacks import manipulation
from relevance.attacks.manipulation import Manipulation, towards_others
from relevance.base import checks
from relevance.explanations.expected import Explain
from relevance.explanations.smoothing import noise_grad, smooth_grad_of, softplus
from relevance.metrics.similarity import linear_similarity, rank_similarity
from relevance.networks.posterior import Posterior
from relevance.studies.store import kept

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


DEFENCES: dict[str, Callable[..., Explain]] = {BETA: softplus, SMOOTH_GRAD: smooth_grad_of, NOISE_GRAD: noise_grad}


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


def defences(
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


def search(network: Posterior, images: Tensor, plain: Explain, defence: Defence, how: Manipulation) -> Tensor:
    """Manipulate the map that a defence gives, knowing of it."""
    if defence.name == BETA:
        # What is explained is soft already, so that the steps may follow just that as well.
        how = replace(how, betas=(*how.betas, (defence.parameter, defence.parameter)))
    smoothed = defence.explain(plain)
    return towards_others(network, images, smoothed, smoothed, how)


def steadiness(
    network: Posterior,
    posterior: Posterior,
    images: Tensor,
    plain: Explain,
    defences: Sequence[Defence],
    how: Manipulation,
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

    Returns:
        A row for each defence, manipulation and image: ``defence``, ``parameter``, ``manipulation`` (:data:`UNAWARE` or
        :data:`AWARE`), ``image``, ``similarity`` (Pearson's correlation of the defence's maps before and after), ``ranks``
        (Spearman's), ``noise`` (the correlation under noise of the same norm), ``output_change`` and ``l2``.
    """
    none = Defence(NONE)
    plainly = kept(search, network, images, plain, none, how)
    parts = []
    for defence in defences:
        model = defence.model(network, posterior)
        shown = manipulation.shares(defence.explain(plain))
        for name in (UNAWARE, AWARE):
            found = plainly if name == UNAWARE or defence == none else kept(search, model, images, plain, defence, how)
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
        "similarity": linear_similarity(before, after),
        "ranks": rank_similarity(before, after),
        "noise": linear_similarity(before, noisy),
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
        wanted = manipulation.shares(smooth_grad_of(plain, noise, n_reference, seed=1))(network, images, target)
        methods = {("softplus", 1): softplus(plain, beta)}
        methods |= {(SMOOTH_GRAD, count): smooth_grad_of(plain, noise, count) for count in n_noises}
        for (name, copies), explain in methods.items():
            maps = manipulation.shares(explain)(network, images, target)
            taken, once = (_seconds(partial(way, network, images, target)) for way in (explain, plain))
            alike = linear_similarity(wanted, maps).nanmedian().item()
            rows.append({"beta": beta, "noise": noise, "method": name, "copies": copies, "correlation": alike,
                         "time": taken / once})  # fmt: skip
    return pd.DataFrame(rows)


def _seconds(work: Callable[[], Tensor], repeats: int = 5) -> float:
    """Return the shortest of several times, the one that other processes disturbed least."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)
