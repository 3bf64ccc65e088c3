"""A deterministic network: stochastic gradient descent on the cross-entropy, a posterior of one sample."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from torch import nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings, fit
from relevance.networks.posterior import Posterior


def sgd(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a network on the cross-entropy with Adam; return it as a posterior of one sample.

    The same arguments give the same network on the same machine; ``network`` is left as it is.

    Every algorithm of this room takes these arguments, with settings of its own, and refuses what this one does.

    Args:
        network: the architecture.
        data: its training images and labels are used.
        progress: show a progress bar.
        settings: fields of ``Settings`` of the algorithm's module, here :class:`Settings`.

    Returns:
        A posterior of one sample; ``record["history"]`` has loss and accuracy of every epoch, both of the training
        batches as they were seen.

    Raises:
        ValueError: a setting is not what it may be, the network does not fit the data, or the loss is not finite.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    model, history = fit(network, data, chosen, "SGD", show=progress)
    return Posterior.of(model, training.record("sgd", data, asdict(chosen), started, history=history))
