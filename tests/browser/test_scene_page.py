"""The playground of a printed page, in a browser without a kernel: its controls show what the library computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.colors import to_rgb

from browsing import axe
from oracles import SCENE_GRID, SMALL_STUDY
from relevance import metrics
from relevance.explanations.top import on_top
from relevance.pages.figures.style import OVERLAP
from relevance.pages.interactive import scene_page
from relevance.pages.interactive.scene import Choice, Scene
from relevance.studies import names

pytestmark = pytest.mark.slow

PAGE = "<!doctype html><html lang='en'><meta charset='utf-8'><title>A scene</title><body>{}</body></html>"


@pytest.fixture(scope="module")
def scene():
    return Scene(SMALL_STUDY, n_images=3)


@pytest.fixture(scope="module")
def file(scene, tmp_path_factory):
    path = tmp_path_factory.mktemp("scene") / "page.html"
    path.write_text(PAGE.format(scene_page.page(scene, **SCENE_GRID).data))
    return path.as_uri()


START = Choice(0, names.DETERMINISTIC, 1, "FGSM", 0.2, "epsilon", "5", 30)
VARIANTS = {names.DETERMINISTIC: 1, names.ADVERSARIAL: 1, names.BAYESIAN: 4}


def told(scene, choice, variants=VARIANTS):
    """Return what the page is to say of a choice: of the Bayesian model, with so many samples."""
    views = {
        name: [scene.view(replace(choice, model=name, n_samples=count, attack=how)) for how in ("noise", choice.attack)]
        for name, count in variants.items()
    }
    return scene_page.said(views, choice.attack, f"{choice.epsilon:g}", scene.study.data.classes)


def opened(page, address):
    page.goto(address)
    page.wait_for_selector(".rr-scene[data-ready]")
    return page.locator(".rr-said")


def test_every_choice_shows_the_library_s_numbers(page, file, scene):
    said = opened(page, file)
    assert said.inner_text() == told(scene, START)
    page.get_by_label("image", exact=True).select_option(index=1)
    page.get_by_label("attack", exact=True).select_option(label="top-k")
    page.get_by_label("rule", exact=True).select_option(label="gamma")
    page.get_by_label("layer", exact=True).select_option(label="3")
    # By the keyboard alone.
    for name, key in (
        ("size of attack and noise", "ArrowLeft"),
        ("top percent", "Home"),
        ("posterior samples", "Home"),
    ):
        page.get_by_label(name).press(key)
    choice = Choice(2, names.BAYESIAN, 1, "top-k", 0.05, "gamma", "3", 10)
    assert said.inner_text() == told(scene, choice, {**VARIANTS, names.BAYESIAN: 1})
    assert page.get_by_label("size of attack and noise").get_attribute("aria-valuetext") == "0.05"
    assert page.locator(".rr-name").all_inner_texts() == [
        "deterministic",
        "adversarially trained",
        "Bayesian, 1 sample",
    ]


def test_models_stand_side_by_side_with_noise_beside_the_attack(page, file, scene):
    opened(page, file)
    wanted = []
    for name, count in VARIANTS.items():
        for kind, attack in (("noise", "noise"), ("attack", "FGSM")):
            view = scene.view(replace(START, model=name, n_samples=count, attack=attack))
            ceiling = metrics.lrp_robustness(view.before[None], view.before[None], 30).item()
            numbers = f"LRP robustness {view.lrp_robustness:.2f}, floor {view.unrelated:.2f}, ceiling {ceiling:.2f}"
            wanted.append(f"{name}, {kind}: {numbers}")
    assert page.locator(".rr-track").evaluate_all("all => all.map(one => one.ariaLabel)") == wanted
    labels = page.locator(".rr-row canvas").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert len(labels) == 3 * 3 * 2
    assert labels[0].startswith("deterministic: image, predicted")
    assert labels[-1].startswith("Bayesian: relevance for")
    assert labels[-1].endswith("after FGSM")
    page.get_by_label("model", exact=True).select_option(label="adversarially trained")
    assert page.locator(".rr-name").filter(visible=True).all_inner_texts() == ["adversarially trained"]


READ = """index => [...document.querySelectorAll(".rr-row canvas")[index].getContext("2d").getImageData(0, 0, 28, 28).data]"""


def test_pixels_are_those_of_the_image_and_of_the_map(page, file, scene):
    opened(page, file)
    view, noisy = (scene.view(replace(START, attack=attack)) for attack in ("FGSM", "noise"))
    for index, image in ((0, view.image), (2, noisy.attacked), (4, view.attacked)):
        reds = page.evaluate(READ, index)[::4]
        assert reds == pytest.approx((255 * (1 - image)).flatten().tolist(), abs=0.51)
    colours = page.evaluate(READ, 1)
    most = view.before.flatten().abs().argmax().item()
    red, _, blue = colours[4 * most : 4 * most + 3]
    assert (red > blue) == (view.before.flatten()[most] > 0)


def test_top_pixels_are_told_apart_by_whose_they_are(page, file, scene):
    opened(page, f"{file}#show=top-pixels")
    view = scene.view(START)
    before, after = (on_top(maps, 30).flatten().int() for maps in (view.before, view.after))
    wanted = [OVERLAP[kind] for kind in (before + 2 * after).tolist()]
    drawn = page.evaluate(READ, 5)
    found = [tuple(drawn[4 * place : 4 * place + 3]) for place in range(28 * 28)]
    assert found == [tuple(round(255 * part) for part in to_rgb(colour)) for colour in wanted]


def test_a_fragment_is_a_choice_and_what_is_not_here_is_said(page, file, scene):
    said = opened(page, f"{file}#model=bayesian&samples=1&attack=top-k&epsilon=0.05&image=2&rule=gamma&layer=3&top=10")
    choice = Choice(2, names.BAYESIAN, 1, "top-k", 0.05, "gamma", "3", 10)
    assert said.inner_text() == told(scene, choice, {names.BAYESIAN: 1})
    assert page.get_by_label("attack", exact=True).locator(":checked").inner_text() == "top-k"
    assert not page.locator(".rr-notice").is_visible()
    # A button on the page itself, with values that this page does not have.
    page.evaluate("location.hash = 'model=all&samples=4&epsilon=0.3&what=1'")
    page.locator(".rr-notice").wait_for()
    notice = page.locator(".rr-notice").inner_text()
    assert "epsilon=0.3 is not here; it may be one of: 0.05, 0.2." in notice
    assert "what is not here; it may be one of: image, model," in notice
    assert said.inner_text() == told(scene, replace(choice, n_samples=4))
    page.get_by_label("top percent").press("End")
    assert not page.locator(".rr-notice").is_visible()
    # The page's own link leads to what it shows, and a place on the page is none.
    shown = said.inner_text()
    opened(page, f"{file}{page.get_by_role('link', name='Link to this view').get_attribute('href')}")
    assert said.inner_text() == shown
    page.evaluate("location.hash = 'top'")
    assert said.inner_text() == shown


def test_two_scenes_do_not_disturb_one_another(page, scene, tmp_path):
    small = {**SCENE_GRID, "images": (1,), "rules": ("epsilon",), "layers": ("5",), "attacks": ("FGSM",)}
    path = tmp_path / "two.html"
    path.write_text(PAGE.format(2 * scene_page.page(scene, **small).data))
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('.rr-scene[data-ready]').length === 2")
    before = page.locator(".rr-said").all_inner_texts()
    page.get_by_label("model", exact=True).nth(1).select_option(label="adversarially trained")
    after = page.locator(".rr-said").all_inner_texts()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_without_scripts_a_picture_stands_there(browser, file, scene):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file)
    assert page.locator(".rr-scene img").count() == 1
    assert page.locator(".rr-scene img").get_attribute("alt").startswith("Predicted on the clean image")
    assert page.locator(".rr-said").inner_text() == told(scene, START)
    context.close()


def test_a_phone_shows_the_playground_whole_and_takes_touches(browser, file):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    said = opened(page, file)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = said.inner_text()
    page.get_by_label("posterior samples").tap(position={"x": 4, "y": 12})
    assert page.get_by_label("posterior samples").get_attribute("aria-valuetext") == "1"
    assert said.inner_text() != before
    small = page.locator(".rr-scene :is(p, label, output, span, a, select)").evaluate_all(
        "all => all.filter(one => one.checkVisibility() && parseFloat(getComputedStyle(one).fontSize) < 12)"
        ".map(one => one.outerHTML.slice(0, 80))"
    )
    assert small == [], "letters of less than 9 points"
    context.close()


def test_all_can_use_the_controls(page, file):
    page.goto(file)
    page.wait_for_selector(".rr-scene[data-ready]")
    assert axe(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
