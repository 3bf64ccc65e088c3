"""From posteriors to a tidy table: attack, explain, score - a row for each model and image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from relevance import attacks, checks, explanations, robustness
from relevance.attacks import ball
from relevance.explanations import Rule
from relevance.posterior import Posterior

# The score, and the floor and the ceiling between which it lies.
SCALE = ("lrp_robustness", "unrelated_lrp_robustness", "ceiling_lrp_robustness")


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
        return robustness.lrp_robustness(self.before, self.after, self.top_percent)

    @property
    def softmax_robustness(self) -> Tensor:
        """Softmax robustness of each image, [N]."""
        return robustness.softmax_robustness(self.before_probabilities, self.after_probabilities)

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
        unrelated = robustness.unrelated_robustness(self.before, self.after, self.top_percent)
        columns = {
            "label": self.labels,
            "clean_class": self.before_probabilities.argmax(1),
            "attacked_class": self.after_probabilities.argmax(1),
            "lrp_robustness": self.lrp_robustness,
            "unrelated_lrp_robustness": unrelated,
            "excess_lrp_robustness": self.lrp_robustness - unrelated,
            "ceiling_lrp_robustness": robustness.lrp_robustness(self.before, self.before, self.top_percent),
            "softmax_robustness": self.softmax_robustness,
            "attack_linf": (self.attacked - self.images).flatten(1).abs().amax(1),
            "gradient_is_zero": self.gradient_is_zero,
        }
        rows = pd.DataFrame({name: column.cpu().numpy() for name, column in columns.items()})
        rows.insert(0, "image", np.arange(len(rows)))
        rows.insert(0, "n_samples", self.n_samples)
        return rows


def attack_and_explain_all(
    models: Mapping[str, Posterior], images: Tensor, labels: Tensor, settings: Settings
) -> dict[str, Outcome]:
    """Return :func:`attack_and_explain` of every model, on the same images."""
    return {name: attack_and_explain(model, images, labels, settings) for name, model in models.items()}


def attack_and_explain(posterior: Posterior, images: Tensor, labels: Tensor, settings: Settings) -> Outcome:
    """Attack a posterior with FGSM and explain the class that it predicts on the clean images, before and after.

    Args:
        posterior: the model under attack.
        images: [N, C, H, W] in [0, 1].
        labels: [N], the classes whose loss the attack increases.
        settings: of attack, explanation and score.
    """
    gradient = attacks.loss_gradient(posterior, images, labels)
    # FGSM, along the gradient that is known already.
    attacked = ball.stepped(images, gradient, settings.epsilon, images, settings.epsilon, "linf")
    before_probabilities = posterior.predict(images)
    target = before_probabilities.argmax(1)
    return Outcome(
        images=images,
        labels=labels,
        attacked=attacked,
        before_probabilities=before_probabilities,
        after_probabilities=posterior.predict(attacked),
        before=explanations.lrp(posterior, images, target, rule=settings.rule),
        after=explanations.lrp(posterior, attacked, target, rule=settings.rule),
        gradient_is_zero=(gradient == 0).flatten(1).all(1),
        top_percent=settings.top_percent,
        n_samples=len(posterior),
    )


def robustness_table(outcomes: Mapping[str, Outcome]) -> pd.DataFrame:
    """Return the tables of several models under attack as one, with the column ``model`` in front."""
    return pd.concat(
        [outcome.table().assign(model=name) for name, outcome in outcomes.items()], ignore_index=True
    ).pipe(lambda rows: rows[["model", *rows.columns.drop("model")]])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each model of a :func:`robustness_table`: accuracies, mean scores, zero-gradient share."""
    scored = table.assign(
        accuracy=table["clean_class"] == table["label"],
        attacked_accuracy=table["attacked_class"] == table["label"],
    )
    columns = {
        "accuracy": "accuracy",
        "accuracy under attack": "attacked_accuracy",
        "softmax robustness": "softmax_robustness",
        "LRP robustness": "lrp_robustness",
        "of unrelated maps": "unrelated_lrp_robustness",
        "of a map with itself": "ceiling_lrp_robustness",
        "share of zero gradients": "gradient_is_zero",
    }
    means = scored.groupby("model", sort=False)[list(columns.values())].mean()
    return means.rename(columns={column: name for name, column in columns.items()})


def surviving(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images that every model classifies rightly, before and after its attack."""
    right = right_throughout(table)
    return table[right.groupby(table["image"]).transform("all")]


def right_throughout(table: pd.DataFrame) -> pd.Series:
    """Return for each row whether the image was classified rightly before the attack and after it."""
    return (table["clean_class"] == table["label"]) & (table["attacked_class"] == table["label"])


def paired_differences(table: pd.DataFrame, baseline: str, score: str = "lrp_robustness") -> pd.DataFrame:
    """Compare every model of a :func:`robustness_table` with ``baseline``, image by image.

    Returns:
        A row for each other model: the fields of :class:`relevance.robustness.PairedDifference` and ``direction``.
    """
    checks.one_of("baseline", baseline, table["model"].unique())
    rows = {}
    for name in table["model"].unique():
        if name != baseline:
            difference = paired_difference(table, baseline, name, score)
            rows[name] = {**difference._asdict(), "direction": difference.direction}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def paired_difference(
    table: pd.DataFrame, first: str, second: str, score: str = "lrp_robustness"
) -> robustness.PairedDifference:
    """Compare two models of a :func:`robustness_table`, image by image: by how much is ``second`` higher?"""
    by_model = table.pivot(index="image", columns="model", values=score)
    return robustness.paired_difference(by_model[first].to_numpy(), by_model[second].to_numpy())


def scaled_difference(table: pd.DataFrame, first: str, second: str) -> robustness.Interval:
    """Compare two models by their LRP robustness as a share of the room between unrelated maps and the ceiling.

    Args:
        table: rows of one setting: an image and a model each, with the score, the floor and the ceiling.
        first, second: models; the difference is that of ``second`` from ``first`` (:func:`robustness.scaled_difference`).
    """
    by_model = table.pivot(index="image", columns="model", values=[*SCALE])
    low, high = ([by_model[column, name].to_numpy() for column in SCALE] for name in (first, second))
    return robustness.scaled_difference(low, high)


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
