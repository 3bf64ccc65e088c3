"""Buttons that swap in examples: in a page, pictures for all of them; in a kernel, the one that is pressed."""

from __future__ import annotations

import re

import pytest

from relevance.pages import interactive
from relevance.pages.interactive import own
from relevance.studies.own import examples

FEW = {"network": ("dense",), "posterior": ("one checkpoint", "five checkpoints"), "folder": ("digits", "photographs")}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(examples, "EPOCHS", 1)
    monkeypatch.setattr(examples, "N_TRAIN", 20)
    monkeypatch.setattr(examples, "HIDDEN", 4)
    monkeypatch.setattr(examples, "EXAMPLES", FEW)


def test_a_page_has_a_picture_for_each_choice(monkeypatch):
    monkeypatch.setenv("RELEVANCE_PRINTING", "1")
    text = interactive.swapping("Examples.", n_images=3, n_steps=1).data
    assert text.count("data:image/webp") >= 4
    assert {"posterior", "folder"} == set(re.findall(r'name="(\w+)"', text))
    assert "Under attack" in text


def test_a_kernel_has_buttons():
    buttons = interactive.swapping("Examples.", n_images=3, n_steps=1)
    try:
        assert buttons.settle(60)
        before = buttons._picture.value
        assert "Under attack" in buttons._said.value
        buttons.set(folder="photographs")
        assert buttons.settle(60)
        assert buttons._picture.value != before
    finally:
        buttons.close()


def test_an_error_is_said_aloud(monkeypatch):
    swapped = own.Swapped({"epsilon": -1, "n_images": 3})
    buttons = own.Buttons(swapped, FEW)
    try:
        assert buttons.settle(60)
        assert 'role="alert"' in buttons._said.value
        assert "epsilon is -1" in buttons._said.value
    finally:
        buttons.close()


def test_each_example_is_computed_once(monkeypatch):
    calls = []
    monkeypatch.setattr(own, "scored", lambda *given, **settings: calls.append(given) or object())
    swapped = own.Swapped({"n_images": 3})
    for _ in range(2):
        swapped.found(network="dense", posterior="one checkpoint", folder="digits")
    assert len(calls) == 1
