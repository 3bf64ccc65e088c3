from __future__ import annotations

from relevance.pages import web
from relevance.studies import names


def test_each_model_has_its_colour_in_the_style_sheet():
    colours = (web.STATIC / "models.css").read_text()
    for name in (names.DETERMINISTIC, names.ADVERSARIAL, names.BAYESIAN, names.bayesian(10)):
        assert f"--rr-{web.model(name)}: #" in colours
        assert f'[data-model="{web.model(name)}"]' in colours
    assert web.model("another") == ""


def test_scripts_and_styles_go_with_a_block():
    block = web.inlined("models", "parts", "scene")
    assert block.count("<style>") == block.count("<script>") == 1
    assert "--rr-bayesian" in block
    assert "relevancePart" in block
    assert "rr-scene" in block
