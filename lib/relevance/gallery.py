"""The same images under every kind of attack, on their prediction and on their explanation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from relevance import attacks, checks, explanations, robustness
from relevance.attacks import ball
from relevance.explanations import Rule
from relevance.posterior import Posterior
from relevance.robustness import PairedDifference

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
        """Return the scores of each image's two maps: see :func:`relevance.robustness.map_scores`."""
        checks.one_of("attack", attack, self.attacks)
        return robustness.map_scores(self.maps[CLEAN], self.maps[attack], self.top_percent)

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
                "unrelated": robustness.unrelated_robustness(self.maps[CLEAN], self.maps[name], self.top_percent)
                .mean()
                .item(),
                "rank": found["rank"].mean(),
                "structure": found["structure"].mean(),
                "error": found["error"].mean(),
                "aim, clean": self.aims[name](self.maps[CLEAN]) if name in self.aims else torch.nan,
                "aim, attacked": self.aims[name](self.maps[name]) if name in self.aims else torch.nan,
                "same class": (self.posterior.predict(images).argmax(1) == self.target).double().mean().item(),
                "linf": ball.sizes(images - self.images[CLEAN], "linf").max().item(),
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
        return explanations.lrp(posterior, some, target, rule=rule)

    clean = explained(images)
    given = (posterior, images, target, epsilon)
    walk: dict[str, Any] = {"n_steps": n_steps, "seed": seed, "progress": False}
    region = attacks.random_region(tuple(clean.shape[1:]), top_percent, seed).to(images.device)
    share: dict[str, Any] = {"rule": rule, **walk}
    attacked = {
        CLEAN: images,
        RANDOM: ball.random_corners(images, epsilon, "linf", seed),
        "FGSM": attacks.fgsm(posterior, images, labels, epsilon),
        "PGD": attacks.pgd(posterior, images, labels, epsilon, objective="margin", **walk),
        "top-k": attacks.top_k(*given, top_percent=top_percent, **share),
        "top-k as written": attacks.top_k(*given, top_percent=top_percent, measure="relevance", **share),
        "target region": attacks.target_region(*given, region=region, **share),
        "target map": attacks.target_map(*given, target_maps=clean.roll(1, 0), **share),
    }
    maps = {name: clean if name == CLEAN else explained(some) for name, some in attacked.items()}
    top = robustness.top_share(clean, top_percent).to(clean)
    aims: dict[str, Callable[[Tensor], float]] = {
        "top-k": lambda found: (top * functional.normalize(found.flatten(1).abs(), p=1)).sum(1).mean().item(),
        "top-k as written": lambda found: (top * found.flatten(1)).sum(1).mean().item(),
        "target region": lambda found: (found * region).flatten(1).sum(1).mean().item(),
        "target map": lambda found: (found - clean.roll(1, 0)).flatten(1).norm(dim=1).mean().item(),
    }
    return Gallery(posterior, target, attacked, maps, top_percent, aims)


def differences(galleries: Mapping[str, Gallery], baseline: str, other: str) -> pd.DataFrame:
    """Compare the overlap of two models under every attack, image by image.

    Returns:
        A row for each attack: the fields of :class:`relevance.robustness.PairedDifference` of ``other`` less
        ``baseline``, over the images for which both scores mean something, and ``direction``.
    """
    for name in (baseline, other):
        checks.one_of("model", name, galleries)
    rows = {}
    for attack in galleries[baseline].attacks:
        pair = [galleries[name].scores(attack)["lrp_robustness"].to_numpy() for name in (baseline, other)]
        known = ~(pd.isna(pair[0]) | pd.isna(pair[1]))
        found: PairedDifference = robustness.paired_difference(pair[0][known], pair[1][known])
        rows[attack] = {**found._asdict(), "direction": found.direction}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("attack")
