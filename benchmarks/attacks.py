"""What attacks cost: attacked images a second beside torchattacks, and beside attacking sample by sample, in one run.

Run by `make bench`. The posterior is that of the paper's dense network (784-512-512-10), 100 samples and 500 images.
torchattacks is given the same posterior as a module, with as many images at once as it is fastest with here. The
released code of the paper attacks every sample on its own, one image at a time, and averages the attacked images; the
same loop is timed on a few images and scaled up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torchattacks
from relevance_maps import random_posterior, seconds
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from relevance import attacks
from relevance.base.environment import default_device, device_name
from relevance.networks import architectures
from relevance.networks.posterior import Posterior

FEW = 4


def sample_by_sample(posterior: Posterior, images: Tensor, labels: Tensor, epsilon: float, n_steps: int) -> Tensor:
    """Attack each image by each sample alone, and average: the order of work of the released code."""
    attacked = torch.zeros_like(images)
    for index in range(len(images)):
        image, label = images[index : index + 1], labels[index : index + 1]
        for sample in range(len(posterior)):
            weights = {name: value[sample] for name, value in posterior.samples.items()}
            points = image
            for _ in range(n_steps):
                leaf = points.detach().requires_grad_()
                loss = functional.cross_entropy(functional_call(posterior.network, weights, (leaf,)), label)
                (gradient,) = torch.autograd.grad(loss, leaf)
                points = leaf + epsilon / n_steps * gradient.sign()
                points = (image + (points - image).clamp(-epsilon, epsilon)).clamp(0, 1)
            attacked[index] += points[0].detach() / len(posterior)
    return attacked


def in_batches(attack: Callable[[Tensor, Tensor], Tensor], images: Tensor, labels: Tensor, size: int) -> Tensor:
    """Attack ``size`` images at a time."""
    return torch.cat([attack(some, their) for some, their in zip(images.split(size), labels.split(size), strict=True)])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    device = default_device()
    generator = torch.Generator().manual_seed(0)
    network = architectures.fully_connected((1, 28, 28), 512)
    posterior = random_posterior(network, given.samples, generator, device)
    images = torch.rand((given.images, 1, 28, 28), generator=generator).to(device)
    labels = torch.randint(0, 10, (given.images,), generator=generator).to(device)
    module = attacks.LogPredictive(posterior)
    print(f"{device_name(device)}, torch {torch.__version__}: {given.samples} samples x {given.images} images")
    print(
        f"{'attack':<24} {'ours':>10} {'torchattacks':>13} {'one by one':>11}   images a second (torchattacks' batch)"
    )
    for title, n_steps in (("FGSM", 1), ("PGD, 10 steps", 10)):
        step = 0.1 / n_steps
        theirs = torchattacks.PGD(module, eps=0.1, alpha=step, steps=n_steps, random_start=False)
        times = seconds(
            {
                "ours": lambda n_steps=n_steps, step=step: attacks.pgd(  # type: ignore[misc]
                    posterior, images, labels, 0.1, n_steps=n_steps, step_size=step, random_start=False, progress=False
                ),
                **{f"{size}": lambda size=size, theirs=theirs: in_batches(theirs, images, labels, size)  # type: ignore[misc]
                   for size in (25, 50, 100, 500)},
            },
            given.repeats,
        )  # fmt: skip
        started = time.perf_counter()
        sample_by_sample(posterior, images[:FEW], labels[:FEW], 0.1, n_steps)
        single = (time.perf_counter() - started) / FEW
        ours = times.pop("ours")
        best = min(times, key=times.__getitem__)
        rates = given.images / ours, given.images / times[best], 1 / single
        print(f"{title:<24} {rates[0]:10.1f} {rates[1]:13.1f} {rates[2]:11.2f}   ({best}); ours to theirs: "
              f"{rates[0] / rates[1]:.2f}, to one by one: {rates[0] / rates[2]:.0f}")  # fmt: skip
    target = posterior.predict(images).argmax(1)
    for title, attack in (
        ("top-k, 10 steps", lambda x, y: attacks.top_k(posterior, x, y, 0.1, progress=False)),
        ("PGD, margin, 10 steps", lambda x, y: attacks.pgd(posterior, x, y, 0.1, objective="margin", progress=False)),
    ):
        few = given.images // 5
        started = time.perf_counter()
        attack(images[:few], target[:few])
        print(f"{title:<24} {few / (time.perf_counter() - started):10.1f}")


if __name__ == "__main__":
    main()
