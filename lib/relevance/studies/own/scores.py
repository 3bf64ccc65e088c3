"""How steady the map of any posterior is under attack and under noise, beside what unrelated maps would score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor

from relevance.attacks import named
from relevance.attacks.named import NOISE, Attack
from relevance.base import checks
from relevance.explanations.expected import Explain
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Epsilon
from relevance.metrics.overlap import lrp_robustness, unrelated_robustness
from relevance.networks.posterior import Posterior, as_posterior

ATTACKED = "attack"
WHOLE, ONE = "posterior", "its first sample"
RULE = Epsilon(0.1)


@dataclass(frozen=True, eq=False)
class Scored:
    """Images before and after, their maps, and the scores of these.

    Attributes:
        images: [N, C, H, W] in [0, 1].
        changed: ``"attack"`` and ``"noise"`` -> the images after it.
        before: maps of the images, [N, C, H, W], of the class that is predicted on them.
        after: ``"attack"`` and ``"noise"`` -> maps of the changed images, of the same class.
        rows: a row for each image and change: ``image``, ``after``, ``robustness`` and ``floor`` in [0, 1], and ``kept``, whether
            the prediction is the same.
        n_samples: of the posterior.
    """

    images: Tensor
    changed: dict[str, Tensor]
    before: Tensor
    after: dict[str, Tensor]
    rows: pd.DataFrame
    n_samples: int

    @property
    def table(self) -> pd.DataFrame:
        """After what -> the means over the images, and the standard error of the robustness less its floor."""
        groups = self.rows.groupby("after", sort=False)
        table = groups[["robustness", "floor", "kept"]].mean()
        excess = (self.rows["robustness"] - self.rows["floor"]).groupby(self.rows["after"], sort=False)
        table["standard error"] = excess.std() / excess.count() ** 0.5
        return table


def scored(
    posterior: Posterior,
    images: Tensor,
    *,
    epsilon: float = 0.1,
    top_percent: float = 20,
    n_steps: int = 10,
    seed: int = 0,
    explain: Explain | None = None,
) -> Scored:
    """Attack images, add noise of the same size to them, and compare the maps with those before.

    The attack is PGD in the maximum norm away from the class that the posterior predicts, against the whole posterior; the noise
    is a corner of the same ball. The score is k-LRP robustness, the floor that of a map with the changed image's of another
    image (:func:`relevance.metrics.unrelated_robustness`).

    Args:
        posterior: of one or more samples.
        images: [N, C, H, W] in [0, 1], in random order; at least 2.
        epsilon: size of the attack and of the noise, in units of the pixel range.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        n_steps: of the attack.
        seed: of its start and of the noise.
        explain: posterior, images [N, C, H, W] and classes [N] -> maps; relevance by the epsilon rule of 0.1 if None.

    Raises:
        ValueError: there are fewer than 2 images, or they or a setting are not what they may be.
    """
    as_posterior(posterior)
    posterior.check_images(checks.pixels("images", images, posterior.image_shape))
    if len(images) < 2:
        raise ValueError(f"images has {len(images)} images; it must have 2 or more, to compare maps of.")
    settings: dict[str, Any] = {"epsilon": epsilon, "n_steps": n_steps, "seed": seed}
    checks.number("top_percent", top_percent, above=0, at_most=100)
    how = {ATTACKED: Attack("PGD", **settings), NOISE: Attack(NOISE, **settings)}
    target = posterior.predict(images).argmax(1)

    def maps(of: Tensor) -> Tensor:
        return lrp(posterior, of, target, rule=RULE) if explain is None else explain(posterior, of, target)

    before, changed, after, parts = maps(images).detach(), {}, {}, []
    for name, attack in how.items():
        changed[name] = named.perturbed(posterior, images, target, attack, None)["images"]
        after[name] = maps(changed[name]).detach()
        columns = {
            "robustness": lrp_robustness(before, after[name], top_percent),
            "floor": unrelated_robustness(before, after[name], top_percent),
            "kept": (posterior.predict(changed[name]).argmax(1) == target).double(),
        }
        rows = pd.DataFrame({column: value.detach().cpu().numpy() for column, value in columns.items()})
        parts.append(rows.assign(image=range(len(images)), after=name))
    return Scored(images, changed, before, after, pd.concat(parts, ignore_index=True), len(posterior))


def with_its_first(posterior: Posterior, images: Tensor, **settings: Any) -> Mapping[str, Scored]:
    """Return the scores of a posterior, and of its first sample alone where it has more.

    Each is attacked, and explained, by itself; the settings are those of :func:`scored`.
    """
    whole = {WHOLE: scored(posterior, images, **settings)}
    return whole if len(posterior) == 1 else whole | {ONE: scored(posterior[0], images, **settings)}
