"""A real browser for tests: Debian's Chromium, driven by Playwright, with no host but the page's own folder or server."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from relevance.pages.press import pdf
from relevance.pages.press.chapters import BookError

WEB = Path(sys.prefix) / "share/relevance-web/node_modules"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]  # fmt: skip
# Where a page may ask: its own folder, what it holds itself, and a server of the test's own.
OWN = re.compile(r"(file:|data:|blob:|about:|(https?|wss?)://(127\.0\.0\.1|localhost)[:/])")


def chromium() -> str:
    """Return the path of Chromium, or skip the test that asks."""
    try:
        return pdf.chromium()
    except BookError as error:
        pytest.skip(str(error))


class Complaints(list):
    """What a page did that no page of the book may do: requests to other hosts, console errors, uncaught errors."""

    def watch(self, page):
        """Write down what ``page`` does from now on; return it."""
        page.on("request", lambda request: OWN.match(request.url) or self.append(f"asked {request.url}"))
        page.on("console", lambda message: message.type == "error" and self.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: self.append(f"error: {error}"))
        return page


@contextmanager
def browsing() -> Iterator:
    """Start a browser.

    While it runs, its loop is the thread's running one, so nothing in the same test may start another (as papermill does).
    """
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def axe(page) -> list[str]:
    """Return what axe-core finds serious or critical on ``page``, a line for each element."""
    page.evaluate((WEB / "axe-core/axe.min.js").read_text(encoding="utf-8"))
    # From disk, style sheets cannot be loaded anew.
    found = page.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{fault['impact']} {fault['id']}: {node['html'][:200]} ({node['failureSummary'].splitlines()[-1].strip()})"
        for fault in found["violations"]
        if fault["impact"] in {"serious", "critical"}
        for node in fault["nodes"]
    ]
