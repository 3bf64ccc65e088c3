"""Pictures that turn, in a real browser: by keyboard alone, two on one page, without scripts, on a phone."""

from __future__ import annotations

import pytest

from relevance.pages.figures.style import new_figure
from relevance.pages.interactive.turning import turning

pytestmark = pytest.mark.slow

SIZES, RULES = [0, 0.05, 0.1, 0.2], ["epsilon", "gamma", "alpha-beta"]


def draw(attack_size, rule):
    with new_figure(1, 1, (5.4, 2.0)) as (figure, axes):
        axes[0, 0].bar(RULES, [attack_size * (1 + (name == rule)) for name in RULES])
    return figure


def block(name):
    return turning(
        draw,
        {"attack_size": SIZES, "rule": RULES},
        caption=f"Bars of {name}.",
        alt=lambda attack_size, rule: f"Three bars of {name}, that of {rule} twice as high, at {attack_size:g}.",
        reading=lambda attack_size, rule: f"{rule} has {2 * attack_size:g}.",
        start={"attack_size": 0.1},
    ).data


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page with two controls."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Two</title>'
        '<meta name="viewport" content="width=device-width"></head><body style="margin: 8px">'
        f"<main><h1>Two</h1>{block('one')}{block('two')}</main></body></html>"
    )
    path.with_name("empty.html").write_text("<!doctype html><title>Empty</title>")
    return path.as_uri()


def seen(page, place=0):
    """What the control shows: picture and ink, text, reading."""
    control = page.locator("figure.rr-turning").nth(place)
    image, ink = control.locator("img"), control.locator(".rr-ink")
    layers = image.get_attribute("src"), ink.get_attribute("style")
    return layers, image.get_attribute("alt"), control.locator(".rr-reading").inner_text()


def test_the_keyboard_alone_changes_picture_text_and_reading(page, address):
    page.goto(address)
    before = seen(page)
    assert before[1:] == ("Three bars of one, that of epsilon twice as high, at 0.1.", "epsilon has 0.2.")
    page.keyboard.press("Tab")
    slider = page.get_by_role("slider", name="attack size").first
    assert slider.evaluate("one => one === document.activeElement")
    page.keyboard.press("ArrowRight")
    after = seen(page)
    assert after[1:] == ("Three bars of one, that of epsilon twice as high, at 0.2.", "epsilon has 0.4.")
    assert after[0] != before[0]
    assert slider.get_attribute("aria-valuetext") == "0.2"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    turned = seen(page)
    assert turned[1:] == ("Three bars of one, that of gamma twice as high, at 0.2.", "gamma has 0.4.")
    assert turned[0] != after[0]
    # Enter would send a form that nobody receives.
    page.keyboard.press("Enter")
    assert seen(page) == turned
    assert page.url == address


def test_what_has_the_keyboard_is_marked(page, address):
    page.goto(address)
    for _ in range(2):
        page.keyboard.press("Tab")
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width == "3px"


def test_every_choice_shows_its_own_frame(page, address):
    page.goto(address)
    control = page.locator("figure.rr-turning").first
    found = set()
    for rule in RULES:
        control.get_by_role("radio", name=rule, exact=True).check()
        for place, size in enumerate(SIZES):
            control.get_by_role("slider").fill(str(place))
            src, alt, reading = seen(page)
            assert alt == f"Three bars of one, that of {rule} twice as high, at {size:g}."
            assert reading == f"{rule} has {2 * size:g}."
            assert control.locator("img").evaluate("one => one.decode().then(() => one.naturalWidth)") > 700
            found.add(src)
    # Without an attack all bars are equal, whatever the rule.
    assert len(found) == len(RULES) * (len(SIZES) - 1) + 1


def test_two_controls_do_not_disturb_one_another(page, address):
    page.goto(address)
    second = seen(page, 1)
    first = page.locator("figure.rr-turning").first
    first.get_by_role("radio", name="gamma").check()
    first.get_by_role("slider").fill("0")
    assert seen(page, 1) == second
    assert seen(page, 0)[2] == "gamma has 0."
    page.locator("figure.rr-turning").nth(1).get_by_role("radio", name="alpha-beta").check()
    assert seen(page, 0)[2] == "gamma has 0."
    assert seen(page, 1)[2] == "alpha-beta has 0.2."
    own = set(page.evaluate("Object.keys(window)"))
    page.goto(address.replace("page.html", "empty.html"))
    assert own <= set(page.evaluate("Object.keys(window)"))  # nothing in the global scope


def test_without_scripts_the_start_stands_there(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    control = page.locator("figure.rr-turning").first
    assert control.locator("img").is_visible()
    assert control.locator("img").get_attribute("alt").endswith("at 0.1.")
    assert not control.locator("form").is_visible()
    assert control.get_by_text("Shown: attack size 0.1, rule epsilon.").is_visible()
    assert control.get_by_text("epsilon has 0.2.").is_visible()
    context.close()


def test_letters_are_in_the_ink_of_the_page(page, address):
    page.goto(address)
    page.add_style_tag(content="body { color: rgb(230, 231, 232); background: rgb(10, 11, 12) }")
    ink = page.locator(".rr-ink").first
    assert ink.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(230, 231, 232)"
    assert ink.evaluate("one => getComputedStyle(one).maskImage").startswith('url("data:image/webp')
    box, picture = ink.bounding_box(), page.locator("figure.rr-turning img").first.bounding_box()
    assert all(abs(box[side] - picture[side]) < 1 for side in box)


def test_on_a_phone_nothing_runs_over_the_edge(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for part in page.locator("figure.rr-turning img, figure.rr-turning input, figure.rr-turning label").all():
        box = part.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
    # Wide enough for a finger.
    assert all(one.bounding_box()["height"] >= 32 for one in page.locator("figure.rr-turning label").all())


def test_paper_gets_the_current_picture_and_what_it_shows(page, address):
    page.goto(address)
    control = page.locator("figure.rr-turning").first
    control.get_by_role("radio", name="gamma").check()
    page.emulate_media(media="print")
    assert not control.locator("form").is_visible()
    assert control.get_by_text("Shown: attack size 0.1, rule gamma.").is_visible()
    assert control.locator("img").get_attribute("alt") == "Three bars of one, that of gamma twice as high, at 0.1."


def test_a_control_that_comes_later_is_brought_to_life_too(page, address):
    """As JupyterLab does it: the block is put into the page, and its scripts are made anew, in their order."""
    page.goto("about:blank")
    page.evaluate(
        """text => {
            const host = document.body.appendChild(document.createElement("div"));
            host.innerHTML = text;
            for (const old of host.querySelectorAll("script")) {
                const made = document.createElement("script");
                for (const { name, value } of old.attributes) made.setAttribute(name, value);
                made.textContent = old.textContent;
                old.replaceWith(made);
            }
        }""",
        block("later"),
    )
    page.get_by_role("slider").fill("3")
    assert seen(page)[2] == "epsilon has 0.4."
