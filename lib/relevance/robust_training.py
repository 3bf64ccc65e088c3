"""The trainings of the third source as data (Zeng et al., supplement, Sec. A3 and Table 1), and one way to run each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import nn

from relevance import checks, inference
from relevance.attacks import ball
from relevance.datasets import Dataset
from relevance.posterior import Posterior
from relevance.store import kept

# Numbers in an image of CIFAR-10, on which the source trained: 3 x 32 x 32.
SOURCE_SIZE = 3072
STANDARD, PGD, DISTILLATION, JACOBIAN = "standard", "PGD", "distillation", "Jacobian"
# Function and arguments -> its result, such as relevance.store.kept.
Keeper = Callable[..., Any]


@dataclass(frozen=True)
class Setting:
    """One training of the source.

    Attributes:
        method: ``"standard"``, ``"PGD"``, ``"distillation"`` or ``"Jacobian"``.
        norm: of PGD's attack; empty for the others.
        epsilon: of PGD's attack, for images of CIFAR-10, in units of the pixel range.
        n_steps: of PGD's attack, t in the source's Table 1.
        temperature: T of distillation.
        strength: lambda of Jacobian regularisation.
    """

    method: str
    norm: str = ""
    epsilon: float = 0.0
    n_steps: int = 0
    temperature: float = 0.0
    strength: float = 0.0

    @property
    def name(self) -> str:
        """What it is called in tables and figures, such as ``"PGD-l2 1.5"`` or ``"PGD-linf 8/255"``; without its steps."""
        if self.method != PGD:
            return self.method
        return f"PGD-{self.norm} " + (f"{self.epsilon:g}" if self.norm == "l2" else f"{self.epsilon * 255:g}/255")


L2 = (1.0, 1.5, 2.0, 2.5)
LINF = (4 / 255, 8 / 255, 16 / 255)
STEPS = (20, 40)
# The defences of the source's Figures 1 and 2, and the rows of its Table 1.
PLAIN = (Setting(STANDARD), Setting(DISTILLATION, temperature=100.0), Setting(JACOBIAN, strength=0.5))
TABLE_1 = tuple(
    Setting(PGD, norm, epsilon, steps)
    for norm, sizes in (("l2", L2), ("linf", LINF))
    for epsilon in sizes
    for steps in STEPS
)


def settings(names: Sequence[str] | None = None, n_steps: int = 20) -> dict[str, Setting]:
    """Return the source's trainings by name, those of PGD with ``n_steps``.

    Args:
        names: which; all if None.
        n_steps: of PGD's attack. The source has 20 and 40; another number is this book's.

    Raises:
        ValueError: a name is not of the source.
    """
    checks.count("n_steps", n_steps)
    pgd = [Setting(PGD, one.norm, one.epsilon, n_steps) for one in TABLE_1 if one.n_steps == STEPS[0]]
    known = {one.name: one for one in (*PLAIN, *pgd)}
    return {checks.one_of("names", name, known): known[name] for name in (known if names is None else names)}


def by_steps(names: Sequence[str], steps: Sequence[int]) -> dict[str, Setting]:
    """Return trainings by PGD at several numbers of steps, as in the source's Table 1: ``"PGD-l2 1, 20 steps"`` -> setting."""
    return {f"{name}, {count} steps": setting for count in steps for name, setting in settings(names, count).items()}


def scaled_epsilon(epsilon: float, norm: str, image_shape: Sequence[int]) -> float:
    """Return the size that an attack on images of CIFAR-10 has on images of another size.

    A Euclidean ball holds changes whose root mean square over the d numbers of an image is up to epsilon / sqrt(d). The
    source's images have d = 3072; the same radius on 64 pixels would be a change of each that is seven times as large. So it
    is multiplied by sqrt(d / 3072), which keeps the change of a pixel. In the maximum norm epsilon is that change, and stays.

    This makes attacks alike, not tasks: how far apart the classes are, for a change of each pixel, is the data's.

    Args:
        epsilon: in units of the pixel range; at least 0.
        norm: ``"linf"`` or ``"l2"``.
        image_shape: (C, H, W) of one image.
    """
    checks.number("epsilon", epsilon, at_least=0)
    if ball.check_norm(norm) == "linf":
        return float(epsilon)
    size = checks.count("the number of values in an image", math.prod(image_shape))
    return float(epsilon) * math.sqrt(size / SOURCE_SIZE)


