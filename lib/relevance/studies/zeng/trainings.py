"""One way to run each training of the third source (Zeng et al., supplement, Sec. A3 and Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from relevance.base import checks
from relevance.datasets.dataset import Dataset
from relevance.inference.adversarial import adversarial
from relevance.inference.distillation import distillation
from relevance.inference.jacobian import jacobian
from relevance.inference.sgd import sgd
from relevance.networks.posterior import Posterior
from relevance.studies.store import kept
from relevance.studies.zeng.source import DISTILLATION, JACOBIAN, PGD, STANDARD, Setting, scaled_epsilon


def trained(
    setting: Setting,
    network: nn.Module,
    data: Dataset,
    *,
    epochs: int,
    seed: int = 0,
    **others: Any,
) -> Posterior:
    """Train a network as a setting says, or find it trained; return it as a posterior of one sample.

    The source's update has the gradient's sign in both norms (Sec. B); ours goes along the gradient itself in the Euclidean
    norm, as Madry et al.'s do. It gives no size of the step; ours is 2.5 epsilon / n_steps.

    Args:
        setting: which; its epsilon is that of CIFAR-10 and goes through :func:`scaled_epsilon`.
        network: the architecture.
        data: its training images and labels are used.
        epochs: passes over them.
        seed: of the training.
        others: further settings of the training, such as ``learning_rate``.

    Raises:
        ValueError: the method is unknown, or what the training itself raises.
    """
    given = {"epochs": epochs, "seed": seed, **others}
    checks.one_of("method", setting.method, (STANDARD, PGD, DISTILLATION, JACOBIAN))
    if setting.method == PGD:
        epsilon = scaled_epsilon(setting.epsilon, setting.norm, data.image_shape)
        attack = {"epsilon": epsilon, "norm": setting.norm, "n_steps": setting.n_steps}
        found = kept(adversarial, network, data, **attack, **given)
    elif setting.method == DISTILLATION:
        found = kept(distillation, network, data, temperature=setting.temperature, **given)
    elif setting.method == JACOBIAN:
        found = kept(jacobian, network, data, strength=setting.strength, **given)
    else:
        found = kept(sgd, network, data, **given)
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
    checks.seed("seed", seed, after=n_members - 1)
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
