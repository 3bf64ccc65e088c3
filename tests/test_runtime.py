"""The block of the pad without a browser: what it refuses, what it embeds, and where the press puts it."""

from __future__ import annotations

import json

import pytest
import torch

from conftest import random_posterior
from relevance import datasets, drawing, networks, runtime
from relevance.datasets import Dataset


def test_the_digits_are_counted_as_they_were():
    data = datasets.load("digits", device="cpu")
    counts = drawing.counts_of(data.test_images[:50])
    from sklearn.datasets import load_digits

    wanted = torch.as_tensor(load_digits().images[-len(data.test_images) :][:50] / 16)
    assert torch.equal(counts, wanted)


def test_wrong_input_gets_a_sentence(tiny_data, dense_posterior):
    models = {"a": dense_posterior}
    with pytest.raises(ValueError, match="models are"):
        drawing.canvas({}, tiny_data)
    with pytest.raises(ValueError, match="takes images of shape"):
        drawing.canvas({"a": random_posterior(networks.fully_connected((1, 8, 8)), 1)}, tiny_data)
    with pytest.raises(ValueError, match="epsilon_max is 2"):
        drawing.canvas(models, tiny_data, epsilon_max=2)
    with pytest.raises(ValueError, match="epsilon is 0.4"):
        drawing.canvas(models, tiny_data, epsilon=0.4)
    with pytest.raises(ValueError, match="top_percent is 0"):
        drawing.canvas(models, tiny_data, top_percent=0)
    colour = torch.zeros(3, 3, 8, 8)
    labels = torch.tensor([0, 1, 2])
    coloured = Dataset("coloured", colour, labels, colour, labels, ("a", "b", "c"), "made up")
    with pytest.raises(ValueError, match=r"\[1, H, H\]"):
        drawing.canvas(models, coloured)


def notebook(tmp_path, markup):
    file = tmp_path / "chapter.ipynb"
    file.write_text(json.dumps({"cells": [{"outputs": [{"data": {"text/html": markup}}]}, {"source": "x"}]}))
    return file


def test_parts_are_set_aside_and_the_rest_is_left(tmp_path):
    file = notebook(tmp_path, ["<p>before</p>\n", runtime.part("network-1", "QUJD"), "<p>after</p>"])
    runtime.set_aside(file, tmp_path / "parts")
    markup = json.loads(file.read_text())["cells"][0]["outputs"][0]["data"]["text/html"]
    assert markup == "<p>before</p>\n<p>after</p>"
    assert '"QUJD"' in (tmp_path / "parts" / "network-1.js").read_text()


def test_a_notebook_without_parts_is_not_touched(tmp_path):
    file = notebook(tmp_path, ["<p>nothing</p>"])
    before = file.read_bytes()
    runtime.set_aside(file, tmp_path / "parts")
    runtime.copy(tmp_path / "parts")
    assert file.read_bytes() == before
    assert not (tmp_path / "parts").exists()


def test_a_machine_without_the_runtime_leaves_a_note_instead(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "packages", lambda: tmp_path / "nothing")
    (tmp_path / "parts").mkdir()
    runtime.copy(tmp_path / "parts")
    assert '"null"' in (tmp_path / "parts" / "runtime.js").read_text()
    assert (tmp_path / "parts" / "licences" / "onnxruntime-web.txt").read_text().startswith("MIT License")
    assert runtime.packed() is None
