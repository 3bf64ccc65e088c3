"""One image under attack, looked at from several sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from relevance.attacks import named
from relevance.attacks.named import Attack
from relevance.base import checks
from relevance.explanations.lrp import lrp
from relevance.explanations.rules import Rule
from relevance.metrics.overlap import lrp_robustness
from relevance.networks.posterior import Posterior
from relevance.pages.figures import frames
from relevance.pages.interactive.turning import said
from relevance.studies import names, scoring
from relevance.studies.carbone import source
from relevance.studies.carbone.study import Study
from relevance.studies.experiment import Outcome
from relevance.studies.store import kept


@dataclass(frozen=True, eq=False)
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
    _known: dict[tuple[Any, ...], tuple[Outcome, float]] = field(default_factory=dict, init=False, repr=False)
    _predictions: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.images) < 2:
            raise ValueError(f"there are {len(self.images)} images; there must be 2 or more, to compare maps of.")
        checks.count("index", self.index, at_least=0, at_most=len(self.images) - 1)

    def figure(self, **choice: Any) -> Figure:
        """Draw the choice."""
        return frames.explained_attack(self.seen(**choice)[0], 0, self.classes)

    def alt(self, **choice: Any) -> str:
        """Say what the figure shows."""
        outcome, _ = self.seen(**choice)
        change = (outcome.attacked - outcome.images).abs().max().item()
        return (
            f"With {said(choice)}: an image of class {self.classes[int(outcome.labels[0])]}, the same after an attack that "
            f"changed its pixels by {change:.2g} at most, both relevance maps in red and blue, the pixels on top, and bars of "
            "the predicted probabilities."
        )

    def reading(self, **choice: Any) -> str:
        """Say what is predicted, and the scores."""
        outcome, unrelated = self.seen(**choice)
        (before, sure), (after, now) = (
            (self.classes[int(row.argmax())], row.max().item())
            for row in (outcome.before_probabilities[0], outcome.after_probabilities[0])
        )
        blind = " The attack had nothing to follow." if outcome.gradient_is_zero[0] else ""
        return (
            f"Predicted: {before} ({sure:.0%}) before, {after} ({now:.0%}) after. LRP robustness "
            f"{outcome.lrp_robustness[0]:.2f}; maps of other images score {unrelated:.2f}. Softmax robustness "
            f"{outcome.softmax_robustness[0]:.2f}.{blind}"
        )

    def seen(self, **choice: Any) -> tuple[Outcome, float]:
        """Return what a choice makes of the image, and what its attacked map scores with the other images' clean ones."""
        key = tuple(sorted(choice.items()))
        if key not in self._known:
            self._known[key] = self._looked(**choice)
        return self._known[key]

    def _predicted(self, posterior: Posterior) -> Tensor:
        if id(posterior) not in self._predictions:
            self._predictions[id(posterior)] = posterior.predict(self.images)
        return self._predictions[id(posterior)]

    def _looked(
        self, model: str = "", attack: str = "", attack_size: float | None = None, rule: str = "", layer: str = ""
    ) -> tuple[Outcome, float]:
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
        one = slice(self.index, self.index + 1)
        attacked = found["images"][one]
        after = lrp(posterior, attacked, target[one], rule=shared, layer=layer)
        outcome = Outcome(
            self.images[one], self.labels[one], attacked, probabilities[one], posterior.predict(attacked), clean[one], after,
            found["blind"][one], self.top_percent, len(posterior),
        )  # fmt: skip
        others = torch.cat([clean[: self.index], clean[self.index + 1 :]])
        return outcome, lrp_robustness(others, after.expand_as(others), self.top_percent).mean().item()


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
