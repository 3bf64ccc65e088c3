"""The most probable weights under the posterior's own prior: one network, which neither averages nor forgets the prior."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the weights are sought.

    Attributes:
        epochs: passes over the training images; the prior holds weights back, and takes time.
        prior_scale: standard deviation of the normal prior of every weight and bias.
    """

    epochs: int = checks.whole(60)
    prior_scale: float = checks.real(0.1, above=0)


def map_estimate(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Seek the weights that maximise the posterior's density with Adam; return them as a posterior of one sample.

    The density is that of :func:`relevance.inference.hmc`: the softmax's likelihood of all training images, and a normal
    prior with standard deviation ``prior_scale``. It has many maxima; the seed chooses the one that is found.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The history's
    ``"penalty"`` is the prior's share of the energy, for each image.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    training.check(network, data)
    terms = training.prior_terms(chosen.prior_scale, len(data.train_labels))
    model, history = fit(network, data, chosen, "MAP", terms=terms, show=progress)
    return Posterior.of(model, training.record("map_estimate", data, asdict(chosen), started, history=history))
