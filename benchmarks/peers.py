"""The relevance maps of zennit and captum, which the benchmarks and the tests compare ours with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from relevance.datasets import reading
from relevance.networks.posterior import Posterior, fill

# zennit and captum import torchvision, which may not know how beside a CPU build of torch.
reading.import_torchvision()

Rules = dict[str, Callable[[], Any]]


def network_of(one: Posterior) -> nn.Module:
    """Return a posterior of one sample as an ordinary network, which the libraries of hooks take."""
    network = copy.deepcopy(one.network)
    fill(network, {name: value[0] for name, value in one.samples.items()})
    return network


def zennit_rules(epsilon: float = 0.1, tiny: float = 1e-14) -> Rules:
    """Return zennit's rules by our names for them, with our stabiliser where they have one beside epsilon."""
    from zennit import rules

    return {
        "epsilon": lambda: rules.Epsilon(epsilon),
        "gamma": lambda: rules.Gamma(0.1, stabilizer=tiny),
        "alpha1-beta0": lambda: rules.AlphaBeta(1, 0, stabilizer=tiny),
        "alpha2-beta1": lambda: rules.AlphaBeta(2, 1, stabilizer=tiny),
        "z+": lambda: rules.ZPlus(zero_params="bias", stabilizer=tiny),
        "zB": lambda: rules.ZBox(low=0.0, high=1.0, zero_params="bias", stabilizer=tiny),
        "w2": lambda: rules.WSquare(zero_params="bias", stabilizer=tiny),
        "flat": lambda: rules.Flat(zero_params="bias", stabilizer=tiny),
    }


def captum_rules(epsilon: float = 0.1) -> Rules:
    """Return captum's rules by our names for them."""
    from captum.attr._utils import lrp_rules

    return {
        "epsilon": lambda: lrp_rules.EpsilonRule(epsilon),
        "gamma": lambda: lrp_rules.GammaRule(0.1),
        "alpha1-beta0": lrp_rules.Alpha1_Beta0_Rule,
    }


def zennit_map(network: nn.Module, rule: Any, images: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """Return a function that gives zennit's map of the target's logit."""
    from zennit.attribution import Gradient
    from zennit.composites import LayerMapComposite
    from zennit.rules import Pass
    from zennit.types import Activation, Convolution, Linear

    composite = LayerMapComposite([(Activation, Pass()), (Convolution, rule), (Linear, rule)])

    def run() -> Tensor:
        with Gradient(network, composite, create_graph=images.requires_grad) as attributor:
            found: Tensor = attributor(images, lambda out: out * nn.functional.one_hot(target, out.shape[1]).to(out))[1]
        return found

    return run


class WithoutFlatten(nn.Module):
    """The same chain, flattening by a call: captum has no rule for the module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = list(network.children())
        self.flattened_before = [isinstance(layer, nn.Flatten) for layer in layers]
        self.layers = nn.ModuleList(layer for layer in layers if not isinstance(layer, nn.Flatten))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        remaining = iter(self.layers)
        for flatten in self.flattened_before:
            x = x.flatten(1) if flatten else next(remaining)(x)
        return x


def captum_map(network: nn.Module, rule: Callable[[], Any], images: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """Return a function that gives captum's map of the target's logit; the network is changed."""
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import IdentityRule

    chain = WithoutFlatten(network) if isinstance(network, nn.Sequential) else network
    leaf = images if images.requires_grad else images.clone().requires_grad_()

    def run() -> Tensor:
        for module in chain.modules():  # captum takes the rules away after each map
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                module.rule = rule()  # type: ignore[assignment]
            elif isinstance(module, (nn.LeakyReLU, nn.Softplus)):
                module.rule = IdentityRule()  # type: ignore[assignment]
        found: Tensor = LRP(chain).attribute(leaf, target=target)
        return found

    return run


def lxt_map(network: nn.Module, images: Tensor, target: Tensor) -> Callable[[], Tensor] | None:
    """Return a function that gives LXT's map of the target's logit in a ViT of torchvision, or None where it is not installed."""
    try:
        from lxt.efficient import monkey_patch
        from lxt.efficient.models.vit_torch import cp_LRP
    except ImportError:
        return None
    monkey_patch(torch.nn, cp_LRP)

    def run() -> Tensor:
        leaf = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(network(leaf).gather(1, target[:, None]).sum(), leaf)
        return slope * leaf.detach()

    return run


def gradients_of(found: Callable[[Tensor], Tensor], images: Tensor) -> Tensor | None:
    """Return d sum(map * weights) / d image along autograd, or None if it is refused; weights are 0, 1, 2, ..."""
    leaf = images.clone().requires_grad_()
    result = found(leaf)
    weights = torch.arange(result.numel(), dtype=result.dtype).reshape(result.shape)
    if not result.requires_grad:
        return None
    try:
        return torch.autograd.grad((result * weights).sum(), leaf, allow_unused=True)[0]
    except RuntimeError as error:  # such as: a variable needed for the gradient was modified by an inplace operation
        if "inplace" not in str(error):
            raise
        return None
