"""Pictures that turn under the hand in a printed page: every frame is drawn beforehand, and a small script switches.

No kernel and no network is needed: a control carries its frames, its script and its style, so that it works in the page, in
JupyterLab and in a downloaded notebook alike. Without JavaScript the start frame stands there with its text.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import product
from numbers import Real

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from relevance.base import checks
from relevance.pages.web import inlined

LARGEST = 600_000  # characters of one control: several fit into a page of 3 MB
DPI = 144  # one and a half dots for each pixel of a page

Value = float | str
Choice = dict[str, Value]


def turning(
    draw: Callable[..., Figure],
    axes: Mapping[str, Sequence[Value]],
    *,
    caption: str,
    alt: Callable[..., str],
    reading: Callable[..., str] | None = None,
    start: Mapping[str, Value] | None = None,
    size: tuple[float, float] | None = None,
    largest: int = LARGEST,
) -> HTML:
    """Draw a picture for every choice that a reader may make, and return all of them with the means to choose.

    ``draw``, ``alt`` and ``reading`` are called with the choice as keyword arguments, once for each combination.

    Args:
        draw: gives the figure of a choice; all of one size.
        axes: argument -> what may be chosen for it: numbers for a slider, names for buttons of which one is pressed; where
            there is only one value, it is taken and not asked for. Readers see the argument's name with spaces for
            underscores.
        caption: below the picture; text.
        alt: what there is to see, for those who cannot.
        reading: a sentence with what was computed, read aloud when it changes.
        start: argument -> the value at the beginning; the first one where none is given.
        size: width and height of all figures in inches, where they are not to keep their own; a width of 5.4 can still be read
            on a phone.
        largest: characters that the control may have, so that its page stays light.

    Raises:
        ValueError: an axis cannot be turned, the frames do not fit together, or they are too large.
    """
    choices = _combinations(axes)
    first = choices.index(_start(axes, start or {}))
    frames, dots = _frames(draw, choices, size)
    alts = [alt(**choice) for choice in choices]
    _check_alts(alts, frames)
    readings = [reading(**choice) for choice in choices] if reading else []
    unique = list(dict.fromkeys(frames))
    inputs = _inputs(axes, choices[first])
    form = f'<form autocomplete="off" hidden><fieldset><legend>Turn the picture</legend>{inputs}</fieldset></form>'
    held = json.dumps(
        {"frames": unique, "order": [unique.index(one) for one in frames], "alts": alts, "readings": readings,
         "said": [said(choice) for choice in choices]},
        ensure_ascii=False,
    ).replace("<", "\\u003c")  # fmt: skip
    width, height = (round(side * 96 / DPI) for side in dots)
    text = (
        '<figure class="rr-turning">'
        f'<img src="{frames[first]}" alt="{escape(alts[first])}" width="{width}" height="{height}">'
        f"{form if inputs else ''}"
        f'<p class="rr-chosen">Shown: {escape(said(choices[first]))}.</p>'
        f'<p class="rr-reading" role="status">{escape(readings[first]) if readings else ""}</p>'
        f'<script type="application/json">{held}</script>{inlined("controls")}'
        f"<figcaption><p>{escape(caption)}</p></figcaption></figure>"
    )
    if len(text) > largest:
        raise ValueError(
            f"the control is {len(text):,} characters in {len(unique)} pictures; it may have {largest:,}: "
            "give fewer choices or smaller figures."
        )
    return HTML(text)


def _combinations(axes: Mapping[str, Sequence[Value]]) -> list[Choice]:
    """Return every choice, that of the last axis changing first, as the script counts them."""
    if not axes:
        raise ValueError("axes is empty; there must be at least one thing to choose.")
    for name, values in axes.items():
        numbers = [isinstance(value, Real) and math.isfinite(value) for value in values]
        if not (all(numbers) or all(isinstance(value, str) and value for value in values)):
            raise ValueError(f"{name} has the values {list(values)}; they must be all finite numbers or all names.")
        if not len(values) or len(set(values)) < len(values):
            raise ValueError(f"{name} has the values {list(values)}; there must be at least one, and none twice.")
    return [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]


def _start(axes: Mapping[str, Sequence[Value]], given: Mapping[str, Value]) -> Choice:
    for name, value in given.items():
        checks.one_of("start", name, axes)
        if value not in axes[name]:
            known = ", ".join(map(_shown, axes[name]))
            raise ValueError(f"start has {name} {_shown(value)}; it may be one of: {known}.")
    return {name: given.get(name, values[0]) for name, values in axes.items()}


def _frames(
    draw: Callable[..., Figure], choices: Sequence[Choice], inches: tuple[float, float] | None
) -> tuple[list[str], tuple[int, int]]:
    """Return the frames as addresses that hold them, and the size of each in dots."""
    frames: list[str] = []
    sizes: list[tuple[int, int]] = []
    for choice in choices:
        figure = draw(**choice)
        if not isinstance(figure, Figure):
            raise ValueError(f"draw gave a {type(figure).__name__} for {said(choice)}; it must give a figure.")
        if inches is not None:
            figure.set_size_inches(inches)
        frame, size = _packed(figure)
        plt.close(figure)
        frames.append(frame)
        sizes.append(size)
        if size != sizes[0]:
            raise ValueError(
                f"the picture of {said(choice)} has {size[0]} x {size[1]} dots, the first one {sizes[0][0]} x {sizes[0][1]}; "
                "all must have one size, or the page would jump."
            )
    return frames, sizes[0]


def _packed(figure: Figure) -> tuple[str, tuple[int, int]]:
    """Return a figure as lossless WebP inside an address, on white, and its size in dots."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    # The quality of a lossless file is the effort: more would take ten times as long for a twentieth of the size.
    image.save(buffer, "WEBP", lossless=True, quality=20, method=2)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}", image.size


