"""The browser of the other tests tells a page that behaves from one that does not."""

from __future__ import annotations

import pytest

from browsing import Complaints, axe

pytestmark = pytest.mark.slow


def test_a_page_of_its_own_is_left_in_peace(page, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(
        "<title>t</title><img alt='' src='data:image/gif;base64,R0lGODlhAQABAAAAACw='><script>console.log(1)</script>"
    )
    page.goto(file.as_uri())
    assert page.title() == "t"


def test_requests_and_errors_are_seen(browser, tmp_path):
    seen = Complaints()
    page = seen.watch(browser.new_page())
    file = tmp_path / "page.html"
    file.write_text(
        "<script>console.error('wrong')</script><script>throw Error('thrown')</script><img src='http://example.org/a'>"
    )
    page.goto(file.as_uri())
    page.wait_for_load_state()
    text = "\n".join(seen)
    assert "console: wrong" in text
    assert "error: thrown" in text
    assert "asked http://example.org/a" in text
    page.close()


def test_axe_tells_a_page_that_all_can_read_from_one_that_not_all_can(page, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(
        "<!doctype html><html lang='en'><title>t</title><main><h1>A</h1><button>Turn</button><p>dark on light</p></main>"
    )
    page.goto(file.as_uri())
    assert axe(page) == []
    page.evaluate("document.querySelector('p').style.color = '#aaa'; document.querySelector('button').innerText = ''")
    contrast, name = sorted(axe(page), reverse=True)
    assert contrast.startswith("serious color-contrast: <p")
    assert name.startswith("critical button-name: <button>")
