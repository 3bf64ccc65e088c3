"""Any attack by the name that tables have for it: an attack as a value, and noise of the same size as its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from relevance.attacks.explanation import random_region, target_map, target_region, top_k
from relevance.attacks.prediction import fgsm, pgd, zero_gradients
from relevance.base import balls, checks
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Rule
from relevance.networks.posterior import Posterior

PREDICTION = ("FGSM", "PGD")
EXPLANATION = ("top-k", "target region", "target map")
NOISE = "noise"
KINDS = (*PREDICTION, *EXPLANATION, NOISE)
OBJECTIVES = {
    "cross_entropy": "", "mean_loss": " on the mean loss", "margin": " on the margin", "mean_logit": " on the mean logit",
}  # fmt: skip


@dataclass(frozen=True)
class Attack(checks.Checked):
    """An attack as a setting.

    Attributes:
        kind: ``"FGSM"``, ``"PGD"`` (on the prediction), ``"top-k"``, ``"target region"``, ``"target map"`` (on the
            explanation), or ``"noise"``: corners of the ball at random, with which every attack is to be compared.
        epsilon: size of the ball in the maximum norm, in units of the pixel range; at least 0.
        objective: what FGSM and PGD raise, as for :func:`relevance.attacks.pgd`.
        n_steps: of all but FGSM and noise.
        step_size: of one step; as :class:`relevance.base.ascent.Search` has it if None.
        top_percent: of the pixels that top-k and target region are about, in (0, 100].
        seed: of random starts, regions, other images and noise.
    """

    kind: str = checks.choice(known=KINDS)
    epsilon: float = checks.real(at_least=0)
    objective: str = checks.choice("cross_entropy", OBJECTIVES)
    n_steps: int = checks.whole(10)
    step_size: float | None = checks.real(None, above=0)
    top_percent: float = checks.real(20, above=0, at_most=100)
    seed: int = checks.seeded()

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
        blind = zero_gradients(posterior, images, labels, attack.objective)
        if attack.kind == "FGSM":
            found = fgsm(posterior, images, labels, attack.epsilon, objective=attack.objective)
        else:
            found = pgd(posterior, images, labels, attack.epsilon, objective=attack.objective, **walk)
        return {"images": found, "blind": blind}
    if attack.kind == NOISE:
        found = balls.random_corners(images, attack.epsilon, "linf", attack.seed)
    else:
        target = posterior.predict(images).argmax(1)
        found = _on_explanation(posterior, images, target, attack, {**walk, "rule": rule})
    return {"images": found, "blind": (found == images).flatten(1).all(1)}


def _on_explanation(
    posterior: Posterior, images: Tensor, target: Tensor, attack: Attack, walk: dict[str, Any]
) -> Tensor:
    case = (posterior, images, target, attack.epsilon)
    if attack.kind == "top-k":
        return top_k(*case, top_percent=attack.top_percent, **walk)
    if attack.kind == "target region":
        region = random_region(tuple(images.shape[1:]), attack.top_percent, attack.seed)
        return target_region(*case, region=region.to(images.device), **walk)
    # The map of another image, drawn at random; nobody gets its own.
    generator = torch.Generator().manual_seed(attack.seed)
    order = torch.randperm(len(images), generator=generator).to(images.device)
    others = torch.empty_like(order)
    others[order] = order.roll(1)
    maps = lrp(posterior, images, target, rule=walk["rule"])
    return target_map(*case, target_maps=maps[others], **walk)
