"""One image under attack, looked at from several sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from relevance.attacks import named
from relevance.attacks.named import Attack
from relevance.base import checks
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Rule
from relevance.networks.posterior import Posterior
from relevance.pages.interactive.scene import View
from relevance.pages.interactive.scene_figure import explained_attack
from relevance.pages.interactive.turning import said
from relevance.studies import names, scoring
from relevance.studies.carbone import source
from relevance.studies.carbone.study import Study
from relevance.studies.store import kept


@dataclass(eq=False)
class Look:
    """An image under attack; a reader chooses ``model``, ``attack``, ``attack_size``, ``rule`` and ``layer``, or some of them.

    What is not chosen is the first one there is; of the layers the last, which explains the class. Attacks and maps of the same
    images that :func:`relevance.studies.experiment.rows` has made are found again.

    Attributes:
        models: name -> posterior.
        images, labels: [N, C, H, W] in [0, 1] and [N]; one is shown, the others say what unrelated maps score.
        classes: their names.
        attacks: name -> setting.
        rules: name -> rule.
        layers: affine layers whose R(x, w, l) can be shown.
        top_percent: share of the pixels that count as relevant, in (0, 100].
        index: which image is shown.
    """

    models: Mapping[str, Posterior]
    images: Tensor
    labels: Tensor
    classes: Sequence[str]
    attacks: Mapping[str, Attack]
    rules: Mapping[str, Rule]
    layers: Sequence[str] = source.LAYERS["fully_connected"][-1:]
    top_percent: float = 20
    index: int = 0

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise ValueError(f"there are {len(self.images)} images; there must be 2 or more, to compare maps of.")
        checks.count("index", self.index, at_least=0, at_most=len(self.images) - 1)
        for step in (self.seen, self._predicted):
            setattr(self, step.__name__, cache(step))

    def figure(self, **choice: Any) -> Figure:
        """Draw the choice."""
        return explained_attack(self.seen(**choice), self.classes, self.top_percent)

    def alt(self, **choice: Any) -> str:
        """Say what the figure shows."""
        view = self.seen(**choice)
        change = (view.attacked - view.image).abs().max().item()
        return (
            f"With {said(choice)}: an image of class {self.classes[view.label]}, the same after an attack that "
            f"changed its pixels by {change:.2g} at most, both relevance maps in red and blue, the pixels on top, and bars of "
            "the predicted probabilities."
        )

    def reading(self, **choice: Any) -> str:
        """Say what is predicted, and the scores."""
        view = self.seen(**choice)
        before, after = (f"{self.classes[int(row.argmax())]} ({row.max().item():.0%})" for row in view.probabilities)
        blind = " The attack had nothing to follow." if view.blind else ""
        return (
            f"Predicted: {before} before, {after} after. Of the top {self.top_percent:g} % of the pixels "
            f"{view.lrp_robustness:.0%} stay on top; maps of other images share {view.unrelated:.0%}. Softmax robustness "
            f"{view.softmax_robustness:.2f}.{blind}"
        )

    def seen(
        self, model: str = "", attack: str = "", attack_size: float | None = None, rule: str = "", layer: str = ""
    ) -> View:
        """Return what there is to see of a choice."""
        posterior = self.models[checks.one_of("model", model or next(iter(self.models)), self.models)]
        how = self.attacks[checks.one_of("attack", attack or next(iter(self.attacks)), self.attacks)]
        how = how if attack_size is None else replace(how, epsilon=float(attack_size))
        shared = self.rules[checks.one_of("rule", rule or next(iter(self.rules)), self.rules)]
        layer = checks.one_of("layer", layer or self.layers[-1], self.layers)
        followed = shared if how.needs_rule else None
        found = kept(named.perturbed, posterior, self.images, self.labels, how, followed)
        probabilities = self._predicted(posterior)
        target = probabilities.argmax(1)
        clean = kept(scoring.layer_maps, posterior, self.images, target, shared, list(self.layers))[layer]
        attacked = found["images"][self.index][None]
        after = lrp(posterior, attacked, target[self.index][None], rule=shared, layer=layer)
        return View.of(
            self.images, self.labels, self.index, probabilities, clean, attacked, posterior.predict(attacked), after,
            bool(found["blind"][self.index]), self.top_percent,
        )  # fmt: skip

    def _predicted(self, posterior: Posterior) -> Tensor:
        return posterior.predict(self.images)


def of_study(
    study: Study, attacks: Sequence[str], rules: Sequence[str] = ("epsilon",), top_percent: float = 20
) -> Look:
    """Return a look at a study's test images, which finds what its table has computed.

    The first image that every model classifies rightly is shown; if there is none, the first.

    Args:
        study: whose models are attacked.
        attacks: names, as for its table.
        rules: names in :data:`relevance.studies.names.RULES`.
        top_percent: share of the pixels that count as relevant, in (0, 100].
    """
    images, labels = study.data.balanced_test(study.n_images, study.seed)
    named = dict(zip(attacks, study.attacks(attacks), strict=True))
    shown = {name: names.RULES[checks.one_of("rule", name, names.RULES)] for name in rules}
    right = torch.stack([model.predict(images).argmax(1) == labels for model in study.models.values()]).all(0)
    return Look(
        study.models, images, labels, study.data.classes, named, shown, study.layers, top_percent, int(right.int().argmax()),
    )  # fmt: skip


def sizes(epsilon: float, times: Sequence[float] = (0, 0.25, 0.5, 1, 1.5, 2)) -> list[float]:
    """Return ``times`` the size ``epsilon`` of an attack, which is among them; times a tenth of the pixel range if it is 0."""
    return sorted({float(epsilon), *((epsilon or 0.1) * factor for factor in times)})
