"""The block of the pad without a browser: what it refuses, what it embeds, and where the press puts it."""

from __future__ import annotations

import json

from relevance.pages import web
from relevance.pages.press import parts


def notebook(tmp_path, markup):
    file = tmp_path / "chapter.ipynb"
    file.write_text(json.dumps({"cells": [{"outputs": [{"data": {"text/html": markup}}]}, {"source": "x"}]}))
    return file


def test_parts_are_set_aside_and_the_rest_is_left(tmp_path):
    file = notebook(tmp_path, ["<p>before</p>\n", web.part("network-1", "QUJD"), "<p>after</p>"])
    parts.set_aside(file, tmp_path / "parts")
    markup = json.loads(file.read_text())["cells"][0]["outputs"][0]["data"]["text/html"]
    assert markup == "<p>before</p>\n<p>after</p>"
    assert '"QUJD"' in (tmp_path / "parts" / "network-1.js").read_text()


def test_parts_of_what_is_glued_for_another_page_are_set_aside(tmp_path):
    file = tmp_path / "chapter.ipynb"
    kind = "application/papermill.record/text/html"
    file.write_text(json.dumps({"cells": [{"outputs": [{"data": {kind: web.part("network-1", "QUJD")}}]}]}))
    parts.set_aside(file, tmp_path / "parts")
    assert json.loads(file.read_text())["cells"][0]["outputs"][0]["data"][kind] == ""
    assert '"QUJD"' in (tmp_path / "parts" / "network-1.js").read_text()


def test_a_notebook_without_parts_is_not_touched(tmp_path):
    file = notebook(tmp_path, ["<p>nothing</p>"])
    before = file.read_bytes()
    parts.set_aside(file, tmp_path / "parts")
    parts.copy(tmp_path / "parts")
    assert file.read_bytes() == before
    assert not (tmp_path / "parts").exists()


def test_a_machine_without_the_runtime_leaves_a_note_instead(tmp_path, monkeypatch):
    monkeypatch.setattr(web, "packages", lambda: tmp_path / "nothing")
    (tmp_path / "parts").mkdir()
    parts.copy(tmp_path / "parts")
    assert '"null"' in (tmp_path / "parts" / "runtime.js").read_text()
    assert (tmp_path / "parts" / "licences" / "onnxruntime-web.txt").read_text().startswith("MIT License")
    assert web.packed() is None
