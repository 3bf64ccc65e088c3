"""The pad of the printed page, in a page opened from disk, gives what the library gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from browsing import axe
from relevance import attacks, explanations, inference, metrics
from relevance.datasets import reading
from relevance.explanations.rules import Epsilon
from relevance.networks import architectures
from relevance.networks.posterior import Posterior
from relevance.pages import web
from relevance.pages.interactive import pad
from relevance.pages.press import parts

pytestmark = pytest.mark.slow

TOP = 30


@pytest.fixture(scope="module")
def data():
    return reading.load("digits", device="cpu")


@pytest.fixture(scope="module")
def models(data):
    network = architectures.fully_connected(data.image_shape, hidden=32)
    trained = inference.sgd(network, data, epochs=30, seed=0, progress=False)
    generator = torch.Generator().manual_seed(0)
    samples = {
        name: value + 0.02 * torch.randn((10, *value.shape[1:]), generator=generator)
        for name, value in trained.samples.items()
    }
    return {"deterministic": trained, "Bayesian": Posterior(trained.network, samples)}


@pytest.fixture(scope="module")
def block(models, data):
    return pad.canvas(models, data, top_percent=TOP, epsilon=0.1).data


@pytest.fixture(scope="module")
def printed(block, tmp_path_factory):
    """A page of a printed book, beside which the press has put networks and runtime."""
    if web.packed() is None:
        pytest.skip("the runtime for pages is not installed (npm)")
    folder = tmp_path_factory.mktemp("book")
    notebook = folder / "drawing.ipynb"
    result = {"output_type": "execute_result", "data": {"text/html": block.splitlines(keepends=True)}}
    notebook.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": [result]}]}))
    parts.set_aside(notebook, folder / "_static" / "parts")
    parts.copy(folder / "_static" / "parts")
    markup = json.loads(notebook.read_text())["cells"][0]["outputs"][0]["data"]["text/html"]
    page = folder / "page.html"
    page.write_text(
        f'<!doctype html><html lang="en" data-content_root="./"><meta charset="utf-8"><title>t</title><body>{markup}'
    )
    return page


@pytest.fixture
def opened(page, printed):
    page.goto(printed.as_uri())
    return page


def settle(page):
    """Wait until what was last done is shown; return what the networks gave."""
    page.wait_for_function(
        "() => { const r = document.querySelector('.relevance-drawing');"
        " return ['ready', 'missing'].includes(r.dataset.state) && !('busy' in r.dataset) && r.results?.image; }",
        timeout=60_000,
    )
    return page.evaluate(
        "() => { const { image, epsilon, models } = document.querySelector('.relevance-drawing').results;"
        " return { image: [...image], epsilon, models: models.map((one) =>"
        " Object.fromEntries(Object.entries(one).map(([k, v]) => [k, v.length ? [...v] : v]))) }; }"
    )


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def library(posterior, image, epsilon):
    target = posterior.predict(image).argmax(-1)
    attacked = attacks.fgsm(posterior, image, target, epsilon)
    before, after = (explanations.lrp(posterior, one, target, rule=Epsilon(0.1)) for one in (image, attacked))
    return {
        "probabilities": posterior.predict(image),
        "relevance": before,
        "attacked": attacked,
        "attacked_probabilities": posterior.predict(attacked),
        "attacked_relevance": after,
        "score": metrics.lrp_robustness(before, after, TOP),
    }


@pytest.mark.parametrize("digit", [0, 4, 7])
def test_a_test_image_gives_what_the_library_gives(opened, models, data, digit):
    press(opened, f"Show a test image of class {digit}")
    found = settle(opened)
    image = data.test_images[int((data.test_labels == digit).nonzero()[0])][None]
    assert np.abs(np.array(found["image"]) - image.flatten().numpy()).max() < 1e-6
    for shown, posterior in zip(found["models"], models.values(), strict=True):
        for name, wanted in library(posterior, image, found["epsilon"]).items():
            assert np.abs(np.array(shown[name]) - wanted.flatten().numpy()).max() < 1e-4, name
    texts = opened.locator(".relevance-drawing .model").all_inner_texts()
    for text, posterior in zip(texts, models.values(), strict=True):
        assert f"class {posterior.predict(image).argmax()}" in text


def test_maps_have_the_colours_of_the_figures(opened, models, data):
    from matplotlib import colormaps

    press(opened, "Show a test image of class 3")
    found = settle(opened)["models"][0]
    drawn = opened.evaluate(
        "() => [...document.querySelector('[data-part=relevance-0]').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    relevance = np.array(found["relevance"], dtype=np.float32)
    wanted = colormaps["RdBu_r"]((relevance / np.abs(relevance).max() + 1) / 2, bytes=True)
    # Where a value lies between two of the 256 colours, rounding decides.
    assert np.abs(np.array(drawn).reshape(-1, 4).astype(int) - wanted.astype(int)).max() <= 4


def test_the_slider_changes_the_attack_by_keyboard(opened):
    press(opened, "Show a test image of class 2")
    before = settle(opened)
    opened.get_by_role("slider").focus()
    for _ in range(8):
        opened.keyboard.press("ArrowRight")
    after = settle(opened)
    assert after["epsilon"] == pytest.approx(before["epsilon"] + 0.08)
    assert after["models"][0]["relevance"] == before["models"][0]["relevance"]
    assert after["models"][0]["attacked_relevance"] != before["models"][0]["attacked_relevance"]
    # Said when the reader pauses.
    said = opened.locator("[data-part=said]").get_by_text(f"{after['models'][0]['score']:.2f}")
    said.wait_for(state="attached")


def test_a_digit_is_drawn_by_keyboard_alone(opened, models, data):
    """A test image in ink and paper alone, cell by cell, that the network still takes for what it is."""
    model = models["deterministic"]
    chosen = data.test_images[:100]
    cells = (pad.counts_of(chosen) >= 0.5).float()[:, None]
    plain = torch.nn.functional.interpolate(cells, size=(28, 28), mode="bilinear", align_corners=False)
    labels = data.test_labels[:100]
    index = int((model.predict(plain).argmax(-1) == labels).nonzero()[0])

    press(opened, "Clear")
    opened.locator("[data-part=field]").focus()  # the pad, whose pen starts in the middle
    for key in ["ArrowUp"] * 4 + ["ArrowLeft"] * 4:
        opened.keyboard.press(key)
    for row in range(8):
        columns = range(8) if row % 2 == 0 else range(7, -1, -1)
        for number, column in enumerate(columns):
            if number:
                opened.keyboard.press("ArrowRight" if row % 2 == 0 else "ArrowLeft")
            if cells[index, 0, row, column]:
                opened.keyboard.press("Space")
        opened.keyboard.press("ArrowDown")
    found = settle(opened)
    assert np.abs(np.array(found["image"]) - plain[index].flatten().numpy()).max() < 1e-6
    assert np.argmax(found["models"][0]["probabilities"]) == labels[index]
    opened.keyboard.press("Space")  # one cell more, or less
    assert settle(opened)["models"][0]["probabilities"] != found["models"][0]["probabilities"]


STROKES = {
    0: [[(0.5, 0.2), (0.35, 0.3), (0.3, 0.5), (0.35, 0.7), (0.5, 0.8), (0.65, 0.7), (0.7, 0.5), (0.65, 0.3), (0.5, 0.2)]],
    1: [[(0.4, 0.35), (0.52, 0.2), (0.52, 0.8)]],
    4: [[(0.45, 0.2), (0.3, 0.55), (0.7, 0.55)], [(0.6, 0.35), (0.55, 0.85)]],
    7: [[(0.3, 0.25), (0.7, 0.25), (0.45, 0.85)], [(0.4, 0.55), (0.65, 0.55)]],
}  # fmt: skip


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_classified(opened, digit):
    press(opened, "Clear")
    frame = opened.locator(".pad").bounding_box()
    for stroke in STROKES[digit]:
        for number, (x, y) in enumerate(stroke):
            opened.mouse.move(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"], steps=4)
            if number == 0:
                opened.mouse.down()
        opened.mouse.up()
    found = settle(opened)
    ink = np.array(found["image"]).reshape(28, 28)
    assert (ink.max(1) > 0.1).all()  # as tall as the data set's digits, whatever the size of the drawing
    assert np.argmax(found["models"][0]["probabilities"]) == digit


def test_a_cleared_pad_shows_nothing(opened):
    press(opened, "Clear")
    opened.get_by_role("img", name="The pad is empty").wait_for()
    opened.wait_for_function("() => document.querySelector('[data-part=clean-0]').innerText === 'none yet'")


def pixels(page, part):
    return np.array(
        page.evaluate(
            "part => [...document.querySelector(`[data-part=${part}]`).getContext('2d').getImageData(0, 0, 28, 28).data]",
            part,
        )
    ).reshape(28, 28, 4)


def test_a_digit_and_what_the_library_makes_of_it_are_there_before_anything_is_loaded(opened, models, data):
    assert opened.locator(".relevance-drawing").get_attribute("data-state") is None
    firsts = data.test_images[[int((data.test_labels == label).nonzero()[0]) for label in range(10)]]
    right = torch.stack([model.predict(firsts).argmax(1) == torch.arange(10) for model in models.values()]).all(0)
    digit = int(right.nonzero().max())
    image = firsts[digit][None]
    assert pixels(opened, "seen")[..., 0].ravel() == pytest.approx((255 * (1 - image)).flatten().tolist(), abs=0.51)
    for number, posterior in enumerate(models.values()):
        wanted = library(posterior, image, 0.1)
        text = opened.locator(".relevance-drawing .model").nth(number).inner_text()
        assert f"class {digit} " in text
        assert f"class {wanted['attacked_probabilities'].argmax()} " in text
        assert f"LRP robustness {wanted['score'].item():.2f}" in text
        drawn = pixels(opened, f"attacked-{number}")[..., 0].ravel()
        assert drawn == pytest.approx((255 * (1 - wanted["attacked"])).flatten().tolist(), abs=1.01)


def score(page):
    """Wait for the networks; return what the challenge says, and its score."""
    found = settle(page)
    return page.locator("[data-part=score]").inner_text(), int(page.evaluate(f"{ROOT}.dataset.score")), found


ROOT = "document.querySelector('.relevance-drawing')"


def test_the_challenge_scores_the_reader_in_place_of_the_attack(opened, models, data):
    """The score is 100 (1 - k-LRP robustness / its ceiling) while the class stays; the budget is the longest attack's length."""
    image = data.test_images[int((data.test_labels == 0).nonzero()[0])][None]
    press(opened, "Show a test image of class 0")
    settle(opened)
    opened.get_by_label("Size of the attack").press("End")  # 0.3
    press(opened, "Play")
    said, first, _ = score(opened)
    assert first == 0
    attacks_of = {name: library(posterior, image, 0.3) for name, posterior in models.items()}
    own = attacks_of["deterministic"]
    ceiling = metrics.lrp_robustness(own["relevance"], own["relevance"], TOP).item()
    assert f"The attack: {round(100 * (1 - own['score'].item() / ceiling))}, and the class" in said
    budget = max((one["attacked"] - image).norm().item() for one in attacks_of.values())
    assert opened.evaluate(f"{ROOT}.querySelector('meter').max") == pytest.approx(budget, abs=1e-3)

    # Cells, one after the other, by touches of a mouse: each within the budget, whatever is touched.
    frame = opened.locator(".pad").bounding_box()
    touch = lambda row, column: opened.mouse.click(  # noqa: E731
        frame["x"] + (column + 0.5) / 8 * frame["width"], frame["y"] + (row + 0.5) / 8 * frame["height"]
    )
    scores = []
    for column in range(8):
        touch(4, column)
        said, scored, found = score(opened)
        scores.append(scored)
        now = torch.tensor(found["image"]).reshape(1, 1, 28, 28)
        assert (now - image).norm().item() <= budget + 1e-4
        model, target = models["deterministic"], models["deterministic"].predict(image).argmax(-1)
        kept = bool(model.predict(now).argmax(-1) == target)
        after = explanations.lrp(model, now, target, rule=Epsilon(0.1))
        left = metrics.lrp_robustness(own["relevance"], after, TOP).item() / ceiling
        assert scored == pytest.approx(100 * max(0, 1 - left) if kept else 0, abs=0.6)
        assert ("The class stays" in said) == kept
    assert max(scores) > 0
    assert f"Your best against this network at this size: {max(scores)}." in said

    press(opened, "Start over")
    said, scored, found = score(opened)
    assert scored == 0
    assert np.abs(np.array(found["image"]) - image.flatten().numpy()).max() < 1e-6
    assert f"at this size: {max(scores)}." in said, "the best score stays"
    press(opened, "Try noise")
    said, _, found = score(opened)
    assert 0.5 * budget < (torch.tensor(found["image"]) - image.flatten()).norm().item() <= budget + 1e-4
    press(opened, "Stop")
    assert settle(opened)["epsilon"] == pytest.approx(0.3)
    assert opened.locator("[data-part=score]").inner_text() == ""


