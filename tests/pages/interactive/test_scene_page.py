from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from html import unescape

import numpy as np
import pytest

from oracles import SCENE_GRID, SMALL_STUDY
from relevance import explanations
from relevance.pages.interactive import scene_page
from relevance.pages.interactive.scene import Choice, Scene
from relevance.studies import names


def packed(html):
    spec = json.loads(unescape(re.search(r'data-spec="([^"]*)"', html)[1]))
    return spec, gzip.decompress(b64decode(re.search(rf'data-name="{spec["part"]}">([^<]*)<', html)[1]))


@pytest.mark.slow
def test_a_page_holds_every_combination(scene):
    html = scene_page.page(scene, **SCENE_GRID).data
    spec, block = packed(html)
    assert spec["axes"]["model"]["shown"] == ["all", "deterministic", "adversarially trained", "Bayesian"]
    assert spec["axes"]["model"]["values"][2] == "adversarially-trained"
    assert [model["colour"] for model in spec["models"]] == ["deterministic", "adversarial", "bayesian"]
    assert [len(axis["values"]) for axis in spec["axes"].values()] == [2, 4, 2, 2, 2, 2, 3, 2, 2]
    assert spec["counts"] == {"variant": 4, "attack": 3}, "noise is the last of the attacks"
    # Read from the end: the last state's last layer has, for each percentage, a bit for each pixel and two scores.
    pixels = 28 * 28
    last = block[-2 * (pixels // 8 + 4) :]
    for part, percent in zip((last[: pixels // 8 + 4], last[pixels // 8 + 4 :]), (10, 30), strict=True):
        view = scene.view(Choice(2, names.BAYESIAN, 4, "noise", 0.2, "gamma", "5", percent))
        found = np.frombuffer(part[-4:], "<u2") / 65535
        assert found == pytest.approx([view.lrp_robustness, view.unrelated], abs=1e-5)
        on_top = np.unpackbits(np.frombuffer(part[:-4], np.uint8), bitorder="little")
        assert on_top.astype(bool).tolist() == (explanations.top_share(view.after[None], percent)[0] == 1).tolist()


@pytest.mark.slow
def test_a_page_is_the_same_each_time(scene):
    small = {**SCENE_GRID, "images": (1,), "rules": ("epsilon",), "layers": ("5",)}
    assert scene_page.page(scene, **small).data == scene_page.page(Scene(SMALL_STUDY, n_images=3), **small).data


def test_a_page_that_is_too_large_or_has_no_choice_gets_a_sentence(scene, monkeypatch):
    with pytest.raises(ValueError, match="sizes is empty; a page needs at least one choice of each kind"):
        scene_page.page(scene, sizes=())
    with pytest.raises(ValueError, match="attack is 'noise'; it may be one of: FGSM"):
        scene_page.page(scene, attacks=("noise",))
    with pytest.raises(ValueError, match="'size' is not a setting here"):
        scene_page.page(scene, size=(0.1,))
    monkeypatch.setattr(scene_page, "LARGEST", 1e4)
    with pytest.raises(ValueError, match=r"the playground is \d.\d MB; it may be 0.0 MB: give fewer choices"):
        scene_page.page(scene, **SCENE_GRID)
