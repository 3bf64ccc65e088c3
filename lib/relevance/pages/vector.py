"""Figures as vector graphics that follow their page: greys mix its ink and its paper, and a narrow page gets its own drawing."""

from __future__ import annotations

import base64
import io
import re
from functools import cached_property
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from relevance.base.digests import digest
from relevance.pages.narrow import narrowed

PAGE = 8.15  # inches: 784 pixels, as wide as an article is on a screen of 1,400
DPI = 144  # of what is a picture anyway
GREY = re.compile(r"(fill|stroke): #([0-9a-f]{2})\2\2\b")
HATCHED = re.compile(r'(<rect [^>]*)fill="(#[0-9a-f]{6})"')  # the ground of a hatched patch, which is no style
NARROW = re.compile(r"<!--narrow (\S+)-->\n?")
NAMES = re.compile(r'(\bid="|xlink:href="#|url\(#)')


class BookFigure(Figure):
    """A figure that a notebook shows as vector graphics, drawn once for a page and once for a phone."""

    @cached_property
    def drawing(self) -> str:
        """The figure as SVG, with its narrow drawing in a comment, which :func:`inline` takes out.

        Drawn once: the figure itself is narrow afterwards where it was wider than a phone.
        """
        wide = _svg(self)
        if not narrowed(self):
            return wide
        held = base64.b64encode(_svg(self).encode()).decode()
        return wide.replace("</svg>", f"<!--narrow {held}-->\n</svg>")

    def _repr_svg_(self) -> str:
        return self.drawing


def _not_as_pixels() -> None:
    """Have notebooks show a figure of the book as vector graphics only."""
    from IPython import get_ipython

    if (shell := get_ipython()) is not None:
        shell.display_formatter.formatters["image/png"].for_type(BookFigure, lambda figure: None)


_not_as_pixels()


def inline(svg: str, alt: str) -> str:
    """Return a drawing for a page: both drawings, of which a style shows the one that fits.

    Args:
        svg: of :attr:`BookFigure.drawing`.
        alt: what there is to see, for those who cannot.
    """
    found = NARROW.search(svg)
    if not found:
        return _element(svg, alt, "rr-figure")
    narrow = base64.b64decode(found[1]).decode()
    wide = NARROW.sub("", svg)
    return _element(wide, alt, "rr-figure rr-wide") + _element(narrow, alt, "rr-figure rr-narrow")


def _element(svg: str, alt: str, names: str) -> str:
    return svg.replace("<svg ", f'<svg class="{names}" role="img" aria-label="{escape(alt)}" ', 1)


def _svg(figure: Figure) -> str:
    """Return a figure as an element: greys by the page's two colours, and names that no other figure has."""
    buffer = io.StringIO()
    settings: Any = {"svg.hashsalt": "resilient-relevance", "svg.fonttype": "path"}
    with mpl.rc_context(settings):
        none: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.patch.set_alpha(0)
        figure.savefig(buffer, format="svg", metadata=none, dpi=DPI)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = HATCHED.sub(r'\1style="fill: \2"', text)
    text = GREY.sub(lambda match: f"{match[1]}: {_mixed(int(match[2], 16))}", text)
    own = digest(text)[:8]
    return NAMES.sub(rf"\g<1>{own}-", text)


def _mixed(grey: int) -> str:
    """Return a grey from 0 (ink) to 255 (paper) in the page's own colours."""
    ink, paper = "var(--rr-ink, #000)", "var(--rr-paper, #fff)"
    if grey in (0, 255):
        return paper if grey else ink
    return f"color-mix(in srgb, {ink} {100 - round(grey / 2.55)}%, {paper})"
