"""Deep ensembles: networks that differ only in their seed (Lakshminarayanan et al. 2017)."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from relevance.base import checks
from relevance.base.environment import bar
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How every member is trained.

    Attributes:
        n_samples: members.
        prior_scale: standard deviation of a normal prior, with which every member is a MAP estimate
            (:func:`relevance.inference.map_estimate`); if None, the members minimise the loss alone.
    """

    n_samples: int = checks.whole(10)
    prior_scale: float | None = checks.real(None, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.seed("seed", self.seed, after=self.n_samples - 1)


def deep_ensemble(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train ``n_samples`` networks by SGD, with seeds ``seed``, ``seed + 1``, ...; each is a sample of the posterior.

    It is not Bayesian inference: the members are minima of the same loss (arXiv:1612.01474), or maxima of the same
    posterior's density, where there is a prior.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. There is one
    history for each sample.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    terms = None if chosen.prior_scale is None else training.prior_terms(chosen.prior_scale, data)
    given = {name: value for name, value in asdict(chosen).items() if name not in {"n_samples", "prior_scale"}}
    members, histories = [], []
    with bar(chosen.n_samples, "ensemble", "member", show=progress) as shown:
        for index in range(chosen.n_samples):
            one = TrainingSettings(**(given | {"seed": chosen.seed + index}))
            model, history = fit(network, data, one, "member", terms=terms, show=False)
            members.append(model)
            histories.append(history)
            shown.update()
    record = training.record("deep_ensemble", data, asdict(chosen), started, history=histories)
    return Posterior(members[0], training.stacked(members), record)
