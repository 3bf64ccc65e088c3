"""Networks without kinks, for attacks that need a second derivative: softplus in place of ReLU and leaky ReLU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from relevance.base import checks
from relevance.base.chunks import Sample
from relevance.explanations.expected import Explain, as_method, checked, logit_gradient, over_all
from relevance.explanations.gradient import gradient, gradient_x_input
from relevance.explanations.tracing import sharing, traced
from relevance.explanations.ways.table import kind_of, register
from relevance.explanations.ways.way import pass_on
from relevance.networks.posterior import Posterior, as_posterior


class SoftLeakyReLU(nn.Module):
    """slope x + (1 - slope) softplus(x), with softplus(x) = log(1 + exp(beta x)) / beta: leaky ReLU as beta grows.

    (Dombrowski et al. 2019, arXiv:1906.07983, Sec. 2.1, for a slope of 0.)

    Args:
        beta: sharpness, above 0.
        slope: for negative inputs, in [0, 1].
    """

    def __init__(self, beta: float, slope: float = 0.0) -> None:
        super().__init__()
        self.beta = checks.number("beta", beta, above=0)
        self.slope = checks.number("slope", slope, at_least=0, at_most=1)

    def extra_repr(self) -> str:
        """Return the settings, for the network's description."""
        return f"beta={self.beta}, slope={self.slope}"

    def forward(self, x: Tensor) -> Tensor:
        """Return the soft activations of x, of any shape."""
        return self.slope * x + (1 - self.slope) * functional.softplus(x, self.beta)


register(SoftLeakyReLU, pass_on)


# Calls that are softened -> the slope of negative inputs where the call does not name it.
CALLS: dict[Any, float] = {functional.relu: 0.0, torch.relu: 0.0, "relu": 0.0, functional.leaky_relu: 0.01}
# Activations with other kinks, for which there is no soft one here, by the names of their modules and functions.
OTHER_KINKS = {"relu6", "hardtanh", "prelu", "rrelu", "threshold", "hardswish", "hardsigmoid", "clamp", "clamp_min", "abs",
               "maximum", "minimum"}  # fmt: skip


def softened(posterior: Posterior, beta: float) -> Posterior:
    """Return the posterior with a :class:`SoftLeakyReLU` for every ReLU and leaky ReLU of its network.

    It does not matter whether they are modules or calls of a function. The posterior that is given, and its network, stay
    as they are. Maxima of pools stay too.

    Raises:
        ValueError: beta is not above 0; or the network cannot be traced, so that calls of relu cannot be found in it; or
            it has activations with kinks of another kind.
    """
    checks.number("beta", beta, above=0)
    as_posterior(posterior)
    graph, traced_network, changed, _ = traced(posterior.network, posterior.image_shape)
    network = sharing(posterior.network)
    _refuse_other_kinks(network, graph)
    settings: dict[str, Any] = getattr(network, "settings", {})
    for parent in list(network.modules()):
        # Not named_children, which gives a module that is used twice once.
        for name, child in list(parent._modules.items()):
            # Those that do something else as well are looked into, and softened where they call relu.
            if child is not None and kind_of(child) in {nn.ReLU, nn.LeakyReLU}:
                setattr(parent, name, SoftLeakyReLU(beta, getattr(child, "negative_slope", 0.0)))
    calls = [node for node in graph.nodes if node.op != "call_module" and node.target in CALLS]
    if calls or changed:
        for node in graph.nodes:
            if node.op == "get_attr" and "." not in node.target and not hasattr(network, node.target):
                setattr(network, node.target, getattr(traced_network, node.target))  # a constant of the forward pass
        network = _by_modules(network, graph, calls, beta)
    if settings:
        # What is saved under the architecture's name would come back with its kinks.
        named: Any = network
        named.settings = {**settings, "architecture": f"softened {settings['architecture']}"}
    return posterior.of_network(network)


def _by_modules(network: nn.Module, graph: fx.Graph, calls: Sequence[fx.Node], beta: float) -> nn.Module:
    """Return the network as its graph has it, with a module for each of the ``calls``; parameters keep their names."""
    for call in calls:
        slope: Any = call.kwargs.get("negative_slope", call.args[1] if len(call.args) > 1 else CALLS[call.target])
        network.add_module(f"soft_{call.name}", SoftLeakyReLU(beta, float(slope)))
        with graph.inserting_after(call):
            soft = graph.call_module(f"soft_{call.name}", (call.all_input_nodes[0],))
        call.replace_all_uses_with(soft)
        graph.erase_node(call)
    rewritten = fx.GraphModule(network, graph, type(network).__name__)
    # Samples have the parameters of modules that the forward pass leaves out, too.
    there = dict(rewritten.named_modules())
    for name, module in network.named_modules():
        if name not in there and (module._parameters or module._buffers):
            rewritten.add_submodule(name, module)
    return rewritten


