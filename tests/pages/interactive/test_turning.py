"""Pictures that turn: what the block of a page holds, before any script has run."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from relevance.pages.figures.style import new_figure
from relevance.pages.interactive.turning import DPI, turning

AXES = {"attack_size": [0, 0.05, 0.2], "rule": ["epsilon", "alpha < beta"]}
VOID = {"img", "input"}


def draw(attack_size, rule):
    with new_figure(1, 1, (2.0, 1.5)) as (figure, axes):
        axes[0, 0].imshow(np.full((3, 3), attack_size + (rule == "epsilon")), vmin=0, vmax=2)
    return figure


def alt(attack_size, rule):
    return f'A square for "{rule}" at {attack_size:g}.'


def read(attack_size, rule):
    return f"Size {attack_size:g} </script> of {rule}."


def made(**changes):
    given = {"draw": draw, "axes": AXES, "caption": "Squares & more.", "alt": alt, "reading": read, **changes}
    return turning(**given).data


class Block(HTMLParser):
    """Elements in the order in which they begin, the text in each kind, and whether all are closed as they were opened."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.open = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in self.open:
            self.texts.setdefault(tag, []).append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def held(self):
        (held,) = (text for text in self.texts["script"] if text.startswith("{"))
        return json.loads(held)


def pixels(address):
    kind, _, data = address.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")).astype(float)


def test_every_combination_has_its_frame_its_text_and_its_reading():
    held = Block(made()).held
    choices = [(size, rule) for size in AXES["attack_size"] for rule in AXES["rule"]]
    assert [alt(*choice) for choice in choices] == held["alts"]
    assert held["said"][3] == "attack size 0.05, rule alpha < beta"
    assert held["readings"][5] == "Size 0.2 </script> of alpha < beta."
    for choice, place, inked in zip(choices, held["order"], held["inked"], strict=True):
        drawn = io.BytesIO()
        draw(*choice).savefig(drawn, format="rgba", dpi=DPI)
        picture, ink = pixels(held["frames"][place]), pixels(held["inks"][inked])
        wanted = np.frombuffer(drawn.getvalue(), np.uint8).reshape(picture.shape)[..., :3]
        # With black ink on white paper a reader sees what was drawn, and the picture to the last colour.
        opaque, covered = picture[..., 3:] / 255, ink[..., 3:] / 255
        seen = (opaque * picture[..., :3] + (1 - opaque) * 255) * (1 - covered)
        assert np.abs(seen - wanted).max() <= 4  # of 255, which layers are rounded to
        assert (picture[..., :3] == wanted)[picture[..., 3] == 255].all()
        # Letters are ink, the square is none.
        assert (ink[..., 3] > 0).sum() > 50
        assert (picture[..., 3] == 255).mean() > 0.3
        assert not (ink[..., 3] * picture[..., 3]).any()


def test_equal_frames_are_held_once():
    held = Block(made()).held
    assert len(held["frames"]) == len(set(held["order"])) == 6
    same = Block(made(draw=lambda attack_size, rule: draw(attack_size, "epsilon"))).held
    assert len(same["frames"]) == 3
    assert same["order"] == [0, 0, 1, 1, 2, 2]


def test_the_start_stands_there_without_a_script():
    block = Block(made(start={"rule": "alpha < beta"}))
    (image,) = block.all("img")
    assert image["alt"] == 'A square for "alpha < beta" at 0.'
    assert image["src"] == block.held["frames"][block.held["order"][1]]
    height, width = pixels(image["src"]).shape[:2]
    assert (int(image["width"]), int(image["height"])) == (
        width * 96 // DPI,
        height * 96 // DPI,
    )
    (form,) = block.all("form")
    assert "hidden" in form  # until the script finds it
    assert "Shown: attack size 0, rule alpha < beta." in block.texts["p"]
    assert "Size 0 </script> of alpha < beta." in block.texts["p"]


def test_the_block_is_well_formed_and_says_what_each_input_is():
    block = Block(made())
    assert block.open == []
    assert block.elements[0][0] == "figure"
    assert made().endswith("<figcaption><p>Squares &amp; more.</p></figcaption></figure>")
    assert not [attrs for _, attrs in block.elements if "id" in attrs]  # two controls on a page share none
    slider, *buttons = block.all("input")
    assert slider["type"] == "range"
    assert json.loads(slider["data-values"]) == ["0", "0.05", "0.2"]
    assert (slider["min"], slider["max"], slider["value"], slider["aria-valuetext"]) == ("0", "2", "0", "0")
    assert [(button["type"], button["value"], "checked" in button) for button in buttons] == [
        ("radio", "0", True), ("radio", "1", False),
    ]  # fmt: skip
    assert [text.strip() for text in block.texts["legend"]] == ["Turn the picture", "rule"]
    assert len(block.all("label")) == 3
    (reading,) = [one for one in block.all("p") if one.get("class") == "rr-reading"]
    assert reading["role"] == "status"
    assert "://" not in made().replace("data:", "")


def test_what_has_one_value_is_not_asked_for():
    block = Block(made(axes={"attack_size": [0.1], "rule": ["epsilon", "gamma"]}))
    assert [one["type"] for one in block.all("input")] == ["radio", "radio"]
    assert block.held["said"] == ["attack size 0.1, rule epsilon", "attack size 0.1, rule gamma"]
    assert Block(made(axes={"attack_size": [0.1], "rule": ["gamma"]})).all("form") == []


def test_the_same_input_gives_the_same_bytes():
    assert made() == made()


def test_no_figure_is_left_open():
    before = plt.get_fignums()

    def open_one(attack_size, rule):
        return plt.figure(figsize=(1 + 0 * attack_size, 1), facecolor=(attack_size, rule == "epsilon", 0))

    made(draw=open_one)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"axes": {}}, "axes is empty; there must be at least one thing to choose."),
        ({"axes": {"rule": []}}, "rule has the values []; there must be at least one, and none twice."),
        ({"axes": {"rule": ["a", "a"]}}, "at least one, and none twice."),
        ({"axes": {"rule": ["a", 1]}}, "rule has the values ['a', 1]; they must be all finite numbers or all names."),
        ({"axes": {"size": [0, float("nan")]}}, "all finite numbers or all names."),
        ({"start": {"rules": "epsilon"}}, "start is 'rules'; it may be one of: attack_size, rule."),
        ({"start": {"attack_size": 0.3}}, "start has attack_size 0.3; it may be one of: 0, 0.05, 0.2."),
        ({"alt": lambda **_: "A square."}, "alt gave 'A square.' for two different pictures; it must tell them apart."),
        ({"alt": lambda **_: " "}, "alt gave an empty text; every picture needs one that says what there is to see."),
        ({"draw": lambda **_: None}, "draw gave a NoneType for attack size 0, rule epsilon; it must give a figure."),
        (
            {"draw": lambda attack_size, rule: plt.figure(figsize=(1 + attack_size, 1))},
            "the picture of attack size 0.05, rule epsilon has 151 x 144 dots, the first one 144 x 144",
        ),
        ({"largest": 5000}, "it may have 5,000: give fewer choices or smaller figures."),
    ],
)
def test_what_cannot_be_turned_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ValueError) as caught:
        made(**changes)
    assert sentence in str(caught.value)
    plt.close("all")
