"""The printed book in a real browser without a network: what a reader meets who sees it, hears it, or has keys alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from browsing import axe
from relevance.pages.press.chapters import read_chapters

ROOT = Path(__file__).parents[2]
WIDE, NARROW = {"width": 1400, "height": 900}, {"width": 390, "height": 844}


def all_pages():
    chapters = (f"book/{chapter.name}" for chapter in read_chapters(ROOT))
    return ["book/index", *chapters, "genindex", "search"]


def visit(page, pages, name):
    """Open a page of the book and wait for its equations."""
    page.emulate_media(reduced_motion="reduce")
    page.goto((pages / f"{name}.html").as_uri())
    page.evaluate("window.MathJax && MathJax.startup.promise")


@pytest.mark.parametrize("name", all_pages())
def test_a_page_asks_nobody_else_and_is_accessible(page, pages, name):
    # The theme lets keys reach what scrolls when a page is loaded, so the narrow one comes first.
    page.set_viewport_size(NARROW)
    visit(page, pages, name)
    source = ROOT / f"{name}.md"
    n_equations = source.read_text().count("```{math}") if source.exists() else 0
    assert page.locator("mjx-container[display=true]").count() == n_equations, "equations were not set"
    assert page.locator("mjx-merror").count() == 0, "an equation has an error"
    too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert too_wide <= 0, "the page scrolls sideways"
    use_theme(page, "dark")
    assert axe(page) == []
    filters = page.locator(".bd-article :is(img, canvas, figure)").evaluate_all(
        "all => all.map(one => getComputedStyle(one).filter)"
    )
    assert set(filters) <= {"none"}, "the dark theme alters pictures"

    page.set_viewport_size(WIDE)
    use_theme(page, "light")
    assert axe(page) == []


@pytest.mark.parametrize("name", ["book/index", "book/explore", "book/appendix/status"])
@pytest.mark.parametrize(("size", "theme"), [(NARROW, "light"), (WIDE, "dark")], ids=["narrow-light", "wide-dark"])
def test_each_kind_of_page_is_accessible_the_other_way_round(page, pages, name, size, theme):
    page.set_viewport_size(size)
    visit(page, pages, name)
    use_theme(page, theme)
    assert axe(page) == []


def use_theme(page, theme):
    """Switch the colours, as the page's own switch does, and see that they are switched."""
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)")
    assert max(ground) < 50 if theme == "dark" else min(ground) > 200


def test_a_search_from_disk_finds_chapters(page, pages):
    visit(page, pages, "search")
    page.locator(".bd-search-container input[type=search]").fill("conservation")
    page.keyboard.press("Enter")
    found = page.locator("#search-results li a")
    found.first.wait_for()
    titles = found.all_inner_texts()
    assert any("Which pixels made it say so?" in title for title in titles)
    found.first.click()
    page.wait_for_url("**/book/**")
    assert "conservation" in (page.locator("#main-content").text_content() or "").lower()


def test_the_first_key_leads_past_the_sidebar(page, pages):
    visit(page, pages, "book/index")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#main-content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def tab_to(page, selector, most=60):
    """Press the tab key until an element that ``selector`` describes has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{most} tabs do not reach {selector}")


def press_and_keep(page, selector):
    """Press Enter on ``selector``, which has the focus, and wait until it has it again: a tooltip takes it for a moment."""
    page.keyboard.press("Enter")
    page.wait_for_function("selector => document.activeElement.matches(selector)", arg=selector)


def test_keys_alone_choose_the_theme_and_it_stays(page, pages):
    visit(page, pages, "book/index")
    tab_to(page, ".theme-switch-button")
    seen = []
    for _ in range(3):
        press_and_keep(page, ".theme-switch-button")
        chosen = page.evaluate("({...document.documentElement.dataset})")
        label = page.evaluate("document.activeElement.ariaLabel")
        assert label == f"Colour theme: {chosen['mode'].replace('auto', 'system settings')}"
        seen.append((chosen["mode"], chosen["theme"]))
    assert set(seen) == {("light", "light"), ("dark", "dark"), ("auto", "light")}
    while page.evaluate("document.documentElement.dataset.mode") != "dark":
        press_and_keep(page, ".theme-switch-button")
    visit(page, pages, "genindex")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_keys_alone_open_and_close_the_chapters_on_a_phone(page, pages):
    page.set_viewport_size(NARROW)
    visit(page, pages, "book/index")
    chapters = page.locator("#pst-primary-sidebar-modal")
    assert not chapters.is_visible()
    tab_to(page, ".primary-toggle")
    page.keyboard.press("Enter")
    chapters.wait_for(state="visible")
    assert chapters.get_by_role("link").count() > 20
    assert axe(page) == []
    page.keyboard.press("Escape")
    chapters.wait_for(state="hidden")


def test_wide_tables_are_reached_and_scrolled_by_keys(page, pages):
    page.set_viewport_size(NARROW)
    visit(page, pages, "book/appendix/reproduction")
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    tab_to(page, ".text_html", most=300)
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_a_dark_page_is_printed_light_and_whole(page, pages):
    visit(page, pages, "book/experiments/layers")
    use_theme(page, "dark")
    page.evaluate(
        """addEventListener("beforeprint", () => { window.printed = {...document.documentElement.dataset}; })"""
    )
    assert page.pdf().startswith(b"%PDF")
    assert page.evaluate("printed.theme") == "light"
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.set_viewport_size({"width": 680, "height": 900})  # A4 between its margins
    page.emulate_media(media="print")
    for hidden in ("#pst-primary-sidebar", ".bd-header-article", ".copybtn", ".above-input"):
        assert not any(page.locator(hidden).evaluate_all("all => all.map(one => one.checkVisibility())")), hidden
    cut = page.locator(".bd-article :is(pre, table, figure img)").evaluate_all(
        "all => all.filter(one => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1)"
        ".map(one => one.outerHTML.slice(0, 80))"
    )
    assert cut == [], "cut at the edge of the paper"
