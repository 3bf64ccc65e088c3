"""What every page promises: pictures have a text for those who cannot see them, links lead somewhere, no other host is asked.

What markup and styles ask for is read here; what scripts ask for is seen only by a browser (tests/pages).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

# Elements that make a browser fetch something by themselves; a link that waits for a click is not one of them.
FETCHES = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "embed": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "object": ("data",),
    "input": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
LINKS_THAT_FETCH = {
    "stylesheet", "icon", "shortcut", "preload", "prefetch", "modulepreload", "preconnect", "dns-prefetch", "manifest",
    "apple-touch-icon", "mask-icon",
}  # fmt: skip
CSS_URL = re.compile(r"""(?:url\(\s*['"]?|@import\s+['"])((?:https?:)?//[^'")\s]+)""", re.IGNORECASE)
FAILED_CELL = re.compile(r"Traceback \(most recent call last\)")


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.in_style = False
        self.plays = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given.get("id") or "", (given.get("name") or "") if tag == "a" else ""}
        if tag in {"a", "area"} and given.get("href"):
            self.links.append(given["href"] or "")
        if tag == "meta" and (given.get("http-equiv") or "").lower() == "refresh":
            self.links += re.findall(r"(?i)\burl=(.+)", given.get("content") or "")
        self.in_style = tag == "style"
        self.plays |= "rr-scene" in (given.get("class") or "").split()
        names: tuple[str, ...] = FETCHES.get(tag, ())
        if tag == "link" and LINKS_THAT_FETCH & set((given.get("rel") or "").lower().split()):
            names = ("href",)
        for name in names:
            value = given.get(name) or ""
            # A srcset lists several, each with its size; any other attribute has one address, commas and all.
            for address in (
                [part.split()[0] for part in value.split(", ") if part] if name == "srcset" else [value.strip()]
            ):
                if is_external(address):
                    self.problems.append(f"<{tag} {name}> asks another host: {address}")
        self._check_css(given.get("style") or "")
        if tag == "img" and not _says_something(given.get("alt"), given.get("src") or ""):
            self.problems.append(f"a picture has no alt text: {(given.get('src') or '')[:80]}")

    def handle_data(self, data: str) -> None:
        if self.in_style:
            self._check_css(data)
        if FAILED_CELL.search(data):
            self.problems.append("a cell's error is shown as a result")

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def _check_css(self, css: str) -> None:
        self.problems += [f"a style asks another host: {address}" for address in CSS_URL.findall(css)]


def is_external(address: str) -> bool:
    """Whether a browser would ask another host for ``address``."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme in {"http", "https", "ws", "wss", "ftp"}


def _says_something(alt: str | None, source: str) -> bool:
    # Sphinx writes the file's path where a picture has no alt text.
    text = (alt or "").strip()
    return bool(text) and PurePosixPath(text).name != PurePosixPath(source).name


def _leads_somewhere(link: str, page: Path, pages: Mapping[Path, _Page]) -> bool:
    """Whether the file of a link from ``page`` is there, and has the link's anchor; links to other hosts are not followed."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
    # What browsers know as the top of a page needs no mark there.
    anchor = unquote(parts.fragment)
    if not target.is_file():
        return False
    # A playground reads what follows the sign as choices, such as model=bayesian, and says so itself where it cannot.
    chosen = "=" in anchor and target in pages and pages[target].plays
    return target not in pages or anchor in {"", "top"} or chosen or anchor in pages[target].anchors


def problems(pages: Path) -> list[str]:
    """Return what is wrong with the rendered pages below ``pages``, a line each; nothing if all is well."""
    found = []
    read = {path: _Page() for path in sorted(pages.rglob("*.html"))}
    for path, page in read.items():
        page.feed(path.read_text(encoding="utf-8"))
    for path, page in read.items():
        # The theme leaves its templates among the files of the pages; nobody reads them.
        links = [] if "_static" in path.relative_to(pages).parts else page.links
        broken = [f"a link leads nowhere: {link}" for link in links if not _leads_somewhere(link, path, read)]
        found += [f"{path.relative_to(pages)}: {problem}" for problem in dict.fromkeys(page.problems + broken)]
    for path in sorted(pages.rglob("*.css")):
        addresses = CSS_URL.findall(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(pages)}: asks another host: {address}" for address in dict.fromkeys(addresses)]
    if not (pages / "index.html").exists():
        found.append(f"{pages}: there is no index.html")
    return found
