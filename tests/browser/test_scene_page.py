"""The playground of a printed page, in a browser without a kernel: its controls show what the library computes."""

from __future__ import annotations

import pytest

from browsing import axe
from oracles import SCENE_GRID, SMALL_STUDY
from relevance.pages.interactive import scene_figure, scene_page
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


def test_every_choice_shows_the_library_s_numbers(page, file, scene):
    page.goto(file)
    page.wait_for_selector(".rr-scene[data-ready]")
    classes = scene.study.data.classes
    assert page.locator("[role=status]").inner_text() == scene.view(
        Choice(0, names.DETERMINISTIC, 1, "FGSM", 0.2, "epsilon", "5", 30)
    ).sentence(classes)
    page.get_by_label("image", exact=True).select_option(index=1)
    page.get_by_label("model", exact=True).select_option(label="Bayesian, 4 samples")
    page.get_by_label("attack", exact=True).select_option(label="top-k")
    page.get_by_label("rule", exact=True).select_option(label="gamma")
    page.get_by_label("layer", exact=True).select_option(label="3")
    # By the keyboard alone.
    page.get_by_label("attack size").press("ArrowLeft")
    page.get_by_label("top percent").press("Home")
    view = scene.view(Choice(2, names.BAYESIAN, 4, "top-k", 0.05, "gamma", "3", 10))
    assert page.locator("[role=status]").inner_text() == view.sentence(classes)
    assert page.get_by_label("attack size").get_attribute("aria-valuetext") == "0.05"
    shown = page.locator(".rr-bars td.rr-attacked").all_inner_texts()
    assert [float(text.rstrip("%")) for text in shown] == pytest.approx(
        (100 * view.probabilities[1]).tolist(), abs=0.51
    )
    labels = page.locator("canvas").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert [label.split(":")[0] for label in labels] == list(scene_figure.SCENE_TITLES)


def test_pixels_are_those_of_the_image_and_of_the_map(page, file, scene):
    page.goto(file)
    page.wait_for_selector(".rr-scene[data-ready]")
    view = scene.view(Choice(0, names.DETERMINISTIC, 1, "FGSM", 0.2, "epsilon", "5", 30))
    read = (
        """index => [...document.querySelectorAll("canvas")[index].getContext("2d").getImageData(0, 0, 28, 28).data]"""
    )
    for index, image in ((0, view.image), (1, view.attacked)):
        reds = page.evaluate(read, index)[::4]
        assert reds == pytest.approx((255 * (1 - image)).flatten().tolist(), abs=0.51)
    colours = page.evaluate(read, 2)
    most = view.before.flatten().abs().argmax().item()
    red, _, blue = colours[4 * most : 4 * most + 3]
    assert (red > blue) == (view.before.flatten()[most] > 0)


def test_two_scenes_do_not_disturb_one_another(page, scene, tmp_path):
    small = {**SCENE_GRID, "images": (1,), "rules": ("epsilon",), "layers": ("5",), "attacks": ("FGSM",)}
    path = tmp_path / "two.html"
    path.write_text(PAGE.format(2 * scene_page.page(scene, **small).data))
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('.rr-scene[data-ready]').length === 2")
    before = page.locator("[role=status]").all_inner_texts()
    page.get_by_label("model", exact=True).nth(1).select_option(label="adversarially trained")
    after = page.locator("[role=status]").all_inner_texts()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_without_scripts_a_picture_stands_there(browser, file, scene):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file)
    assert page.locator(".rr-scene img").count() == 1
    assert page.locator(".rr-scene img").get_attribute("alt").startswith("Predicted on the clean image")
    context.close()


def test_nothing_runs_over_on_a_narrow_page(browser, file):
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    page.goto(file)
    page.wait_for_selector(".rr-scene[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 392
    context.close()


def test_all_can_use_the_controls(page, file):
    page.goto(file)
    page.wait_for_selector(".rr-scene[data-ready]")
    assert axe(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert axe(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
