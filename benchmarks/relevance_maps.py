"""What a relevance map costs, in units of one input gradient: medians of one run, beside zennit and captum.

Run by `make bench`. The networks are those of the issue: dense 784-512-512-10 with 100 samples and 500 images, and the
convolutional network of Carbone et al., Table I, with one sample. The unit is the gradient of the target's logit with
respect to the images, by plain autograd, sample by sample: the work that every explanation by gradients does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import peers
import torch
from torch import Tensor, nn
from torch.func import functional_call

from relevance import explanations
from relevance.base.environment import default_device, device_name
from relevance.explanations.rules import AlphaBeta, Epsilon, Gamma
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

RULES = {"epsilon": Epsilon(0.1), "gamma": Gamma(0.1), "alpha1-beta0": AlphaBeta(1, 0)}


def seconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median time of each function; they take turns, so that a slow minute hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(repeats + 1):
        for name, function in functions.items():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            start = time.perf_counter()
            function()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if round_:  # the first round warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def random_posterior(network: nn.Module, n_samples: int, generator: torch.Generator, device: torch.device) -> Posterior:
    """Return samples of the size of the network's own initial parameters."""
    samples = {
        name: (torch.randn((n_samples, *value.shape), generator=generator) * value.std()).to(device)
        for name, value in network.named_parameters()
    }
    return Posterior(network.to(device), samples)


def gradients(posterior: Posterior, images: Tensor, target: Tensor) -> Tensor:
    """The unit: the mean over the samples of plain input gradients, one sample after the other."""
    total = torch.zeros_like(images)
    for index in range(len(posterior)):
        leaf = images.clone().requires_grad_()
        sample = {name: value[index] for name, value in posterior.samples.items()}
        logits = functional_call(posterior.network, sample, (leaf,))
        total += torch.autograd.grad(logits.gather(1, target[:, None]).sum(), leaf)[0]
    return total / len(posterior)


def report(title: str, posterior: Posterior, images: Tensor, target: Tensor, repeats: int) -> None:
    """Print one table."""
    functions: dict[str, Callable[[], object]] = {"gradient": lambda: gradients(posterior, images, target)}
    for name, rule in RULES.items():
        functions[name] = lambda rule=rule: explanations.lrp(posterior, images, target, rule=rule)  # type: ignore[misc]
    ours = seconds(functions, repeats)
    one = posterior[0]
    network = peers.network_of(one)
    theirs: dict[str, Callable[[], object]] = {"gradient": lambda: gradients(one, images, target)}
    for name in RULES:
        theirs[f"zennit {name}"] = peers.zennit_map(network, peers.zennit_rules()[name](), images, target)
    others = seconds(theirs, repeats)
    run = peers.captum_map(peers.network_of(one), peers.captum_rules()["epsilon"], images, target)
    others["captum epsilon"] = seconds({"captum": run}, repeats)["captum"]

    print(f"\n{title}: {len(posterior)} samples x {len(images)} images; one gradient of one image and sample takes "
          f"{1e6 * ours['gradient'] / len(posterior) / len(images):.1f} us")  # fmt: skip
    print(f"{'rule':<14} {'ours':>6} {'zennit':>7} {'captum':>7}   (in gradients)")
    for name in RULES:
        captum = f"{others['captum epsilon'] / others['gradient']:7.2f}" if name == "epsilon" else f"{'-':>7}"
        print(
            f"{name:<14} {ours[name] / ours['gradient']:6.2f} {others[f'zennit {name}'] / others['gradient']:7.2f} {captum}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    device = default_device()
    print(f"{device_name(device)}, torch {torch.__version__}")
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((given.images, 1, 28, 28), generator=generator).to(device)
    target = torch.randint(0, 10, (given.images,), generator=generator).to(device)
    for title, network, n_samples, n_images in (
        ("dense 784-512-512-10", architectures.fully_connected((1, 28, 28), 512), given.samples, given.images),
        ("convolutional, Table I, 512", architectures.convolutional((1, 28, 28), 512), 1, min(100, given.images)),
    ):
        posterior = random_posterior(network, n_samples, generator, device)
        report(title, posterior, images[:n_images], target[:n_images], given.repeats)


if __name__ == "__main__":
    main()
