"""Mean-field variational inference: the normal distribution with independent weights that is nearest to the posterior."""

from __future__ import annotations

import copy
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from relevance.base import checks
from relevance.base.environment import bar
from relevance.datasets.dataset import Dataset
from relevance.inference import training
from relevance.inference.training import Loss, cross_entropy
from relevance.inference.training import Settings as TrainingSettings
from relevance.inference.training import fit as fit_network
from relevance.networks.posterior import Posterior, fill

# Variances of activations below this add nothing, and the square root has a slope there.
LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class Settings(TrainingSettings):
    """How the distribution is fitted, beside ``epochs``, ``learning_rate``, ``batch_size`` and ``seed``.

    Attributes:
        n_samples: samples that are drawn from it in the end.
        prior_scale: standard deviation of the normal prior of every weight and bias.
        start: of the means: ``"sgd"``, a solution found by SGD; ``"prior"``, a draw from the prior; or ``"normal"``, means from
            N(0, 1) and standard deviations softplus of N(0, 1), where the code of Carbone et al. starts.
        start_epochs: of SGD, for that solution.
        start_scale: standard deviation of every weight at the start, unless that is ``"normal"``.
        kl_epochs: epochs in which the weight of the KL divergence grows from 0 to 1; 0 has it at 1 from the start.
        kl_per: what is charged the whole KL divergence: an ``"epoch"``, as the evidence lower bound has it, or every ``"batch"``,
            which makes the prior weigh as many times as there are batches.
    """

    n_samples: int = checks.whole(100)
    prior_scale: float = checks.real(0.1, above=0)
    start: str = checks.choice("sgd", ("sgd", "prior", "normal"))
    start_epochs: int = checks.whole(15)
    start_scale: float = checks.real(0.01, above=0)
    kl_epochs: int = 0
    kl_per: str = checks.choice("epoch", ("epoch", "batch"))

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.count("kl_epochs", self.kl_epochs, at_least=0, at_most=self.epochs)


class MeanField(nn.Module):
    """A dense or convolutional layer whose weights and biases are independent normal variables.

    Local reparameterisation: what is drawn are the layer's outputs, which are normal too, one draw for each image
    (Kingma et al. 2015, arXiv:1506.02557, Sec. 2.3).
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, scale: float) -> None:
        super().__init__()
        self.layer = layer  # its parameters are the means
        # softplus of it is the standard deviation.
        inverse = math.log(math.expm1(scale))
        self.rho = nn.ParameterDict({name: torch.full_like(mean, inverse) for name, mean in layer.named_parameters()})

    def variances(self) -> dict[str, Tensor]:
        """Return the variance of every weight and bias."""
        return {name: functional.softplus(rho) ** 2 for name, rho in self.rho.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Return one draw of the outputs for each image."""
        # By the layer itself, which pads the squares as it pads the images.
        mean, variance = self.layer(x), functional_call(self.layer, self.variances(), (x**2,))
        noise = torch.randn_like(mean)
        outputs: Tensor = mean + variance.clamp(min=LEAST_VARIANCE).sqrt() * noise
        return outputs

    def kl(self, prior_scale: float) -> Tensor:
        """Return the KL divergence from the prior, of all weights and biases."""
        means = dict(self.layer.named_parameters())
        total = torch.zeros((), device=next(iter(means.values())).device)
        for name, variance in self.variances().items():
            ratio = variance / prior_scale**2
            total = total + 0.5 * (ratio + (means[name] / prior_scale) ** 2 - 1 - ratio.log()).sum()
        return total


def variational(network: nn.Module, data: Dataset, *, progress: bool = True, **settings: Any) -> Posterior:
    """Fit a mean-field normal distribution to the posterior over a network's parameters, and sample from it.

    The evidence lower bound (Carbone et al., Sec. VII-F; Blundell et al. 2015, arXiv:1505.05424) with the KL divergence
    in closed form, weighed once for the whole data set: a batch of n of N images has the loss
    mean(-log p(y | x, w)) + KL / N, or with ``kl_per="batch"`` + KL / n. Parameters that are neither of dense layers nor of
    convolutions, such as batch norm's, are fitted without a distribution.

    Arguments are those of :func:`relevance.inference.sgd`, settings the fields of :class:`Settings`. The history has
    the loss (negative evidence lower bound for each image), its parts, and the accuracy.

    Raises:
        ValueError: as there; or the network has no dense layer or convolution, or one whose outputs' variance is not known.
    """
    chosen = checks.settings(Settings, settings)
    started = time.perf_counter()
    # A fresh copy, so that asking changes no statistics of the network's batch norm.
    fresh = training.initialised(network, data, chosen.seed)
    training.check_batches(fresh, data, chosen.batch_size)
    _check_layers(fresh.eval(), data.train_images[:2])
    model = _start(network, data, chosen)
    posterior, history = fit(model, data, chosen, cross_entropy, show=progress)
    posterior.record.update(training.record("variational", data, asdict(chosen), started, history=history))
    return posterior


