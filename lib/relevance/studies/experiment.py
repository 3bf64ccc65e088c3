"""Attack, explain, score: one posterior under one attack, or under many, as rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from relevance.attacks.explanation import random_region, target_map, target_region, top_k
from relevance.attacks.named import Attack, perturbed
from relevance.attacks.prediction import fgsm, loss_gradient, pgd
from relevance.base import balls, checks
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Rule
from relevance.explanations.top import top_share
from relevance.metrics import overlap
from relevance.metrics.overlap import softmax_robustness, unrelated_robustness
from relevance.metrics.similarity import map_scores
from relevance.networks.posterior import Posterior
from relevance.studies.scoring import layer_maps, scored
from relevance.studies.store import kept


def predicted(
    posterior: Posterior, images: Tensor, labels: Tensor, found: Mapping[str, Tensor], attack: Attack
) -> pd.DataFrame:
    """Return what the attack did to the prediction on each image: a row for each."""
    before, after = posterior.predict(images), posterior.predict(found["images"])
    columns = {
        "label": labels,
        "clean_class": before.argmax(1),
        "attacked_class": after.argmax(1),
        "softmax_robustness": softmax_robustness(before, after),
        "attack_linf": (found["images"] - images).flatten(1).abs().amax(1),
        "gradient_is_zero": found["blind"],
    }
    rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
    return rows.assign(image=np.arange(len(rows)), attack=attack.name)


def rows(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    *,
    attack: Attack,
    rules: Mapping[str, Rule],
    layers: Sequence[str],
    top_percent: float = 20,
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

    Returns:
        A row for each rule, layer and image: ``attack``, ``rule``, ``layer``, ``image``, ``label``, ``clean_class``,
        ``attacked_class``, ``lrp_robustness`` with what unrelated maps score, the ceiling and the excess,
        ``softmax_robustness``, ``attack_linf`` and ``gradient_is_zero`` (for attacks on explanations: did not move).
    """
    checks.number("top_percent", top_percent, above=0, at_most=100)
    target = posterior.predict(images).argmax(1)
    parts = []
    for name, rule in rules.items():
        found = kept(perturbed, posterior, images, labels, attack, rule if attack.needs_rule else None)
        clean = kept(layer_maps, posterior, images, target, rule, list(layers))
        scores = kept(scored, clean, posterior, images, found["images"], target, rule, top_percent)
        effects = predicted(posterior, images, labels, found, attack)
        parts.append(scores.merge(effects, on="image").assign(rule=name))
    rows = pd.concat(parts, ignore_index=True)
    rows["excess_lrp_robustness"] = rows["lrp_robustness"] - rows["unrelated_lrp_robustness"]
    first = ["attack", "rule", "layer", "image", "label", "clean_class", "attacked_class", "lrp_robustness"]
    return rows[[*first, *rows.columns.drop(first)]]


