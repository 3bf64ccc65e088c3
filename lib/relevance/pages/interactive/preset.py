"""Links that open the playground of the printed book at a choice: the fragment of its address says what is chosen.

The grammar is ``#key=value&key=value``, in any order; what is not named stays as the page has it at first. Values are the
page's own words in small letters with a hyphen for each space, and its numbers as it shows them:
``#model=bayesian&samples=10&attack=pgd-on-the-margin&epsilon=0.1&image=3``. The page passes over what it does not have, and
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

from IPython.display import HTML

from relevance.attacks.named import NOISE
from relevance.base import checks
from relevance.pages.interactive.scene import ATTACKS, MODELS
from relevance.studies.names import RULES

ALL = "all"
SHOWN = ("maps", "top pixels")
# Noise stands beside each attack.
BESIDE_NOISE = tuple(name for name in ATTACKS if name != NOISE)
# What may be chosen, by the fragment's keys: a check, and the words of the page's controls.
KEYS: Mapping[str, tuple[str, Callable[[str, Any], Any]]] = {
    "image": ("image", partial(checks.count, at_least=0)),
    "model": ("model", partial(checks.one_of, known=(ALL, *MODELS))),
    "samples": ("posterior samples", checks.count),
    "attack": ("attack", partial(checks.one_of, known=BESIDE_NOISE)),
    "epsilon": ("size of attack and noise", partial(checks.number, at_least=0)),
    "rule": ("rule", partial(checks.one_of, known=RULES)),
    "layer": ("layer", lambda name, value: checks.kind_of(name, value, str, "the name of a layer")),
    "top": ("top percent", partial(checks.number, above=0, at_most=100)),
    "show": ("show", partial(checks.one_of, known=SHOWN)),
}


def slug(value: str | float) -> str:
    """Return a value as a fragment has it."""
    return value.lower().replace(" ", "-") if isinstance(value, str) else f"{value:g}"


def preset_link(text: str, *, page: str = "../explore.html", **choices: str | float) -> HTML:
    """Return a link, drawn as a button, that opens the playground at a choice.

    Args:
        text: what it says.
        page: the playground's address from the chapter's page; empty on the playground's own page.
        choices: by the keys of the fragment (:data:`KEYS`): ``model="Bayesian"``, ``epsilon=0.1``. What is not named is as the
            playground has it at first.

    Raises:
        ValueError: there is no such key, or its value is none that a playground can have.
    """
    for name, value in choices.items():
        checks.one_of("a choice", name, KEYS)
        KEYS[name][1](name, value)
    fragment = "&".join(f"{name}={slug(value)}" for name, value in choices.items())
    # The page's own colour, in the light and in the dark.
    style = "color: inherit; border: 1px solid currentcolor"
    return HTML(f'<a class="btn rr-preset" style="{style}" href="{escape(f"{page}#{fragment}")}">{escape(text)}</a>')
