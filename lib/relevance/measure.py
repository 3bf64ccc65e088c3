"""One attack on one posterior, measured: images attacked once, maps of layers made once, and a row for each image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, robustness
from relevance.attacks import ball
from relevance.explanations import Rule
from relevance.posterior import Posterior

PREDICTION = ("FGSM", "PGD")
EXPLANATION = ("top-k", "target region", "target map")
NOISE = "noise"
KINDS = (*PREDICTION, *EXPLANATION, NOISE)
OBJECTIVES = {"cross_entropy": "", "margin": " on the margin", "mean_logit": " on the mean logit"}
# As relevance.store.kept: function, arguments -> what the function gives.
Keeper = Callable[..., Any]


@dataclass(frozen=True)
class Attack:
    """An attack as a setting.

    Attributes:
        kind: ``"FGSM"``, ``"PGD"`` (on the prediction), ``"top-k"``, ``"target region"``, ``"target map"`` (on the
            explanation), or ``"noise"``: corners of the ball at random, with which every attack is to be compared.
        epsilon: size of the ball in the maximum norm, in units of the pixel range; at least 0.
        objective: what FGSM and PGD raise, as for :func:`relevance.attacks.pgd`.
        n_steps: of all but FGSM and noise.
        step_size: of one step; as :class:`relevance.attacks.Search` has it if None.
        top_percent: of the pixels that top-k and target region are about, in (0, 100].
        seed: of random starts, regions, other images and noise.
    """

    kind: str
    epsilon: float
    objective: str = "cross_entropy"
    n_steps: int = 10
    step_size: float | None = None
    top_percent: float = 20
    seed: int = 0

    def __post_init__(self) -> None:
        checks.one_of("kind", self.kind, KINDS)
        checks.one_of("objective", self.objective, OBJECTIVES)
        checks.number("epsilon", self.epsilon, at_least=0)

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        return self.kind + (OBJECTIVES[self.objective] if self.kind in PREDICTION else "")

    @property
    def needs_rule(self) -> bool:
        """Whether it follows a map, so that each rule has an attack of its own."""
        return self.kind in EXPLANATION


def perturbed(
    posterior: Posterior, images: Tensor, labels: Tensor, attack: Attack, rule: Rule | None
) -> dict[str, Tensor]:
    """Attack the images.

    Args:
        posterior: the model under attack.
        images: [N, C, H, W] in [0, 1].
        labels: [N], which the attacks on the prediction go away from.
        attack: the setting.
        rule: of the map that attacks on the explanation change: that of the class predicted on the clean image.

    Returns:
        ``"images"`` [N, C, H, W]; ``"blind"`` [N], whether there was nothing to follow: for attacks on the prediction,
        whether the gradient at the clean image is exactly zero; for the others, whether the image did not move.
    """
    walk: dict[str, Any] = {"n_steps": attack.n_steps, "step_size": attack.step_size, "seed": attack.seed}
    walk["progress"] = False
    if attack.kind in PREDICTION:
        blind = attacks.zero_gradients(posterior, images, labels, attack.objective)
        if attack.kind == "FGSM":
            found = attacks.fgsm(posterior, images, labels, attack.epsilon, objective=attack.objective)
        else:
            found = attacks.pgd(posterior, images, labels, attack.epsilon, objective=attack.objective, **walk)
        return {"images": found, "blind": blind}
    if attack.kind == NOISE:
        found = ball.random_corners(images, attack.epsilon, "linf", attack.seed)
    else:
        target = posterior.predict(images).argmax(1)
        found = _on_explanation(posterior, images, target, attack, {**walk, "rule": rule})
    return {"images": found, "blind": (found == images).flatten(1).all(1)}


def _on_explanation(
    posterior: Posterior, images: Tensor, target: Tensor, attack: Attack, walk: dict[str, Any]
) -> Tensor:
    case = (posterior, images, target, attack.epsilon)
    if attack.kind == "top-k":
        return attacks.top_k(*case, top_percent=attack.top_percent, **walk)
    if attack.kind == "target region":
        region = attacks.random_region(tuple(images.shape[1:]), attack.top_percent, attack.seed)
        return attacks.target_region(*case, region=region.to(images.device), **walk)
    # The map of another image, drawn at random; nobody gets its own.
    generator = torch.Generator().manual_seed(attack.seed)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    maps = explanations.lrp(posterior, images, target, rule=walk["rule"])
    return attacks.target_map(*case, target_maps=maps[others], **walk)


def layer_maps(
    posterior: Posterior, images: Tensor, target: Tensor, rule: Rule, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return R(x, w, l), in expectation over the posterior, for several layers l: name -> [N, C, H, W]."""
    return {layer: explanations.lrp(posterior, images, target, rule=rule, layer=layer) for layer in layers}