def sizes(chosen: Mapping[str, Setting], image_shape: Sequence[int]) -> pd.DataFrame:
    """Return epsilon of each training by PGD, ``in the source`` and ``here``, on images of this shape.

    Args:
        chosen: name -> setting; those of other methods are left out.
        image_shape: (C, H, W) of one image.
    """
    rows = {
        name: {"in the source": one.epsilon, "here": scaled_epsilon(one.epsilon, one.norm, image_shape)}
        for name, one in chosen.items()
        if one.method == PGD
    }
    columns = ["in the source", "here"]
    return pd.DataFrame.from_dict(rows, orient="index")[columns].rename_axis("epsilon of")


def trained(
    setting: Setting,
    network: nn.Module,
    data: Dataset,
    *,
    epochs: int,
    seed: int = 0,
    keep: Keeper = kept,
    **others: Any,
) -> Posterior:
    """Train a network as a setting says; return it as a posterior of one sample.

    The source's update has the gradient's sign in both norms (Sec. B); ours goes along the gradient itself in the Euclidean
    norm, as Madry et al.'s do. It gives no size of the step; ours is 2.5 epsilon / n_steps.

    Args:
        setting: which; its epsilon is that of CIFAR-10 and goes through :func:`scaled_epsilon`.
        network: the architecture.
        data: its training images and labels are used.
        epochs: passes over them.
        seed: of the training.
        keep: runs the training; :func:`relevance.store.kept` finds a finished one again.
        others: further settings of the training, such as ``learning_rate``.

    Raises:
        ValueError: the method is unknown, or what the training itself raises.
    """
    given = {"epochs": epochs, "seed": seed, **others}
    checks.one_of("method", setting.method, (STANDARD, PGD, DISTILLATION, JACOBIAN))
    if setting.method == PGD:
        epsilon = scaled_epsilon(setting.epsilon, setting.norm, data.image_shape)
        attack = {"epsilon": epsilon, "norm": setting.norm, "n_steps": setting.n_steps}
        found = keep(inference.adversarial, network, data, **attack, **given)
    elif setting.method == DISTILLATION:
        found = keep(inference.distillation, network, data, temperature=setting.temperature, **given)
    elif setting.method == JACOBIAN:
        found = keep(inference.jacobian, network, data, strength=setting.strength, **given)
    else:
        found = keep(inference.sgd, network, data, **given)
    return checked_posterior(found)


def all_trained(chosen: Mapping[str, Setting], network: nn.Module, data: Dataset, **given: Any) -> dict[str, Posterior]:
    """Return :func:`trained` of several settings, by name."""
    return {name: trained(setting, network, data, **given) for name, setting in chosen.items()}


def ensemble_of(train: Callable[[int], Posterior], n_members: int, *, seed: int = 0) -> Posterior:
    """Return networks of any training as one posterior: what :func:`relevance.inference.deep_ensemble` does for SGD.

    Args:
        train: a seed -> a posterior of one sample, such as ``lambda seed: trained(setting, network, data, epochs=60,
            seed=seed)``.
        n_members: how many; their seeds are ``seed``, ``seed + 1``, ...
        seed: of the first.

    Returns:
        A posterior of ``n_members`` samples; buffers in which networks have floating-point numbers, such as the statistics
        of batch norm, are samples too. Its record is that of the first member, with the method's name and the number of
        members, and the seconds of all; ``record["members"]`` has the records of all.

    Raises:
        ValueError: a member has more than one sample, or another architecture.
    """
    checks.count("n_members", n_members)
    checks.count("seed", seed, at_least=0)
    members = [checked_posterior(train(seed + index)) for index in range(n_members)]
    parts = []
    for index, member in enumerate(members):
        if len(member) != 1:
            raise ValueError(f"member {index} has {len(member)} samples; each member must have 1.")
        buffers = {name: value[None] for name, value in member.network.named_buffers() if value.is_floating_point()}
        parts.append(buffers | member.samples)
        wanted, given = ({name: tuple(value.shape) for name, value in part.items()} for part in (parts[0], parts[-1]))
        if wanted != given:
            raise ValueError(
                f"member {index} has parameters of other shapes than member 0; all must have one architecture."
            )
    samples = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    records = [member.record for member in members]
    first = records[0]
    record = {
        **first,
        "method": f"ensemble_of_{first.get('method', 'networks')}",
        "settings": {**first.get("settings", {}), "n_samples": n_members},
        "seconds": round(sum(one.get("seconds", 0.0) for one in records), 3),
        "members": records,
    }
    return Posterior(members[0].network, samples, record)


def checked_posterior(value: Any) -> Posterior:
    """Return ``value`` if it is a posterior, or say what it is."""
    if not isinstance(value, Posterior):
        raise ValueError(f"training gave a {type(value).__name__}; it must give a Posterior.")
    return value
