"""Links into the playground say what is chosen in the playground's own words."""

from __future__ import annotations

import re

import pytest

from oracles import SCENE_GRID
from relevance.pages.interactive import preset, preset_link, scene_page


def test_a_link_has_the_fragment_of_its_choices():
    link = preset_link(
        "Try <it>", model="adversarially trained", attack="PGD on the margin", epsilon=0.10, image=3
    ).data
    assert (
        'href="../explore.html#model=adversarially-trained&amp;attack=pgd-on-the-margin&amp;epsilon=0.1&amp;image=3"'
        in link
    )
    assert ">Try &lt;it&gt;</a>" in link
    assert 'href="#samples=10"' in preset_link("Ten", page="", samples=10).data


@pytest.mark.slow
def test_the_page_has_each_key_and_its_words(scene):
    small = {
        **SCENE_GRID,
        "images": (1,),
        "rules": ("alpha-beta",),
        "layers": ("5",),
        "attacks": ("PGD on the margin",),
    }
    axes = scene_page._spec(scene, scene_page.Grid(**small), ("5",))["axes"]
    assert list(axes) == list(preset.KEYS)
    assert axes["attack"]["values"] == ["pgd-on-the-margin"]
    assert axes["show"]["values"] == ["maps", "top-pixels"]
    assert all(re.fullmatch(r"[a-z0-9.-]+", value) for axis in axes.values() for value in axis["values"])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"models": "all"}, "a choice is 'models'; it may be one of: attack, epsilon, image"),
        ({"model": "best"}, "model is 'best'; it may be one of: Bayesian"),
        ({"attack": "noise"}, "attack is 'noise'; it may be one of: FGSM"),
        ({"epsilon": -1}, "epsilon is -1; it must be a finite number at least 0"),
        ({"samples": 0}, "samples is 0; it must be a whole number of at least 1"),
        ({"layer": 5}, "layer is 5; it must be the name of a layer"),
        ({"top": 0}, "top is 0; it must be a finite number above 0 and at most 100"),
        ({"show": "all"}, "show is 'all'; it may be one of: maps, top pixels"),
    ],
)
def test_wrong_choices_get_a_sentence(wrong, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        preset_link("Try", **wrong)