def scored(
    clean: Mapping[str, Tensor],
    posterior: Posterior,
    images: Tensor,
    attacked: Tensor,
    target: Tensor,
    rule: Rule,
    top_percent: float,
) -> pd.DataFrame:
    """Return the scores of each layer and image, clean maps against attacked ones: a row for each."""
    parts = []
    for layer, before in clean.items():
        after = layer_maps(posterior, attacked, target, rule, [layer])[layer]
        columns = {
            "lrp_robustness": robustness.lrp_robustness(before, after, top_percent),
            "unrelated_lrp_robustness": robustness.unrelated_robustness(before, after, top_percent),
            "ceiling_lrp_robustness": robustness.lrp_robustness(before, before, top_percent),
        }
        rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        parts.append(rows.assign(layer=layer, image=np.arange(len(images))))
    return pd.concat(parts, ignore_index=True)


def predicted(
    posterior: Posterior, images: Tensor, labels: Tensor, found: Mapping[str, Tensor], attack: Attack
) -> pd.DataFrame:
    """Return what the attack did to the prediction on each image: a row for each."""
    before, after = posterior.predict(images), posterior.predict(found["images"])
    columns = {
        "label": labels,
        "clean_class": before.argmax(1),
        "attacked_class": after.argmax(1),
        "softmax_robustness": robustness.softmax_robustness(before, after),
        "attack_linf": (found["images"] - images).flatten(1).abs().amax(1),
        "gradient_is_zero": found["blind"],
    }
    rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    return rows.assign(image=np.arange(len(rows)), attack=attack.name)


def measured(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    rules: Mapping[str, Rule],
    layers: Sequence[str],
    top_percent: float = 20,
    keep: Keeper = lambda function, *arguments: function(*arguments),
) -> pd.DataFrame:
    """Attack a posterior, explain the class that it predicts on the clean images before and after, and score that.

    Args:
        posterior: the model; its own gradients are followed.
        images: [N, C, H, W] in [0, 1].
        labels: [N].
        attack: the setting.
        rules: name -> rule.
        layers: names of affine layers l whose R(x, w, l) is looked at; the last is the explanation of the class.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        keep: calls a function with arguments and may find its result on disk, as :func:`relevance.store.kept`.

    Returns:
        A row for each rule, layer and image: ``attack``, ``rule``, ``layer``, ``image``, ``label``, ``clean_class``,
        ``attacked_class``, ``lrp_robustness`` with what unrelated maps score, the ceiling and the excess,
        ``softmax_robustness``, ``attack_linf`` and ``gradient_is_zero`` (for attacks on explanations: did not move).
    """
    checks.number("top_percent", top_percent, above=0, at_most=100)
    target = posterior.predict(images).argmax(1)
    parts = []
    for name, rule in rules.items():
        found = keep(perturbed, posterior, images, labels, attack, rule if attack.needs_rule else None)
        clean = keep(layer_maps, posterior, images, target, rule, list(layers))
        scores = keep(scored, clean, posterior, images, found["images"], target, rule, top_percent)
        effects = predicted(posterior, images, labels, found, attack)
        parts.append(scores.merge(effects, on="image").assign(rule=name))
    rows = pd.concat(parts, ignore_index=True)
    rows["excess_lrp_robustness"] = rows["lrp_robustness"] - rows["unrelated_lrp_robustness"]
    first = ["attack", "rule", "layer", "image", "label", "clean_class", "attacked_class", "lrp_robustness"]
    return rows[[*first, *rows.columns.drop(first)]]