def _check_alts(alts: Sequence[str], frames: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for text, frame in zip(alts, frames, strict=True):
        if not text.strip():
            raise ValueError("alt gave an empty text; every picture needs one that says what there is to see.")
        if seen.setdefault(text, frame) != frame:
            raise ValueError(f"alt gave {text!r} for two different pictures; it must tell them apart.")


def _inputs(axes: Mapping[str, Sequence[Value]], start: Choice) -> str:
    """Return a slider for each axis of numbers, and a group of radio buttons for each of names; values are positions."""
    return "".join(
        _buttons(name, values, start[name]) if isinstance(values[0], str) else _slider(name, values, start[name])
        for name, values in axes.items()
        if len(values) > 1
    )


def _slider(name: str, values: Sequence[Value], start: Value) -> str:
    shown = [_shown(value) for value in values]
    return (
        f'<label class="rr-slider"><span>{escape(_label(name))}</span> '
        f'<input type="range" name="{escape(name)}" min="0" max="{len(values) - 1}" value="{values.index(start)}" '
        f'aria-valuetext="{shown[values.index(start)]}" data-values="{escape(json.dumps(shown))}"> '
        f'<span class="rr-value" aria-hidden="true">{shown[values.index(start)]}</span></label>'
    )


def _buttons(name: str, values: Sequence[Value], start: Value) -> str:
    parts = "".join(
        f'<label><input type="radio" name="{escape(name)}" value="{place}"{" checked" * (value == start)}> '
        f"{escape(_shown(value))}</label>"
        for place, value in enumerate(values)
    )
    return f'<fieldset class="rr-buttons"><legend>{escape(_label(name))}</legend>{parts}</fieldset>'


def said(choice: Mapping[str, Value]) -> str:
    """Return a choice in words: 'attack size 0.1, rule epsilon'."""
    return ", ".join(f"{_label(name)} {_shown(value)}" for name, value in choice.items())


def _label(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"
