"""A scene: one image, one model, one attack and one rule at a time, looked at from every side; the playground's stage.

Everything is remembered between looks, so that a change of one choice computes only what depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from relevance.attacks.named import PREDICTION, Attack, perturbed
from relevance.base import checks
from relevance.explanations.lrp import lrp
from relevance.metrics.overlap import lrp_robustness, softmax_robustness
from relevance.networks.posterior import Posterior
from relevance.studies import names
from relevance.studies.carbone.study import Study
from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC

MODELS = (DETERMINISTIC, ADVERSARIAL, BAYESIAN)
# The target map is another image's, and a scene has one image.
ATTACKS = (
    *(Attack(kind, 0.0, objective).name for kind in PREDICTION for objective in ("cross_entropy", "margin")),
    *("top-k", "target region", "noise"),
)
REMEMBERED = 256
# What is said of a view, here and in the page; {} are filled in.
SENTENCE = (
    "Predicted on the clean image: {clean} ({clean_share}); on the attacked one: {attacked} ({attacked_share}); true: {label}. "
    "The maps explain {explained}. LRP robustness {lrp}, where maps of other images score {unrelated}; "
    "softmax robustness {softmax}."
)
BLIND = "The attack had nothing to follow: the gradient is exactly zero, or the image did not move."


@dataclass(frozen=True)
class Choice:
    """What a reader looks at.

    Attributes:
        image: its number in the scene, from 0.
        model: one of :data:`MODELS`.
        n_samples: of the Bayesian model; the others have one.
        attack: one of :data:`ATTACKS`.
        epsilon: size of the attack in the maximum norm, in units of the pixel range; at least 0.
        rule: a name in :data:`relevance.studies.names.RULES`.
        layer: the affine layer l whose R(x, w, l) is shown; the last one explains the class.
        top_percent: share of the pixels that count as relevant, in (0, 100].
    """

    image: int = 0
    model: str = DETERMINISTIC
    n_samples: int = 10
    attack: str = "FGSM"
    epsilon: float = 0.1
    rule: str = "epsilon"
    layer: str = ""
    top_percent: float = 20


@dataclass(frozen=True, eq=False)
class View:
    """What there is to see of a choice.

    Attributes:
        image, attacked: [C, H, W] in [0, 1].
        before, after: expected maps [C, H, W] of the class that is predicted on the clean image.
        probabilities: [2, K], the posterior predictive on the clean and on the attacked image.
        label: the true class.
        explained: the class that the maps explain.
        lrp_robustness: of the two maps, in [0, 1].
        unrelated: mean score of the attacked map with the clean maps of the scene's other images, in [0, 1].
        softmax_robustness: in [0, 1].
        blind: whether the attack had nothing to follow: a gradient that is exactly zero, or an image that did not move.
    """

    image: Tensor
    attacked: Tensor
    before: Tensor
    after: Tensor
    probabilities: Tensor
    label: int
    explained: int
    lrp_robustness: float
    unrelated: float
    softmax_robustness: float
    blind: bool

    @classmethod
    def of(
        cls, images: Tensor, labels: Tensor, row: int, probabilities: Tensor, clean: Tensor, attacked: Tensor,
        predicted: Tensor, after: Tensor, blind: bool, top_percent: float,
    ) -> View:  # fmt: skip
        """Look at the image in one row of several; the others' clean maps say what unrelated ones score."""
        both = torch.cat([probabilities[row][None], predicted])
        scores = lrp_robustness(clean, after.expand_as(clean), top_percent)
        others = [index for index in range(len(images)) if index != row]
        return cls(
            image=images[row],
            attacked=attacked[0],
            before=clean[row],
            after=after[0],
            probabilities=both,
            label=int(labels[row]),
            explained=int(both[0].argmax()),
            lrp_robustness=scores[row].item(),
            unrelated=scores[others].mean().item(),
            softmax_robustness=softmax_robustness(both[:1], both[1:]).item(),
            blind=blind,
        )

    def sentence(self, classes: Sequence[str]) -> str:
        """Say what there is to see, with the names of the classes."""
        clean, attacked = (classes[int(row.argmax())] for row in self.probabilities)
        shares = [f"{row.max().item():.0%}" for row in self.probabilities]
        said = SENTENCE.format(
            clean=clean,
            clean_share=shares[0],
            attacked=attacked,
            attacked_share=shares[1],
            label=classes[self.label],
            explained=classes[self.explained],
            lrp=f"{self.lrp_robustness:.2f}",
            unrelated=f"{self.unrelated:.2f}",
            softmax=f"{self.softmax_robustness:.2f}",
        )
        return f"{said} {BLIND}" if self.blind else said


