"""A moved page in a browser: from disk and over the network, with scripts and without."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from browsing import axe
from relevance.pages.press import redirects

pytestmark = pytest.mark.slow


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def pages(tmp_path):
    new = tmp_path / "book/new/page.html"
    new.parent.mkdir(parents=True)
    new.write_text("<!doctype html><html lang='en'><title>new</title><h1 id='a'>New</h1><p id='b'>here</p></html>")
    (tmp_path / "favicon.ico").touch()  # browsers ask servers for one
    redirects.leave({"old/page": "new/page#a"}, tmp_path)
    return tmp_path


@pytest.fixture(params=["disk", "network"])
def address(request, pages):
    if request.param == "disk":
        yield pages.as_uri()
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=pages)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("asked", "found"), [("", "#a"), ("#b", "#b"), ("?highlight=x#b", "?highlight=x#b")])
def test_an_old_address_leads_to_the_new_page_and_keeps_its_part(address, page, asked, found):
    # The page is made after the server and so goes first: what a browser still asks of a server that has gone is an error.
    page.goto(f"{address}/book/old/page.html{asked}", wait_until="commit")
    page.wait_for_url(f"{address}/book/new/page.html{found}")
    assert page.title() == "new"


def test_without_scripts_it_leads_there_too(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/book/old/page.html", wait_until="commit")
    page.wait_for_url(f"{address}/book/new/page.html#a")
    context.close()


def test_the_page_has_a_link_that_all_can_use(page, pages):
    old = pages / "book/old/page.html"
    old.write_text(old.read_text().replace("location.replace", "void "))
    page.goto(old.as_uri())
    assert axe(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/new/page.html#a")
