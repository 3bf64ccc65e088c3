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
from typing import NamedTuple

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
GREY = 8  # largest difference of a grey's three colours

Value = float | str
Choice = dict[str, Value]


class Frame(NamedTuple):
    """A figure in two layers, as addresses that hold them: what has colours of its own, and over it a mask of the page's ink."""

    picture: str
    ink: str


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
    pictures, inks = (list(dict.fromkeys(layer)) for layer in zip(*frames, strict=True))
    inputs = _inputs(axes, choices[first])
    form = f'<form autocomplete="off" hidden><fieldset><legend>Turn the picture</legend>{inputs}</fieldset></form>'
    held = json.dumps(
        {"frames": pictures, "order": [pictures.index(one.picture) for one in frames],
         "inks": inks, "inked": [inks.index(one.ink) for one in frames],
         "alts": alts, "readings": readings, "said": [said(choice) for choice in choices]},
        ensure_ascii=False,
    ).replace("<", "\\u003c")  # fmt: skip
    width, height = (round(side * 96 / DPI) for side in dots)
    text = (
        '<figure class="rr-turning">'
        f'<div><img src="{frames[first].picture}" alt="{escape(alts[first])}" width="{width}" height="{height}">'
        f'<span class="rr-ink" style="mask-image: url({frames[first].ink})"></span></div>'
        f"{form if inputs else ''}"
        f'<p class="rr-chosen">Shown: {escape(said(choices[first]))}.</p>'
        f'<p class="rr-reading" role="status">{escape(readings[first]) if readings else ""}</p>'
        f'<script type="application/json">{held}</script>{inlined("controls")}'
        f"<figcaption><p>{escape(caption)}</p></figcaption></figure>"
    )
    if len(text) > largest:
        raise ValueError(
            f"the control is {len(text):,} characters in {len(pictures)} pictures; it may have {largest:,}: "
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
) -> tuple[list[Frame], tuple[int, int]]:
    """Return the frames, and the size of each in dots."""
    frames: list[Frame] = []
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


def _packed(figure: Figure) -> tuple[Frame, tuple[int, int]]:
    """Return a figure in its two layers, without a ground of its own, and its size in dots.

    Greys are ink of the page, as much as they are dark, but for those of pictures, which are data.
    """
    figure.set_dpi(DPI)
    figure.patch.set_alpha(0)
    for axis in figure.axes:
        axis.patch.set_alpha(0)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    dots = np.array(canvas.buffer_rgba())
    colours = dots[..., :3].astype(int)
    is_ink = np.ptp(colours, axis=2) <= GREY
    for axis in figure.axes:
        for shown in axis.images:
            box = shown.get_window_extent()
            rows = slice(math.ceil(len(dots) - box.y1), math.floor(len(dots) - box.y0))
            is_ink[rows, math.ceil(box.x0) : math.floor(box.x1)] = False
    ink = np.zeros_like(dots)
    ink[..., 3] = np.where(is_ink, dots[..., 3] * (255 - colours.mean(2)) / 255, 0).round()
    dots[is_ink] = 0
    return Frame(_address(dots), _address(ink)), (dots.shape[1], dots.shape[0])


def _address(dots: np.ndarray) -> str:
    """Return dots [H, W, 4] as lossless WebP inside an address."""
    buffer = io.BytesIO()
    # The quality of a lossless file is the effort: more would take ten times as long for a twentieth of the size.
    Image.fromarray(dots).save(buffer, "WEBP", lossless=True, quality=20, method=2, exact=True)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _check_alts(alts: Sequence[str], frames: Sequence[Frame]) -> None:
    seen: dict[str, Frame] = {}
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