def test_the_challenge_is_played_by_keyboard(opened):
    opened.get_by_label("Size of the attack").press("End")
    press(opened, "Play")
    _, _, before = score(opened)
    opened.locator("[data-part=field]").focus()
    opened.keyboard.press("Space")
    changed = settle(opened)["image"]
    assert changed != before["image"]
    opened.keyboard.press("Space")
    assert settle(opened)["image"] == before["image"], "given back"


def test_all_can_use_the_pad_also_by_touch_on_a_phone(browser, printed):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(printed.as_uri())
    assert axe(page) == []
    page.get_by_label("Size of the attack").press("End")
    page.get_by_role("button", name="Play").tap()
    before = settle(page)["image"]
    page.locator(".pad").tap(position={"x": 20, "y": 20})
    assert settle(page)["image"] != before
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert axe(page) == []
    context.close()


def test_a_book_printed_without_the_runtime_says_so(page, printed, monkeypatch):
    whole = (printed.parent / "_static/parts/runtime.js").read_text()
    monkeypatch.setattr(web, "packages", lambda: printed.parent / "nothing")
    try:
        parts.copy(printed.parent / "_static/parts")
        page.goto(printed.as_uri())
        press(page, "Load the networks")
        page.get_by_text("the runtime was not there when the book was printed").wait_for()
    finally:
        (printed.parent / "_static/parts/runtime.js").write_text(whole)


def test_outside_of_the_book_a_sentence_says_what_to_do(page, block, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><title>t</title><body>{block}')
    page.goto(file.as_uri())
    press(page, "Load the networks")
    page.get_by_text("embed_runtime=True").wait_for()


def test_nothing_overflows_a_narrow_page(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
