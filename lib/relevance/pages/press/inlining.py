"""Figures inside of their pages: as pictures beside them they could not know the page's theme, or its width."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from relevance.pages.vector import inline

IMAGE = re.compile(r'<img\b[^>]*\bsrc="([^"]+\.svg)"[^>]*>')
LINKED = re.compile(rf'<a class="[^"]*image-reference[^"]*" href="[^"]+\.svg">({IMAGE.pattern})</a>')
ALT = re.compile(r'\balt="([^"]*)"')


def figures(pages: Path) -> None:
    """Put every figure that a notebook drew into the pages below ``pages`` that show it, in the place of its address."""
    for page in sorted(pages.rglob("*.html")):
        text = page.read_text(encoding="utf-8")

        def drawing(match: re.Match[str], page: Path = page) -> str:
            file = page.parent / unquote(match[1])
            alt = ALT.search(match[0])
            if file.parent.name != "_images" or alt is None:
                return match[0]
            return inline(file.read_text(encoding="utf-8"), unescape(alt[1]))

        inlined = IMAGE.sub(drawing, LINKED.sub(r"\1", text))
        if inlined != text:
            page.write_text(inlined, encoding="utf-8")
