"""Monte Carlo dropout: a network trained with dropout, sampled by masks that stay fixed (Gal and Ghahramani 2016)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the network is trained and sampled.

    Attributes:
        n_samples: masks that are drawn.
        rate: share of the inputs of every hidden layer that is dropped, in (0, 1); pixels are never dropped.
    """

    n_samples: int = checks.whole(100)
    rate: float = checks.real(0.1, above=0, at_most=0.95)


def mc_dropout(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Train a network with dropout before every layer but the first, and sample networks with some inputs cut off.

    A mask belongs to a sample, not to an image: a sample is one network, with columns of its weights set to zero and the
    others scaled by 1 / (1 - rate), so that it can be attacked and explained like any other (arXiv:1506.02142, Sec. 3).
    Inputs are the neurons below a dense layer and the channels below a convolution.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The network must
    have two layers or more, no dropout of its own, and no convolution in groups.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    training.check(network, data)
    hidden = _hidden_layers(network)

    dropped = copy.deepcopy(network)
    for name in hidden:
        dropped.get_submodule(name).register_forward_pre_hook(_drop(chosen.rate))
    model, history = fit(dropped, data, chosen, "dropout", show=progress)
    for name in hidden:
        model.get_submodule(name)._forward_pre_hooks.clear()
    samples = training.repeated(model, chosen.n_samples)
    generator = torch.Generator().manual_seed(chosen.seed)
    for name in hidden:
        weight = samples[f"{name}.weight"]
        kept = torch.rand((chosen.n_samples, 1, weight.shape[2]), generator=generator) >= chosen.rate
        mask = kept.to(weight) / (1 - chosen.rate)
        samples[f"{name}.weight"] = weight * mask.reshape(*mask.shape, *[1] * (weight.ndim - 3))
    record = training.record("mc_dropout", data, asdict(chosen), started, history=history)
    return Posterior(model, samples, record)


def _drop(rate: float) -> Callable[[nn.Module, tuple[Tensor]], Tensor | None]:
    def hook(module: nn.Module, inputs: tuple[Tensor]) -> Tensor | None:
        if not module.training:
            return None
        drop = functional.dropout2d if isinstance(module, nn.Conv2d) else functional.dropout
        return drop(inputs[0], rate)

    return hook


def _hidden_layers(network: nn.Module) -> list[str]:
    layers = {name: module for name, module in network.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))}
    if len(layers) < 2:
        raise ValueError(f"network has {len(layers)} dense layers and convolutions; dropout needs at least 2.")
    hidden = list(layers)[1:]
    for name in hidden:
        if getattr(layers[name], "groups", 1) != 1:
            raise ValueError(f"layer {name} is a convolution in groups; mc_dropout takes those of one group.")
    return hidden
