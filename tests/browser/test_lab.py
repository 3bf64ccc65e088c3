"""The playground in a real JupyterLab: sliders move, and picture and scores become the library's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from html import escape
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import TimeoutError

from oracles import SMALL_STUDY
from relevance.pages.interactive.scene import Choice, Scene
from relevance.studies import names

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
# As the chapter gives them; small, so that they are trained in seconds.
PARAMETERS = {
    "dataset": "digits", "n_train": 200, "hidden": 8, "epochs": 3, "n_draws": 4, "n_samples": [4], "n_images": 3,
    "sampler": {"warmup": 4, "n_steps": 4}, "hardening": {},
}  # fmt: skip
# The sentence comes after the picture.
SAID = "() => document.querySelector('.jp-OutputArea p[role=status]')?.textContent ?? ''"
# JupyterLab takes cells that are out of sight off the page; here all stay on it, wherever running them scrolls to.
SETTINGS = {"@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"}}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The chapter as a notebook, in a folder of its own, with its parameters replaced in their cell."""
    import jupytext

    folder = tmp_path_factory.mktemp("lab")
    chapter = jupytext.read(ROOT / "book/explore.md")
    (cell,) = (cell for cell in chapter.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in PARAMETERS.items())
    path = folder / "explore.ipynb"
    jupytext.write(chapter, path)
    return path


@pytest.fixture(scope="module")
def lab(notebook, tmp_path_factory):
    """The address of a JupyterLab that serves the notebook's folder."""
    _ = SMALL_STUDY.trained  # in the store, which the kernel shares
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = {
        **os.environ, "HOME": str(home), "JUPYTER_CONFIG_PATH": str(ROOT / ".jupyter"), "JUPYTER_RUNTIME_DIR": str(home),
        "PYTHONPATH": str(ROOT / "lib"), "RELEVANCE_PROGRESS": "0",
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
    }  # fmt: skip
    for path, setting in SETTINGS.items():
        (home / "settings" / path).parent.mkdir(parents=True)
        (home / "settings" / path).write_text(json.dumps(setting))
    log = (home / "lab.log").open("wb")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--port-retries=0"),
            *("--IdentityProvider.token=t", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={notebook.parent}"),
        ],
        env=environment, stdout=log, stderr=log,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 240
    while True:
        try:
            with urlopen(f"{address}/api?token=t") as answer:
                assert "version" in json.load(answer)
            break
        except OSError:
            assert server.poll() is None, (home / "lab.log").read_text()
            assert time.monotonic() < until, (home / "lab.log").read_text()
            time.sleep(0.2)
    yield address
    server.terminate()
    server.wait(20)


def test_sliders_move_and_the_view_is_the_library_s(browser, lab):
    classes = SMALL_STUDY.data.classes
    scene = Scene(SMALL_STUDY, 3)
    page = browser.new_context(viewport={"width": 1400, "height": 1200}).new_page()
    page.goto(f"{lab}/lab/tree/explore.ipynb?token=t")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=240_000)
    page.get_by_text("| Idle").wait_for(timeout=240_000)
    page.locator(".lm-MenuBar-item", has_text="Run").click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()

    def shows(**choices):
        wanted = scene.view(Choice(**choices)).sentence(classes)
        try:
            page.wait_for_function(f"wanted => ({SAID})() === wanted", arg=wanted, timeout=180_000)
        except TimeoutError:
            outputs = "\n".join(page.locator(".jp-OutputArea, .jp-Dialog, .jp-StatusBar-Widget").all_text_contents())
            pytest.fail(f"wanted: {wanted}\nis: {page.evaluate(SAID)}\non the page: {outputs[:4000]}")
        assert page.locator(".jp-OutputArea img[alt^=Predicted]").get_attribute("alt") == wanted

    shows(model=names.BAYESIAN, n_samples=4)
    picture = page.locator(".jp-OutputArea img[alt^=Predicted]").get_attribute("src")

    def slider(name):
        row = page.locator(".widget-inline-hbox", has=page.get_by_text(name, exact=True))
        return row.locator(".noUi-handle")

    for _ in range(5):
        slider("attack size").press("ArrowRight")
    shows(model=names.BAYESIAN, n_samples=4, epsilon=0.15)
    assert page.locator(".jp-OutputArea img[alt^=Predicted]").get_attribute("src") != picture
    slider("posterior samples").press("ArrowLeft")
    slider("posterior samples").press("ArrowLeft")
    shows(model=names.BAYESIAN, n_samples=2, epsilon=0.15)
    slider("image").press("ArrowRight")
    shows(model=names.BAYESIAN, n_samples=2, epsilon=0.15, image=1)
    for name, value in (
        ("model", names.DETERMINISTIC),
        ("attack", "PGD on the margin"),
        ("rule", "gamma"),
        ("layer", "3"),
    ):
        row = page.locator(".widget-dropdown", has=page.get_by_text(name, exact=True))
        row.locator("select").select_option(label=value)
    shows(model=names.DETERMINISTIC, epsilon=0.15, image=1, attack="PGD on the margin", rule="gamma", layer="3")
    text = page.locator(".jp-OutputArea", has=page.locator("img[alt^=Predicted]")).last.inner_html()
    assert escape(classes[0]) in text
    page.context.close()
