"""Laplace's approximation of the last layer: a normal distribution around a solution, as wide as the loss is flat."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit
from relevance.networks.posterior import Posterior

# Outputs [n, K] -> the second derivative of the negative log-likelihood with respect to them, [n, K, K].
Curvature = Callable[[Tensor], Tensor]
IMAGES_AT_ONCE = 1000


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the solution is found and sampled around.

    Attributes:
        n_samples: samples that are drawn.
        prior_scale: standard deviation of the normal prior of the last layer's weights and biases.
    """

    n_samples: int = checks.whole(100)
    prior_scale: float = checks.real(0.1, above=0)


def softmax_curvature(outputs: Tensor) -> Tensor:
    """Return diag(p) - p p^T for the softmax p of each row."""
    p = outputs.softmax(-1)
    return torch.diag_embed(p) - p[:, :, None] * p[:, None, :]


def laplace(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Find a solution by SGD and sample the weights of its last dense layer from Laplace's approximation.

    Precision: the generalised Gauss-Newton matrix of the cross-entropy over all training images plus that of the prior;
    the layers below stay as they are (Daxberger et al. 2021, arXiv:2106.14806, Sec. 2). The solution is SGD's, which
    minimises the loss without the prior.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The network must end
    in a dense layer.

    Raises:
        ValueError: as there; or the network does not end in a dense layer.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    # A fresh copy, so that asking changes no statistics of the network's batch norm.
    last_layer(training.initialised(network, data, chosen.seed).eval(), data.train_images[:2])
    model, history = fit(network, data, chosen, "SGD", show=progress)
    posterior = around(model.eval(), data, chosen, softmax_curvature)
    posterior.record.update(training.record("laplace", data, asdict(chosen), started, history=history))
    return posterior


def last_layer(network: nn.Module, images: Tensor) -> tuple[str, nn.Linear]:
    """Return the dense layer whose outputs are the network's, and its name.

    It is asked of the network, since layers may be registered in another order than they are called in: each dense layer's
    outputs are replaced by numbers of both signs, and the network must return those of the last one as they are.

    Raises:
        ValueError: there is no such layer, or it is called twice or its weights are not its own.
    """
    given: list[tuple[str, nn.Linear, Tensor]] = []

    def replace(name: str, layer: nn.Linear, outputs: Tensor) -> Tensor:
        numbers = torch.linspace(-1e3, 1e3, outputs.numel()).to(outputs).reshape(outputs.shape)
        given.append((name, layer, numbers))
        return numbers.clone()  # which an activation in place may change

    hooks = [
        part.register_forward_hook(lambda layer, inputs, outputs, name=name: replace(name, layer, outputs))
        for name, part in network.named_modules()
        if isinstance(part, nn.Linear)
    ]
    try:
        with torch.no_grad():
            found = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if given and torch.equal(found, given[-1][2]):
        name, layer, _ = given[-1]
        uses = [part for module in network.modules() for part in module._parameters.values() if part is layer.weight]
        if type(layer).forward is nn.Linear.forward and len(uses) == [one for _, one, _ in given].count(layer) == 1:
            return name, layer
    raise ValueError(
        "network does not return what its last dense layer gives; for laplace it must end in a torch.nn.Linear that is "
        "called once, with weights of its own."
    )


def around(model: nn.Module, data: Dataset, settings: Settings, curvature: Curvature) -> Posterior:
    """Sample the last layer of a solution from the normal distribution that the curvature of the loss gives."""
    name, layer = last_layer(model, data.train_images[:2])
    precision = _precision(model, layer, data, settings.prior_scale, curvature)
    generator = torch.Generator().manual_seed(settings.seed)
    size = len(precision)
    noise = torch.randn((size, settings.n_samples), generator=generator, dtype=torch.float64).to(precision)
    factor = torch.linalg.cholesky(precision)  # L L^T = precision, so L^-T noise has its inverse as covariance
    steps = torch.linalg.solve_triangular(factor.T, noise, upper=True).T.reshape(
        settings.n_samples, layer.out_features, -1
    )
    samples = training.repeated(model, settings.n_samples)
    prefix = f"{name}." if name else ""
    samples[f"{prefix}weight"] += steps[..., : layer.in_features].to(layer.weight)
    if layer.bias is not None:
        samples[f"{prefix}bias"] += steps[..., -1].to(layer.bias)
    return Posterior(model, samples)


def _precision(model: nn.Module, layer: nn.Linear, data: Dataset, prior_scale: float, curvature: Curvature) -> Tensor:
    """Return sum_n H_n (x) phi_n phi_n^T plus the prior's precision: [K D, K D], D with the bias's input of 1."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    size = layer.out_features * (layer.in_features + (layer.bias is not None))
    total = torch.eye(size, dtype=torch.float64, device=data.train_images.device) / prior_scale**2
    try:
        with torch.no_grad():
            for images in data.train_images.split(IMAGES_AT_ONCE):
                outputs = model(images).double()
                features = seen.pop().double()
                if layer.bias is not None:
                    features = torch.cat([features, torch.ones_like(features[:, :1])], 1)
                # One block of outputs k, l at a time: n H_kl phi phi^T.
                bend = curvature(outputs)
                width = features.shape[1]
                for k in range(layer.out_features):
                    for other in range(k + 1):
                        block = features.T @ (bend[:, k, other, None] * features)
                        rows, columns = slice(k * width, (k + 1) * width), slice(other * width, (other + 1) * width)
                        total[rows, columns] += block
                        if other != k:
                            total[columns, rows] += block.T
    finally:
        hook.remove()
    return total
