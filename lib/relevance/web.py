"""What a page carries itself: scripts and styles of the library, pictures as data."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from IPython.display import HTML
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

STATIC = Path(__file__).parent / "static"


def inlined(name: str) -> str:
    """Return the script and the style of ``static/NAME.js`` and ``.css`` as elements of a page.

    They go with each block, so that it works wherever a notebook's output is shown; a second copy on a page does nothing.
    """
    style, script = ((STATIC / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return f"<style>{style}</style><script>{script}</script>"


def picture(figure: Figure, alt: str) -> str:
    """Return a figure as an element of a page, with a text for those who cannot see it."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img style="max-width: 100%; background: white" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def captioned(figure: Figure, alt: str, caption: str) -> HTML:
    """Return a figure with its caption as one block, which another page can paste (MyST-NB's ``glue``)."""
    return HTML(f"<figure>{picture(figure, alt)}<figcaption><p>{escape(caption)}</p></figcaption></figure>")