@dataclass(frozen=True)
class Settings:
    """How models are attacked, explained and scored.

    Attributes:
        epsilon: size of the FGSM attack in the maximum norm; at least 0. The paper takes 0.2.
        rule: of layer-wise relevance propagation.
        top_percent: share of the pixels that count as relevant, in (0, 100].
    """

    epsilon: float
    rule: Rule
    top_percent: float

    def __post_init__(self) -> None:
        checks.number("epsilon", self.epsilon, at_least=0)
        checks.number("top_percent", self.top_percent, above=0, at_most=100)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One posterior under one attack: the images, its predictions and its explanations, before and after.

    Attributes:
        images, attacked: [N, C, H, W] in [0, 1].
        labels: [N].
        before_probabilities, after_probabilities: posterior predictive on clean and attacked images, [N, K].
        before, after: expected relevance maps of the class predicted on the clean image, [N, C, H, W].
        gradient_is_zero: [N], whether the attacked loss had a gradient of exactly zero on the clean image.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        n_samples: of the posterior.
    """

    images: Tensor
    labels: Tensor
    attacked: Tensor
    before_probabilities: Tensor
    after_probabilities: Tensor
    before: Tensor
    after: Tensor
    gradient_is_zero: Tensor
    top_percent: float
    n_samples: int

    @property
    def lrp_robustness(self) -> Tensor:
        """k-LRP robustness of each image, [N]."""
        return overlap.lrp_robustness(self.before, self.after, self.top_percent)

    @property
    def softmax_robustness(self) -> Tensor:
        """Softmax robustness of each image, [N]."""
        return overlap.softmax_robustness(self.before_probabilities, self.after_probabilities)

    @property
    def failed(self) -> Tensor:
        """[N], whether the attack left the predicted class as it was, and that class is the label."""
        clean = self.before_probabilities.argmax(1)
        return (clean == self.after_probabilities.argmax(1)) & (clean == self.labels)

    def table(self) -> pd.DataFrame:
        """Return a row for each image: classes, scores, realised size of the attack, zero-gradient flag.

        Beside ``lrp_robustness`` stand what unrelated maps score, the excess over it, and the ceiling: the score of
        the clean map with itself, below 1 where tied zeros fill the places.
        """
        unrelated = unrelated_robustness(self.before, self.after, self.top_percent)
        columns = {
            "label": self.labels,
            "clean_class": self.before_probabilities.argmax(1),
            "attacked_class": self.after_probabilities.argmax(1),
            "lrp_robustness": self.lrp_robustness,
            "unrelated_lrp_robustness": unrelated,
            "excess_lrp_robustness": self.lrp_robustness - unrelated,
            "ceiling_lrp_robustness": overlap.lrp_robustness(self.before, self.before, self.top_percent),
            "softmax_robustness": self.softmax_robustness,
            "attack_linf": (self.attacked - self.images).flatten(1).abs().amax(1),
            "gradient_is_zero": self.gradient_is_zero,
        }
        rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        rows.insert(0, "image", np.arange(len(rows)))
        rows.insert(0, "n_samples", self.n_samples)
        return rows


def outcomes(models: Mapping[str, Posterior], images: Tensor, labels: Tensor, settings: Settings) -> dict[str, Outcome]:
    """Return :func:`outcome` of every model, on the same images."""
    return {name: outcome(model, images, labels, settings) for name, model in models.items()}


def outcome(posterior: Posterior, images: Tensor, labels: Tensor, settings: Settings) -> Outcome:
    """Attack a posterior with FGSM and explain the class that it predicts on the clean images, before and after.

    Args:
        posterior: the model under attack.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss the attack increases.
        settings: of attack, explanation and score.
    """
    gradient = loss_gradient(posterior, images, labels)
    # FGSM, along the gradient that is known already.
    attacked = balls.stepped(images, gradient, settings.epsilon, images, settings.epsilon, "linf")
    before_probabilities = posterior.predict(images)
    target = before_probabilities.argmax(1)
    return Outcome(
        images=images,
        labels=labels,
        attacked=attacked,
        before_probabilities=before_probabilities,
        after_probabilities=posterior.predict(attacked),
        before=lrp(posterior, images, target, rule=settings.rule),
        after=lrp(posterior, attacked, target, rule=settings.rule),
        gradient_is_zero=(gradient == 0).flatten(1).all(1),
        top_percent=settings.top_percent,
        n_samples=len(posterior),
    )


def averaged_change(posterior: Posterior, images: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Attack every sample by itself by FGSM, average the attacked images, and compare with one attack on one sample.

    Returns:
        [N]: the mean absolute change of the average, as a share of the samples' own mean absolute change; 1 where all have
        moved alike, and NaN where none has moved.
    """
    attacked = torch.stack([fgsm(sample, images, labels, epsilon) for sample in posterior])
    moved = (attacked - images).flatten(2)
    return moved.mean(0).abs().mean(1) / moved.abs().mean((0, 2))


def representative(outcomes: Mapping[str, Outcome]) -> int:
    """Return the index of an image that speaks for the others, on which the attack failed for every model.

    Among the images on which the attack failed on every model (or among all, if there is none), it is the one whose
    LRP robustness is closest to the median image's, summed over the models: nobody picked it.
    """
    scores = torch.stack([outcome.lrp_robustness for outcome in outcomes.values()])
    failed = torch.stack([outcome.failed for outcome in outcomes.values()]).all(0)
    candidates = failed.nonzero().squeeze(1) if failed.any() else torch.arange(len(failed), device=failed.device)
    among = scores[:, candidates]
    distance = (among - among.median(1, keepdim=True).values).abs().sum(0)
    return int(candidates[distance.argmin()])


CLEAN = "clean"
RANDOM = "random corners"