def fit(
    model: nn.Module, data: Dataset, settings: Settings, loss: Loss, *, show: bool = True
) -> tuple[Posterior, dict[str, list[float]]]:
    """Fit the distribution from the means in ``model`` on, and sample; ``loss`` is the negative log-likelihood."""
    device = data.train_images.device
    noisy = _with_mean_fields(copy.deepcopy(model), settings.start_scale).to(device).train()
    optimiser = torch.optim.Adam(noisy.parameters(), lr=settings.learning_rate)
    generator = torch.Generator().manual_seed(settings.seed)
    history: dict[str, list[float]] = {"loss": [], "negative log-likelihood": [], "kl": [], "accuracy": []}
    n_train = len(data.train_labels)
    with training.seeded(settings.seed, device), bar(settings.epochs, "VI", "epoch", show=show) as shown:
        if settings.start == "normal":
            _spread(noisy)
        for epoch in range(settings.epochs):
            weight = min(1.0, (epoch + 1) / (settings.kl_epochs + 1))
            sums = torch.zeros(3, dtype=torch.float64, device=device)
            for images, labels in training.batches(data, settings.batch_size, generator):
                outputs = noisy(images)
                misfit = loss(outputs, labels).mean()
                kl = sum_of_kl(noisy, settings.prior_scale)
                optimiser.zero_grad(set_to_none=True)
                (misfit + weight * kl / (n_train if settings.kl_per == "epoch" else len(labels))).backward()
                optimiser.step()
                right = (outputs.argmax(-1) == labels).double().mean()
                sums += len(labels) * torch.stack([misfit.detach().double(), kl.detach().double(), right])
            misfits, kls, accuracy = (sums / n_train).tolist()
            history["loss"].append(training.finite(misfits + kls / n_train, epoch, settings))
            history["negative log-likelihood"].append(misfits)
            history["kl"].append(kls)
            history["accuracy"].append(accuracy)
            shown.update()
        samples = sampled(noisy, settings.n_samples)
    shell = copy.deepcopy(model).to(device)
    fill(shell, noisy.state_dict())
    return Posterior(shell, samples), history


def sum_of_kl(noisy: nn.Module, prior_scale: float) -> Tensor:
    """Return the KL divergence from the prior of all layers."""
    parts = [layer.kl(prior_scale) for _, layer in _mean_fields(noisy)]
    return torch.stack(parts).sum()


def sampled(noisy: nn.Module, n_samples: int) -> dict[str, Tensor]:
    """Draw parameters from the distribution: name -> [S, ...], by the names of the plain network."""
    samples: dict[str, Tensor] = {}
    inside: set[str] = set()
    with torch.no_grad():
        for name, layer in _mean_fields(noisy):
            for part, variance in layer.variances().items():
                mean = getattr(layer.layer, part)
                noise = torch.randn((n_samples, *mean.shape), dtype=mean.dtype, device=mean.device)
                samples[f"{name}.{part}" if name else part] = mean + variance.sqrt() * noise
                inside |= {f"{name}.layer.{part}", f"{name}.rho.{part}", f"layer.{part}", f"rho.{part}"}
        for name, value in noisy.named_parameters():
            if name not in inside:
                samples[name] = value.expand(n_samples, *value.shape).clone()
    return samples


def _mean_fields(noisy: nn.Module) -> Iterator[tuple[str, MeanField]]:
    return ((name, module) for name, module in noisy.named_modules() if isinstance(module, MeanField))


def _check_layers(network: nn.Module, images: Tensor) -> None:
    """Say so if there is a layer whose outputs are not independent draws with the moments that :class:`MeanField` gives."""
    layers = {name: part for name, part in network.named_modules() if isinstance(part, (nn.Linear, nn.Conv2d))}
    if not layers:
        raise ValueError(
            "network has no dense layer or convolution; for variational inference it must have at least one."
        )
    calls: Counter[str] = Counter()
    hooks = [part.register_forward_hook(lambda *_, name=name: calls.update([name])) for name, part in layers.items()]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    uses = Counter(id(value) for part in network.modules() for value in part._parameters.values())
    for name, part in layers.items():
        own = dict(part.named_parameters())
        if type(part).forward not in {nn.Linear.forward, nn.Conv2d.forward} or own.keys() - {"weight", "bias"}:
            fault = f"is a {type(part).__name__} with a forward or parameters of its own"
        elif calls[name] != 1:
            fault = f"is called {calls[name]} times"
        elif any(uses[id(value)] != 1 for value in own.values()):
            fault = "shares its parameters with another layer"
        else:
            continue
        raise ValueError(
            f"layer {checks.shown(name)} of network {fault}; for variational inference it must be a torch.nn.Linear or "
            "torch.nn.Conv2d that is called once, with weights of its own."
        )


def _with_mean_fields(module: nn.Module, scale: float) -> nn.Module:
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return MeanField(module, scale)
    for name, child in module.named_children():
        setattr(module, name, _with_mean_fields(child, scale))
    return module


def _spread(noisy: nn.Module) -> None:
    """Draw the standard deviation of every weight anew: softplus of N(0, 1)."""
    with torch.no_grad():
        for _, layer in _mean_fields(noisy):
            for rho in layer.rho.values():
                rho.normal_()


def _start(network: nn.Module, data: Dataset, settings: Settings) -> nn.Module:
    if settings.start == "sgd":
        first = TrainingSettings(epochs=settings.start_epochs, seed=settings.seed)
        return fit_network(network, data, first, "SGD", show=False)[0]
    model = training.initialised(network, data, settings.seed)
    scale = 1.0 if settings.start == "normal" else settings.prior_scale
    with training.seeded(settings.seed, torch.device("cpu")), torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                for value in module.parameters():
                    value.copy_(scale * torch.randn(value.shape))
    return model
