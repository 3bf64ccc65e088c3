"""The playground of a notebook: choices change the view, models are trained beside it, and can be stopped."""

from __future__ import annotations

import time
from html import escape

import pytest

from oracles import SMALL_STUDY
from relevance.pages import interactive
from relevance.pages.interactive.playground import Playground
from relevance.pages.interactive.scene import Choice, Scene
from relevance.studies import names
from relevance.studies.carbone import study


@pytest.fixture
def playground():
    _ = SMALL_STUDY.trained
    made = Playground({"small": SMALL_STUDY}, n_images=3)
    assert made.settle(60)
    yield made
    made.close()


def test_it_shows_the_library_s_view(playground):
    playground.set(model=names.BAYESIAN, n_samples=3, epsilon=0.2, rule="gamma", layer="3", top_percent=33)
    assert playground.settle(60)
    view = Scene(SMALL_STUDY, 3).view(Choice(0, names.BAYESIAN, 3, "FGSM", 0.2, "gamma", "3", 33))
    assert playground.view.lrp_robustness == view.lrp_robustness
    assert escape(view.sentence(SMALL_STUDY.data.classes)) in playground._said.value
    assert escape(view.sentence(SMALL_STUDY.data.classes)) in playground._picture.value, "the picture's alt text"


def test_choices_are_those_that_the_study_has(playground):
    controls = playground._controls
    assert controls["n_samples"].max == 4
    assert controls["layer"].options == ("1", "3", "5")
    assert controls["layer"].value == "5"
    assert controls["image"].max == 2


def test_an_error_is_shown_and_the_next_choice_works(playground, monkeypatch):
    monkeypatch.setattr(Scene, "view", lambda *_: (_ for _ in ()).throw(ValueError("what was <wrong>.")))
    playground.set(epsilon=0.01)
    assert playground.settle(60)
    assert "what was &lt;wrong&gt;." in playground._status.value
    monkeypatch.undo()
    playground.set(epsilon=0.02)
    assert playground.settle(60)
    assert "role" not in playground._status.value


@pytest.mark.slow
def test_untrained_models_are_trained_with_progress_and_can_be_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv("RELEVANCE_STORE", str(tmp_path))
    long = study.Study("digits", n_train=200, hidden=8, epochs=100_000, n_draws=4, n_samples=(2,))
    assert not long.is_trained
    playground = Playground({"long": long}, n_images=2)
    until = time.monotonic() + 120
    while "%" not in playground._status.value and time.monotonic() < until:
        time.sleep(0.05)
    assert playground._status.value.startswith("SGD")
    assert playground._done.layout.visibility == "visible"
    assert not playground._stop.disabled
    playground.stop()
    assert playground.settle(20)
    assert playground.view is None
    assert "Stopped" in playground._status.value
    playground.close()


def test_where_pages_are_printed_there_are_no_widgets(monkeypatch):
    monkeypatch.setenv("RELEVANCE_PRINTING", "1")
    html = interactive.playground(
        {"small": SMALL_STUDY},
        n_images=3,
        images=(0,),
        n_samples=(2,),
        attacks=("FGSM",),
        sizes=(0.1,),
        rules=("epsilon",),
    ).data
    assert 'class="rr-scene"' in html
    assert "alt=" in html
