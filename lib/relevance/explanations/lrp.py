"""Layer-wise relevance propagation as an explicit backward pass in ordinary differentiable operations.

There are no hooks and no overridden autograd functions, so the pass can be mapped over posterior samples with
``torch.func.vmap`` and differentiated again.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from relevance import checks
from relevance.explanations.rules import Epsilon, Rule
from relevance.posterior import ROWS_AT_ONCE, Posterior

PASSES_ON = (nn.Identity, nn.Dropout, nn.ReLU, nn.LeakyReLU, nn.Softplus)
SEEDS = ("logit", "one_hot", "probability")
DEFAULT_RULE = Epsilon()
IMAGES_AT_ONCE = 1000


def lrp(
    posterior: Posterior,
    images: Tensor,
    target: Tensor,
    *,
    rule: Rule = DEFAULT_RULE,
    per_sample: bool = False,
    seed: str = "logit",
) -> Tensor:
    """Return the Bayesian explanation: the posterior's expected relevance map of one class, for each image.

    Every sample explains the same class. Dense layers share relevance by ``rule``, activations pass it on unchanged,
    and flattening only reshapes it. (Carbone et al., Sec. II-C and IV-A.)

    Args:
        posterior: the networks to explain; one sample gives the map of a deterministic network.
        images: [N, C, H, W] in [0, 1].
        target: [N], the class to explain in each image: usually the posterior's prediction on the clean image,
            for the clean and for the attacked one.
        rule: how dense layers share relevance, such as ``Epsilon(0.1)``.
        per_sample: return the map of every sample instead of their mean.
        seed: what is distributed: the target's ``"logit"``, ``"one_hot"`` (1) or its ``"probability"``.

    Returns:
        Expected map [N, C, H, W], or [S, N, C, H, W] with ``per_sample``.

    Raises:
        ValueError: an image, a target, the rule or the seed is not what it may be, or the network has a layer
            without a rule.
    """
    checks.pixels("images", images, posterior.image_shape)
    checks.one_of("seed", seed, SEEDS)
    if not isinstance(rule, Rule) or isinstance(rule, type):
        raise ValueError(f"rule is {rule!r}; it may be a rule of relevance.explanations, such as Epsilon(0.1).")
    layers = _layers(posterior.network)
    target = checks.class_indices("target", target, len(images), _n_outputs(posterior, images))

    parts = [
        _maps(posterior, layers, some_images, some_targets, rule, seed, per_sample=per_sample)
        for some_images, some_targets in zip(images.split(IMAGES_AT_ONCE), target.split(IMAGES_AT_ONCE), strict=True)
    ]
    return torch.cat(parts, dim=1 if per_sample else 0)


def _maps(
    posterior: Posterior,
    layers: list[tuple[str, nn.Module]],
    images: Tensor,
    target: Tensor,
    rule: Rule,
    seed: str,
    *,
    per_sample: bool,
) -> Tensor:
    """Return the maps of a batch that is small enough, or their mean, over chunks of samples."""

    def one_map(sample: dict[str, Tensor]) -> Tensor:
        return _relevance(layers, sample, images, target, rule, seed)

    at_once = max(1, ROWS_AT_ONCE // max(1, len(images)))
    if per_sample:
        return vmap(one_map, chunk_size=at_once)(posterior.samples)
    total = torch.zeros_like(images)
    for start in range(0, len(posterior), at_once):
        chunk = {name: value[start : start + at_once] for name, value in posterior.samples.items()}
        total = total + vmap(one_map)(chunk).sum(0)
    return total / len(posterior)


def _n_outputs(posterior: Posterior, images: Tensor) -> int:
    with torch.no_grad():
        return posterior[0].logits(images[:1]).shape[-1]


def _layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    known = (nn.Linear, nn.Flatten, *PASSES_ON)
    layers = list(network.named_children()) if isinstance(network, nn.Sequential) else [("", network)]
    for name, layer in layers:
        if not isinstance(layer, known):
            raise ValueError(
                f"layer {name or 'of the network'} is a {type(layer).__name__}, for which lrp has no rule; "
                f"it may be one of: {', '.join(kind.__name__ for kind in known)}, in an nn.Sequential."
            )
    return layers


def _relevance(
    layers: list[tuple[str, nn.Module]],
    sample: dict[str, Tensor],
    images: Tensor,
    target: Tensor,
    rule: Rule,
    seed: str,
) -> Tensor:
    """Return the map of one sample: a forward pass that keeps every activation, then the layers in reverse."""
    activations = [images]
    for name, layer in layers:
        prefix = f"{name}." if name else ""
        own = {key: sample[prefix + key] for key, _ in layer.named_parameters()}
        activations.append(functional_call(layer, own, (activations[-1],)))
    relevance = _seed(activations[-1], target, seed)
    for (name, layer), inputs, outputs in zip(reversed(layers), activations[-2::-1], activations[:0:-1], strict=True):
        if isinstance(layer, nn.Linear):
            weight = sample[f"{name}.weight" if name else "weight"]
            relevance = rule.share(inputs, weight, outputs, relevance)
        elif isinstance(layer, nn.Flatten):
            relevance = relevance.reshape(inputs.shape)
    return relevance


def _seed(logits: Tensor, target: Tensor, seed: str) -> Tensor:
    one_hot = nn.functional.one_hot(target, logits.shape[-1]).to(logits.dtype)
    if seed == "one_hot":
        return one_hot
    return one_hot * (logits.softmax(-1) if seed == "probability" else logits)
