"""Scores and maps that a chapter has already, one choice at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from relevance.base import checks
from relevance.explanations.lrp import lrp
from relevance.metrics.statistics import spearman
from relevance.networks.posterior import Posterior
from relevance.pages.figures import frames
from relevance.pages.figures.maps import heatmaps, side_by_side
from relevance.pages.figures.scores import lrp_against_softmax
from relevance.pages.figures.training import saliency_by_training
from relevance.pages.interactive.turning import said
from relevance.studies.names import WITH_PARAMETER
from relevance.studies.tables import only
from relevance.studies.zeng import effects, tables


@dataclass(frozen=True, eq=False)
class Scatter:
    """LRP against softmax robustness of all images; a reader chooses columns of the table, such as ``model`` and ``attack``.

    Attributes:
        table: from :meth:`relevance.studies.carbone.study.Study.table`; of its layers the one that explains the class is shown.
    """

    table: pd.DataFrame

    def figure(self, **choice: str) -> Figure:
        """Draw the choice."""
        return lrp_against_softmax(self._rows(**choice))

    def alt(self, **choice: str) -> str:
        """Say what the figure shows."""
        rows = self._rows(**choice)
        return (
            f"With {said(choice)}: {len(rows)} dots, an image each. Softmax robustness across, median "
            f"{rows['softmax_robustness'].median():.2f}; LRP robustness up, median {rows['lrp_robustness'].median():.2f}."
        )

    def reading(self, **choice: str) -> str:
        """Say the means and the correlation."""
        rows = self._rows(**choice)
        softmax, lrp = (rows[f"{name}_robustness"].to_numpy() for name in ("softmax", "lrp"))
        found = spearman(softmax, lrp)
        rho = f"Spearman's rho {found.rho:.2f}, 95 % interval {found.low:.2f} to {found.high:.2f}"
        return (
            f"Mean LRP robustness {lrp.mean():.2f}, mean softmax robustness {softmax.mean():.2f}; "
            f"{f'no rank correlation: {found.reason}' if found.reason else rho}."
        )

    def _rows(self, **choice: str) -> pd.DataFrame:
        return only(self.table, layer="last", **choice)


@dataclass(frozen=True, eq=False)
class Ruled:
    """Maps of images by a ``rule`` and its ``parameter``.

    Attributes:
        posterior: the model.
        images, target: [N, C, H, W] in [0, 1] and [N], the classes that are explained.
        titles: above the images.
    """

    posterior: Posterior
    images: Tensor
    target: Tensor
    titles: Sequence[str]

    def figure(self, rule: str, parameter: float) -> Figure:
        """Draw the images and their maps."""
        return heatmaps(self.images, self._maps(rule, parameter), self.titles)

    def alt(self, rule: str, parameter: float) -> str:
        """Say what the figure shows."""
        maps = self._maps(rule, parameter)
        against = (maps.clamp(max=0).sum() / maps.abs().sum()).abs().item()
        return (
            f"{len(self.images)} images and under each its map by the {rule} rule with {parameter:g}, red for the class and "
            f"blue against it; of all relevance, by its size, {against:.0%} is against."
        )

    def reading(self, rule: str, parameter: float) -> str:
        """Say what the rule conserves."""
        logits = self.posterior.logits(self.images).mean(0).gather(1, self.target[:, None]).squeeze(1)
        shares = self._maps(rule, parameter).flatten(1).sum(1) / logits
        each = ", ".join(f"{share:.0%}" for share in shares.tolist())
        return f"From the left, the maps add up to {each} of the logit that they explain."

    def _maps(self, rule: str, parameter: float) -> Tensor:
        some = WITH_PARAMETER[checks.one_of("rule", rule, WITH_PARAMETER)](parameter)
        return lrp(self.posterior, self.images, self.target, rule=some)


@dataclass(frozen=True, eq=False)
class Trained:
    """Saliency maps of some images, by ``training``.

    Attributes:
        images: [N, C, H, W] in [0, 1].
        maps: training -> [N, C, H, W].
        accuracies: of :func:`relevance.studies.zeng.effects.compare`, a row for each training.
    """

    images: Tensor
    maps: Mapping[str, Tensor]
    accuracies: pd.DataFrame

    def figure(self, training: str) -> Figure:
        """Draw the images and the maps of one training."""
        return saliency_by_training(self.images, {training: self.maps[training]})

    def alt(self, training: str) -> str:
        """Say what the figure shows."""
        return (
            f"{len(self.images)} images and under each, in red and blue, the gradient map of the network of the training "
            f"{training}."
        )

    def reading(self, training: str) -> str:
        """Say what the training withstands."""
        row = self.accuracies.loc[training]
        return (
            f"Accuracy {row[effects.CLEAN]:.0%}; under attacks on the margin {row[effects.MARGIN_LINF]:.0%} in the "
            f"maximum norm, {row[effects.MARGIN_L2]:.0%} in the Euclidean one."
        )


@dataclass(frozen=True, eq=False)
class Drawn:
    """Several maps of one image of each class; a reader chooses the ``image``.

    Attributes:
        images: name -> [C, H, W] in [0, 1].
        maps: title -> [N, 1, H, W], in the order of ``images``.
        measured: title -> how like the map is to what it was to be like, [N].
    """

    images: Mapping[str, Tensor]
    maps: Mapping[str, Tensor]
    measured: Mapping[str, Tensor]

    def figure(self, image: str) -> Figure:
        """Draw the image and its maps."""
        number = list(self.images).index(image)
        titled = {title.replace(" ", "\n", 1): found[number] for title, found in self.maps.items()}
        return side_by_side(self.images[image], titled, columns=3)

    def alt(self, image: str) -> str:
        """Say what the figure shows."""
        return f"The image of {image} and its maps: {', '.join(self.maps)}."

    def reading(self, image: str) -> str:
        """Say how alike the maps are."""
        number = list(self.images).index(image)
        told = ", ".join(f"{title} {found[number]:.2f}" for title, found in self.measured.items())
        return f"Correlation with the robust gradient: {told}."


@dataclass(frozen=True, eq=False)
class Holes:
    """An image without the ``share_removed`` of its pixels, by several rankings, and what is still learned then.

    Attributes:
        image: [C, H, W] in [0, 1].
        orders: ranking -> places [1 or C, H, W].
        fill: what a removed pixel becomes.
        table: of :func:`relevance.studies.zeng.roar.roar`, with these rankings.
    """

    image: Tensor
    orders: Mapping[str, Tensor]
    fill: Tensor
    table: pd.DataFrame

    def figure(self, share_removed: float) -> Figure:
        """Draw the image with its holes."""
        return frames.holes(self.image, self.orders, share_removed, self.fill)

    def alt(self, share_removed: float) -> str:
        """Say what the figure shows."""
        return (
            f"One image in {len(self.orders)} panels, without {share_removed:.0%} of its pixels, the most relevant ones by "
            f"{', '.join(self.orders)}."
        )

    def reading(self, share_removed: float) -> str:
        """Say what is still learned."""
        rows = tables.accuracies(self.table)
        found = rows[(rows["share"] - share_removed).abs() < 1e-9].set_index("attribution")["mean"]
        return f"Test accuracy after retraining: {', '.join(f'{name} {found[name]:.3f}' for name in self.orders)}."
