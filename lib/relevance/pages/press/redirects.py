"""Pages at the addresses of chapters that have moved: they lead to where the chapter is now, from disk too."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

import yaml

from relevance.pages.press.chapters import BookError

FILE = Path("book/redirects.yml")
OLD = re.compile(r"\w[\w-]*(?:/\w[\w-]*)*")
NEW = re.compile(rf"({OLD.pattern})(?:#([\w.-]+))?")
# The script keeps the part of the page that was asked for; without scripts, the page itself is found.
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>This page has moved</title>
<script>location.replace({page} + location.search + (location.hash || {anchor}));</script>
<noscript><meta http-equiv="refresh" content="0; url={address}"></noscript>
</head>
<body><main><h1>This page has moved</h1><p><a href="{address}">Here it is now.</a></p></main></body>
</html>
"""


def read(root: Path) -> dict[str, str]:
    """Return the old names of chapters with the new ones, from ``book/redirects.yml``; none where there is no such file.

    A name is as in ``CHAPTER=``, such as ``experiments/rules``; a new one may name a part, as ``experiments/layers#rules``.

    Raises:
        BookError: the file is not of this form.
    """
    path = root / FILE
    if not path.exists():
        return {}
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BookError(f"{FILE} cannot be read: {' '.join(str(error).split())[:200]}.") from None
    if not isinstance(told, dict):
        raise BookError(f"{FILE} must have lines such as experiments/rules: experiments/layers#rules.")
    for old, new in told.items():
        if not OLD.fullmatch(str(old)) or not NEW.fullmatch(str(new)):
            raise BookError(
                f"{FILE} has {str(old)[:60]!r}: {str(new)[:60]!r}; each line must be as "
                "experiments/rules: experiments/layers#rules."
            )
    return {str(old): str(new) for old, new in told.items()}


def leave(moved: Mapping[str, str], pages: Path) -> None:
    """Write a page at each old address.

    Args:
        moved: old names of chapters with the new ones, as of :func:`read`.
        pages: the rendered pages.

    Raises:
        BookError: there is no page to lead to, or there is one at the old address.
    """
    new = {old: NEW.fullmatch(name) for old, name in moved.items()}
    targets = {old: (pages / "book" / f"{found[1]}.html", found[2]) for old, found in new.items() if found}
    # All before any is written, so that none leads to another.
    for old, (target, _) in targets.items():
        if not target.is_file():
            raise BookError(f"{FILE} leads from {old} to {moved[old]}, but there is no such page.")
        if (pages / "book" / f"{old}.html").exists():
            raise BookError(f"{FILE} leads away from {old}, but there is such a page.")
    for old, (target, anchor) in targets.items():
        page = pages / "book" / f"{old}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        address = quote(Path(os.path.relpath(target, page.parent)).as_posix())
        part = f"#{anchor}" if anchor else ""
        page.write_text(
            PAGE.format(page=json.dumps(address), anchor=json.dumps(part), address=escape(address + part)),
            encoding="utf-8",
        )