class Scene:
    """Some test images of a study and its models.

    Args:
        study: data set, architecture and models.
        n_images: how many images a reader can choose from, balanced over the classes; at least 2.

    Raises:
        ValueError: there are not so many test images.
    """

    def __init__(self, study: Study, n_images: int = 10) -> None:
        self.study = study
        checks.count("n_images", n_images, at_least=2)
        images, labels = study.data.balanced_test(n_images, study.seed)
        order = labels.argsort(stable=True)
        self.images, self.labels = images[order], labels[order]
        for step in (self._model, self._probabilities, self._clean, self._attacked, self._after):
            setattr(self, step.__name__, lru_cache(REMEMBERED)(step))

    @cached_property
    def layers(self) -> Sequence[str]:
        """Names of the layers that can be explained; the last one explains the class."""
        return self.study.layers

    def checked(self, choice: Choice) -> Choice:
        """Return the choice with its layer named and nothing that the model does not have.

        Raises:
            ValueError: a part of it is not what it may be.
        """
        checks.count("image", choice.image, at_least=0, at_most=len(self.images) - 1)
        checks.one_of("model", choice.model, MODELS)
        checks.one_of("attack", choice.attack, ATTACKS)
        checks.one_of("rule", choice.rule, names.RULES)
        checks.number("epsilon", choice.epsilon, at_least=0)
        checks.number("top_percent", choice.top_percent, above=0, at_most=100)
        layer = checks.one_of("layer", choice.layer or self.layers[-1], self.layers)
        most = self.study.n_draws if choice.model == BAYESIAN else 1
        n_samples = checks.count("n_samples", choice.n_samples, at_most=most) if choice.model == BAYESIAN else 1
        return replace(choice, layer=layer, n_samples=n_samples)

    def view(self, choice: Choice) -> View:
        """Return what there is to see of a choice; the same arrays as a chapter would compute.

        Raises:
            ValueError: a part of the choice is not what it may be.
        """
        chosen = self.checked(choice)
        model, row = (chosen.model, chosen.n_samples), chosen.image
        attack = self._attack(chosen)
        # An attack that follows no map makes the same image whatever the rule.
        followed = chosen.rule if attack.needs_rule else ""
        attacked, predicted, blind = self._attacked(model, row, attack, followed)
        clean = self._clean(model, chosen.rule, chosen.layer)
        after = self._after(model, row, attack, followed, chosen.rule, chosen.layer)
        return View.of(
            self.images,
            self.labels,
            row,
            self._probabilities(model),
            clean,
            attacked,
            predicted,
            after,
            blind,
            chosen.top_percent,
        )

    def _attack(self, choice: Choice) -> Attack:
        (named,) = self.study.attacks([choice.attack])
        return replace(named, epsilon=float(choice.epsilon))

    def _model(self, name: str, n_samples: int) -> Posterior:
        trained = self.study.trained[name]
        return trained.thinned(n_samples) if name == BAYESIAN else trained

    def _probabilities(self, model: tuple[str, int]) -> Tensor:
        return self._model(*model).predict(self.images)

    def _clean(self, model: tuple[str, int], rule: str, layer: str) -> Tensor:
        target = self._probabilities(model).argmax(1)
        return lrp(self._model(*model), self.images, target, rule=names.RULES[rule], layer=layer)

    def _attacked(self, model: tuple[str, int], row: int, attack: Attack, followed: str) -> tuple[Tensor, Tensor, bool]:
        """Return the attacked image, what is predicted on it, and whether the attack had nothing to follow."""
        rule = names.RULES[followed] if followed else None
        posterior, image, label = self._model(*model), self.images[row][None], self.labels[row][None]
        found = perturbed(posterior, image, label, attack, rule)
        return found["images"], posterior.predict(found["images"]), bool(found["blind"])

    def _after(self, model: tuple[str, int], row: int, attack: Attack, followed: str, rule: str, layer: str) -> Tensor:
        attacked, _, _ = self._attacked(model, row, attack, followed)
        target = self._probabilities(model)[row].argmax()[None]
        return lrp(self._model(*model), attacked, target, rule=names.RULES[rule], layer=layer)
