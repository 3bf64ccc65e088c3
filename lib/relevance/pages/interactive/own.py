"""A row of buttons that put an example in the place of a network, a posterior or a folder of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from typing import Any

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from relevance.base.environment import printing
from relevance.networks.posterior import Posterior
from relevance.pages.figures.own import own
from relevance.pages.interactive.jobs import Newest
from relevance.pages.interactive.turning import said, turning
from relevance.pages.web import picture
from relevance.studies.own import examples, words
from relevance.studies.own.scores import ATTACKED, WHOLE, Scored, scored


@dataclass(eq=False)
class Swapped:
    """Networks, posteriors and folders that a reader puts together: ``network``, ``posterior`` and ``folder``.

    Attributes:
        settings: of :func:`relevance.studies.own.scores.scored`, and ``n_images`` and ``seed``.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step in (self.found, self._posterior, self._images):
            setattr(self, step.__name__, cache(step))

    def figure(self, **choice: str) -> Figure:
        """Draw the choice."""
        return own(self.found(**choice))

    def alt(self, **choice: str) -> str:
        """Say what the figure shows."""
        attack = self.found(**choice).table.loc[ATTACKED]
        return (
            f"With {said(choice)}: an image, its map, the map after noise and after an attack; below, bars of the mean scores, "
            f"{attack['robustness']:.2f} after the attack, and a line where unrelated maps are, {attack['floor']:.2f}."
        )

    def reading(self, **choice: str) -> str:
        """Say what was measured."""
        return words.answer({WHOLE: self.found(**choice)})

    def found(self, network: str, posterior: str, folder: str) -> Scored:
        """Return the scores of a choice."""
        settings = {name: value for name, value in self.settings.items() if name != "n_images"}
        return scored(self._posterior(network, posterior), self._images(folder), **settings)

    def _posterior(self, network: str, posterior: str) -> Posterior:
        return examples.posterior(examples.network(network), posterior)

    def _images(self, folder: str) -> Tensor:
        return examples.images(folder, n_images=self.settings.get("n_images", 24), seed=self.settings.get("seed", 0))


def swapping(caption: str, **settings: Any) -> Any:
    """Return buttons for the examples: widgets where there is a kernel, pictures drawn beforehand where the press prints.

    Args:
        caption: below the picture; text.
        settings: of :func:`relevance.studies.own.scores.scored`, and ``n_images`` and ``seed``.
    """
    swapped = Swapped(settings)
    if printing():
        return turning(swapped.figure, examples.EXAMPLES, caption=caption, alt=swapped.alt, reading=swapped.reading)
    return Buttons(swapped, examples.EXAMPLES)


class Buttons(ipywidgets.VBox):
    """A row of buttons for each of network, posterior and folder, and the figure of what is pressed.

    Args:
        swapped: gives the figure, the text and the sentence of a choice.
        offered: what may be pressed for each.
    """

    def __init__(self, swapped: Swapped, offered: Mapping[str, Sequence[str]]) -> None:
        self._swapped = swapped
        self._rows = {
            name: ipywidgets.ToggleButtons(options=list(values), description=name) for name, values in offered.items()
        }
        self._picture, self._said = ipywidgets.HTML(), ipywidgets.HTML()
        for row in self._rows.values():
            row.observe(lambda _: self.redraw(), names="value")
        self._newest = Newest(self._show, self._say_error)
        super().__init__([*self._rows.values(), self._picture, self._said])
        self.redraw()

    def set(self, **choice: str) -> None:
        """Press buttons by name."""
        for name, value in choice.items():
            self._rows[name].value = value

    def redraw(self) -> None:
        """Have what is pressed drawn."""
        self._newest.ask({name: row.value for name, row in self._rows.items()})

    def settle(self, timeout: float | None = None) -> bool:
        """Wait until the picture is that of the buttons; return whether it is so after ``timeout`` seconds."""
        return self._newest.settle(timeout)

    def close(self) -> None:
        """End the work and the widgets."""
        self._newest.close()
        super().close()

    def _show(self, choice: dict[str, str]) -> None:
        figure, alt = self._swapped.figure(**choice), self._swapped.alt(**choice)
        self._picture.value = picture(figure, alt)
        self._said.value = f'<p role="status">{escape(self._swapped.reading(**choice))}</p>'

    def _say_error(self, error: Exception) -> None:
        self._said.value = f'<span role="alert">{escape(str(error))}</span>'