def _refuse_other_kinks(network: nn.Module, graph: fx.Graph) -> None:
    found = {type(module).__name__ for module in network.modules()}
    found |= {str(getattr(node.target, "__name__", node.target)) for node in graph.nodes if node.op != "call_module"}
    for name in sorted(found):
        if name.lower().rstrip("_") in OTHER_KINKS:
            raise ValueError(
                f"the network has a {name}, which cannot be softened; its activations may be ReLU, leaky ReLU, and those "
                "without kinks."
            )


def smooth_grad(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    explain: Callable[..., Tensor] = gradient,
    per_sample: bool = False,
    noise: float = 0.15,
    n_noise: int = 50,
    seed: int = 0,
) -> Tensor:
    """Return the mean map, of the :func:`gradient`, at noisy copies of each image (Smilkov et al. 2017, arXiv:1706.03825).

    Args:
        posterior, images, target, per_sample: as for :func:`gradient`.
        explain: another method in its place. Copies for the gradient may leave [0, 1], and gradient x input is that map
            times the image; for other methods, which take no such image, copies are cut to it.
        noise: standard deviation of the Gaussian noise, in units of the pixel range; at least 0.
        n_noise: number of copies, at least 1.
        seed: of the noise. All images and all samples get the same.

    Returns:
        As :func:`gradient`.
    """
    # Noise that is cut is no longer Gaussian, nor of mean zero: Theorem 2 says nothing of it.
    as_method("explain", explain)
    uncut = explain is gradient or explain is gradient_x_input
    if uncut:
        target = checked(posterior, images, target)
    checks.number("noise", noise, at_least=0)
    checks.count("n_noise", n_noise)
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    if not uncut:
        checks.pixels("images", images, getattr(posterior, "image_shape", None))
        method = partial(explain, per_sample=True) if checks.truth("per_sample", per_sample) else explain
        total = torch.zeros(())
        for _ in range(n_noise):
            drawn = torch.randn(images.shape[1:], generator=generator, dtype=torch.float64).to(images)
            found = method(posterior, (images + noise * drawn).clamp(0, 1), target)
            total = total + checks.results("explain", found, len(posterior if per_sample else images), "a map of each")
        return total / n_noise
    added = noise * torch.randn((n_noise, *images.shape[1:]), generator=generator, dtype=torch.float64).to(images)
    of_logit = logit_gradient(posterior)

    def one_map(sample: Sample, x: Tensor, y: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for some in added:
            total = total + of_logit(sample, x + some, y)
        return total / n_noise

    found = over_all(posterior, one_map, images, target, per_sample=per_sample, plain=True)
    return found * images if explain is gradient_x_input else found


def softplus(explain: Explain, beta: float) -> Explain:
    """Return the method on the network with softplus of sharpness ``beta`` for its kinks (Dombrowski et al., Sec. 3.2).

    A network that is soft already, such as one whose kinks an attack has replaced, stays as it is.

    Args:
        explain: any method.
        beta: above 0; the larger, the nearer to the kink.
    """
    as_method("explain", explain)
    checks.number("beta", beta, above=0)
    ready: dict[int, tuple[Posterior, Posterior]] = {}

    def smoothed(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        known = ready.get(id(posterior))
        if known is None or known[0] is not posterior:
            known = ready[id(posterior)] = (posterior, softened(posterior, beta))
        return explain(known[1], images, target)

    return smoothed


def smooth_grad_of(explain: Explain, noise: float, n_noise: int = 10, seed: int = 0) -> Explain:
    """Return the method of :func:`smooth_grad` with ``explain``; arguments are as for it."""
    as_method("explain", explain)
    checks.number("noise", noise, at_least=0)
    checks.count("n_noise", n_noise)
    checks.seed("seed", seed)
    return partial(smooth_grad, explain=explain, noise=noise, n_noise=n_noise, seed=seed)


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
    as_method("explain", explain)
    checks.number("noise", noise, at_least=0)
    checks.count("n_noise", n_noise)
    checks.seed("seed", seed)

    def smoothed(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
        return explain(shaken(posterior, noise, n_noise, seed), images, target)

    return smoothed


def shaken(posterior: Posterior, noise: float, n_noise: int, seed: int = 0) -> Posterior:
    """Return a posterior of ``n_noise`` noisy copies of every sample, as :func:`noise_grad` explains them."""
    generator = torch.Generator().manual_seed(checks.seed("seed", seed))
    samples = {}
    for name, value in posterior.samples.items():
        shape = (n_noise, *value.shape)
        factor = 1 + noise * torch.randn(shape, generator=generator, dtype=torch.float64).to(value)
        samples[name] = (value * factor).flatten(0, 1)
    return Posterior(posterior.network, samples, posterior.record)
