"""What a page carries itself: scripts and styles of the library, pictures as data."""

from __future__ import annotations

import base64
import gzip
import io
import sys
from html import escape
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from relevance.studies.names import ADVERSARIAL, BAYESIAN, DETERMINISTIC

STATIC = Path(__file__).parent / "static"


# What style sheets call the models whose names begin so: see static/models.css.
MODELS = {DETERMINISTIC: "deterministic", ADVERSARIAL: "adversarial", BAYESIAN: "bayesian"}


def model(name: str) -> str:
    """Return what style sheets call a model, which has one colour throughout the book; empty for any other."""
    return next((short for start, short in MODELS.items() if name.startswith(start)), "")


def inlined(*names: str) -> str:
    """Return the scripts and styles ``static/NAME.js`` and ``.css``, of which a name has one or both, as elements of a page.

    They go with each block, so that it works wherever a notebook's output is shown; a second copy on a page does nothing.
    """
    style, script = (
        "".join(path.read_text(encoding="utf-8") for name in names if (path := STATIC / f"{name}.{kind}").is_file())
        for kind in ("css", "js")
    )
    return f"<style>{style}</style><script>{script}</script>"


def picture(figure: Figure, alt: str) -> str:
    """Return a figure as an element of a page, with a text for those who cannot see it."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img style="max-width: 100%; background: white" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


RUNTIME = {
    "script": "ort.wasm.min.js",
    "glue": "ort-wasm-simd-threaded.mjs",
    "binary": "ort-wasm-simd-threaded.wasm",
}


def part(name: str, text: str) -> str:
    """Return the markup of a named part: base64 or JSON, without a tag in it."""
    return f'<script type="text/plain" data-name="{name}">{text}</script>\n'


def packages() -> Path:
    """Return the folder into which ``requirements/install.sh`` puts what runs in the pages."""
    return Path(sys.prefix) / "share" / "relevance-web" / "node_modules"


def _files() -> dict[str, Path]:
    folder = packages() / "onnxruntime-web" / "dist"
    return {name: folder / file for name, file in RUNTIME.items()}


def packed() -> dict[str, str] | None:
    """Return the runtime's files, gzipped, in base64; None where it is not installed."""
    files = _files()
    if not all(path.is_file() for path in files.values()):
        return None
    return {name: base64.b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode() for name, path in files.items()}
