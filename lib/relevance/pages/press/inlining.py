"""Figures inside of their pages: as pictures beside them they could not know the page's theme, or its width."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from relevance.pages.vector import inline

IMAGE = re.compile(r'<img\b[^>]*\bsrc="([^"]+\.svg)"[^>]*>')
LINKED = re.compile(rf'<a class="[^"]*image-reference[^"]*" href="[^"]+\.svg">({IMAGE.pattern})</a>')
OWN = re.compile(r'\bid="[0-9a-f]{8}-figure_1"')  # what :mod:`relevance.pages.vector` has drawn
ALT = re.compile(r'\balt="([^"]*)"')


def figures(pages: Path) -> None:
    """Put every figure that a notebook drew into the pages below ``pages`` that show it, in the place of its address."""
    for page in sorted(pages.rglob("*.html")):
        text = page.read_text(encoding="utf-8")

        def drawing(match: re.Match[str], page: Path = page) -> str:
            file = page.parent / unquote(match[1])
            alt = ALT.search(match[0])
            drawn = file.read_text(encoding="utf-8") if file.parent.name == "_images" else ""
            return inline(drawn, unescape(alt[1])) if alt is not None and OWN.search(drawn) else match[0]

        inlined = IMAGE.sub(drawing, LINKED.sub(r"\1", text))
        if inlined != text:
            page.write_text(inlined, encoding="utf-8")
