"""Images whose maps were led to others', and what defences make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from relevance.attacks import manipulation
from relevance.base import checks
from relevance.explanations import expected
from relevance.networks.posterior import Posterior
from relevance.pages.figures import frames
from relevance.studies.dombrowski import smoothing
from relevance.studies.dombrowski.manipulation import MANIPULATED, Case
from relevance.studies.store import kept


@dataclass(frozen=True, eq=False)
class Manipulated:
    """One image whose map was led to another's; a reader chooses ``model`` and ``method``.

    Attributes:
        cases: (model, method) -> images and maps, of :func:`relevance.studies.dombrowski.manipulation.cases`.
        table: their rows, of :func:`relevance.studies.dombrowski.manipulation.table`.
        index: which image.
    """

    cases: Mapping[tuple[str, str], Case]
    table: pd.DataFrame
    index: int = 0

    def figure(self, model: str, method: str) -> Figure:
        """Draw the choice."""
        return frames.manipulated(self.cases[model, method], self.index)

    def alt(self, model: str, method: str) -> str:
        """Say what the figure shows."""
        return (
            f"Method {method}, {model}: an image, the manipulated one and their difference, of norm "
            f"{self._row(model, method)['l2']:.2f}; below, the image's map, the map that was aimed at, and the map of the "
            "manipulated image."
        )

    def reading(self, model: str, method: str) -> str:
        """Say how far the map was led."""
        row = self._row(model, method)
        return (
            f"The map correlates {row['correlation_target']:.2f} with its target (before: {row['before']:.2f}) and "
            f"{row['correlation_origin']:.2f} with what it was. No probability moved by more than "
            f"{row['output_change']:.2f}; the class {'stayed' if row['label_kept'] else 'changed'}."
        )

    def _row(self, model: str, method: str) -> pd.Series:
        rows = self.table[(self.table["model"] == model) & (self.table["method"] == method)]
        return rows[(rows["image"] == self.index) & (rows["change"] == MANIPULATED)].iloc[0]


@dataclass(frozen=True, eq=False)
class Defended:
    """The map of a manipulated image as a ``defence`` smooths it, before and after both manipulations.

    Attributes:
        network, posterior, images, plain, defences, how: as :func:`relevance.studies.dombrowski.smoothing.steadiness`
            had them, whose searches are found again.
        rows: what it gave.
        index: which image.
    """

    network: Posterior
    posterior: Posterior
    images: Tensor
    plain: expected.Explain
    defences: Sequence[smoothing.Defence]
    how: manipulation.Manipulation
    rows: pd.DataFrame
    index: int = 0

    @property
    def names(self) -> list[str]:
        """The defences in words."""
        return [str(one) for one in self.defences]

    def figure(self, defence: str) -> Figure:
        """Draw the choice."""
        chosen, none = self._defence(defence), smoothing.Defence(smoothing.NONE)
        model = chosen.model(self.network, self.posterior)
        unaware = kept(smoothing.search, self.network, self.images, self.plain, none, self.how)
        aware = unaware if chosen == none else kept(smoothing.search, model, self.images, self.plain, chosen, self.how)
        images = [some[self.index] for some in (self.images, unaware, aware)]
        target = model.predict(self.images).argmax(1)[self.index][None]
        explain = manipulation.shares(chosen.explain(self.plain))
        return frames.defended(images, [explain(model, image[None], target)[0] for image in images])

    def alt(self, defence: str) -> str:
        """Say what the figure shows."""
        return (
            f"{defence[0].upper()}{defence[1:]}: an image, the same manipulated by an attacker who does not know of the "
            "defence, and by one who does; under each its map as the defence gives it."
        )

    def reading(self, defence: str) -> str:
        """Say how alike the maps stayed, on this image and on all."""
        chosen = self._defence(defence)
        rows = self.rows[(self.rows["defence"] == chosen.name) & (self.rows["parameter"] == chosen.parameter)]
        parts = []
        for how, words in ((smoothing.UNAWARE, "an attacker who does not know"), (smoothing.AWARE, "one who knows")):
            found = rows[rows["manipulation"] == how].set_index("image")["similarity"]
            parts.append(
                f"{found[self.index]:.2f} against {words} (median of this build's {len(found)}: {found.median():.2f})"
            )
        return f"Correlation with the map before: {', '.join(parts)}."

    def _defence(self, name: str) -> smoothing.Defence:
        return self.defences[self.names.index(checks.one_of("defence", name, self.names))]