@dataclass(frozen=True, eq=False)
class Gallery:
    """What each attack made of some images and of their explanations, for one posterior.

    Attributes:
        posterior: that was attacked.
        target: [N], the class it predicts on the clean images, which all maps explain.
        images: attack -> images [N, C, H, W]; the first, ``"clean"``, are the images themselves.
        maps: attack -> expected relevance maps of these images.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        aims: attack on explanations -> what it aims at, of the maps of all images.
    """

    posterior: Posterior
    target: Tensor
    images: dict[str, Tensor]
    maps: dict[str, Tensor]
    top_percent: float
    aims: dict[str, Callable[[Tensor], float]]

    @property
    def attacks(self) -> list[str]:
        """Names of the attacks."""
        return [name for name in self.images if name != CLEAN]

    def scores(self, attack: str) -> pd.DataFrame:
        """Return the scores of each image's two maps: see :func:`relevance.metrics.map_scores`."""
        checks.one_of("attack", attack, self.attacks)
        return map_scores(self.maps[CLEAN], self.maps[attack], self.top_percent)

    def table(self) -> pd.DataFrame:
        """Return a row for each attack: means of the scores over the images where they mean something, and what it did.

        ``aim`` is what the attack works on, before and after: the relevance of the top pixels (top-k lowers it) and of the
        region, and the distance from the target map, means over the images. ``unrelated``
        is the overlap that maps of different images have; ``same class`` the share of the images whose
        predicted class is that of the clean image; ``linf`` the largest change of a pixel.
        """
        rows = {}
        for name in self.attacks:
            found, images = self.scores(name), self.images[name]
            rows[name] = {
                "overlap": found["lrp_robustness"].mean(),
                "unrelated": unrelated_robustness(self.maps[CLEAN], self.maps[name], self.top_percent).mean().item(),
                "rank": found["rank"].mean(),
                "structure": found["structure"].mean(),
                "error": found["error"].mean(),
                "aim, clean": self.aims[name](self.maps[CLEAN]) if name in self.aims else torch.nan,
                "aim, attacked": self.aims[name](self.maps[name]) if name in self.aims else torch.nan,
                "same class": (self.posterior.predict(images).argmax(1) == self.target).double().mean().item(),
                "linf": balls.sizes(images - self.images[CLEAN], "linf").max().item(),
            }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("attack")


def gallery(
    posterior: Posterior,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    rule: Rule,
    top_percent: float,
    n_steps: int = 10,
    seed: int = 0,
) -> Gallery:
    """Attack images in every way that the paper names, and at random, within the same ball.

    The target region is of random pixels, and the target map that of the image before in the batch, of any class.

    Args:
        posterior, images, labels, epsilon: as for :func:`relevance.attacks.pgd`.
        rule: of layer-wise relevance propagation.
        top_percent: share of the pixels that count as relevant, and that a region holds, in (0, 100].
        n_steps: of the attacks of more than one step.
        seed: of what is random.
    """
    target = posterior.predict(images).argmax(1)

    def explained(some: Tensor) -> Tensor:
        return lrp(posterior, some, target, rule=rule)

    clean = explained(images)
    given = (posterior, images, target, epsilon)
    walk: dict[str, Any] = {"n_steps": n_steps, "seed": seed, "progress": False}
    region = random_region(tuple(clean.shape[1:]), top_percent, seed).to(images.device)
    share: dict[str, Any] = {"rule": rule, **walk}
    attacked = {
        CLEAN: images,
        RANDOM: balls.random_corners(images, epsilon, "linf", seed),
        "FGSM": fgsm(posterior, images, labels, epsilon),
        "PGD": pgd(posterior, images, labels, epsilon, objective="margin", **walk),
        "top-k": top_k(*given, top_percent=top_percent, **share),
        "top-k as written": top_k(*given, top_percent=top_percent, measure="relevance", **share),
        "target region": target_region(*given, region=region, **share),
        "target map": target_map(*given, target_maps=clean.roll(1, 0), **share),
    }
    maps = {name: clean if name == CLEAN else explained(some) for name, some in attacked.items()}
    top = top_share(clean, top_percent).to(clean)
    aims: dict[str, Callable[[Tensor], float]] = {
        "top-k": lambda found: (top * functional.normalize(found.flatten(1).abs(), p=1)).sum(1).mean().item(),
        "top-k as written": lambda found: (top * found.flatten(1)).sum(1).mean().item(),
        "target region": lambda found: (found * region).flatten(1).sum(1).mean().item(),
        "target map": lambda found: (found - clean.roll(1, 0)).flatten(1).norm(dim=1).mean().item(),
    }
    return Gallery(posterior, target, attacked, maps, top_percent, aims)
