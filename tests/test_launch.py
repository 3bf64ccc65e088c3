"""Notebooks that run where they are downloaded, and the files that Binder and Colab ask for."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import nbformat
import pytest
import yaml

from relevance import launch
from relevance.chapters import BookError

ROOT = Path(__file__).parents[1]


def notebook(*cells):
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_markdown_cell("(label)=\n# Title\n\nText."), *map(nbformat.v4.new_code_cell, cells)]
    return made


@pytest.mark.parametrize(
    "address",
    ["https://github.com/own.er/na-me", "https://github.com/own.er/na-me.git", "git@github.com:own.er/na-me.git"],
)
def test_the_public_clone_is_git_s_origin_or_what_is_given(address, tmp_path, monkeypatch):
    monkeypatch.delenv("RELEVANCE_REPOSITORY", raising=False)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert launch.repository(tmp_path) is None
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", address], check=True)
    assert launch.repository(tmp_path) == "own.er/na-me"
    monkeypatch.setenv("RELEVANCE_REPOSITORY", "https://github.com/a/b")
    assert launch.repository(tmp_path) == "a/b"
    monkeypatch.setenv("RELEVANCE_REPOSITORY", "a/b")
    with pytest.raises(BookError, match="RELEVANCE_REPOSITORY is 'a/b'; it must be the address of a clone on GitHub"):
        launch.repository(tmp_path)


def test_a_page_says_where_it_runs():
    with_clone, without = notebook("x = 1"), notebook("x = 1")
    launch.ready(with_clone, "method/some-chapter", "a/b")
    launch.ready(without, "method/some-chapter", None)
    for made in (with_clone, without):
        nbformat.validate(made)
        text = made.cells[1].source
        assert text.startswith("(label)=\n# Title\n\n:::{container} run-it\n")
        assert text.endswith(":::\n\nText.")
        assert "{download}`this page as a notebook <some-chapter.ipynb>`" in text
        assert made.cells[0].metadata.tags == ["remove-cell"]
    assert (
        "https://mybinder.org/v2/gh/a/b/HEAD?urlpath=lab%2Ftree%2Fbook%2Fmethod%2Fsome-chapter.md"
        in with_clone.cells[1].source
    )
    assert "https://colab.research.google.com/github/a/b/blob/HEAD/binder/colab.ipynb" in with_clone.cells[1].source
    assert "http" not in without.cells[1].source


def test_the_first_cell_does_nothing_where_the_library_is_and_says_what_to_do_where_not(monkeypatch):
    made = notebook()
    launch.ready(made, "explore", None)
    exec(made.cells[0].source)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError, match="is not installed in this kernel; open the notebook with the project's own"
    ):
        exec(made.cells[0].source)


def test_with_a_clone_the_first_cell_fetches_it():
    made = notebook()
    launch.ready(made, "explore", "a/b")
    assert "git clone --quiet --depth 1 https://github.com/a/b relevance-book" in made.cells[0].source
    from IPython.core.inputtransformer2 import TransformerManager

    ast.parse(TransformerManager().transform_cell(made.cells[0].source))


def test_binder_has_the_lock_s_versions():
    content, conda = (
        yaml.safe_load((ROOT / name).read_text()) for name in ("binder/environment.yml", "environment.yml")
    )
    (pins,), (locked,) = (
        [part["pip"] for part in one["dependencies"] if isinstance(part, dict)] for one in (content, conda)
    )
    assert set(pins) - {"--editable .."} <= set(locked)
    versions = dict(line.split("==") for line in locked if "==" in line)
    assert f"pytorch-cpu={versions['torch']}" in content["dependencies"]
    assert f"torchvision={versions['torchvision']}" in content["dependencies"]
    assert not [line for line in pins if line.startswith("torch")]
    start = ROOT / "binder/start"
    assert start.stat().st_mode & 0o111
    done = subprocess.run(
        [start, "sh", "-c", "echo $JUPYTER_CONFIG_PATH"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (Path(done.stdout.strip().split(":")[0]) / "labconfig").is_dir()


def test_colab_s_notebook_is_whole_and_calls_what_there_is():
    made = nbformat.read(ROOT / "binder/colab.ipynb", as_version=4)
    nbformat.validate(made)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    given: dict = {}
    exec(code[0].source, given)
    (defaults,) = (chapter.parameters for chapter in _chapters() if chapter.name == given["CHAPTER"])
    from relevance.profiles import assignments

    assert assignments(given["PARAMETERS"]).keys() <= defaults.keys()
    for cell in code[2:]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("relevance"):
                module = __import__(node.module, fromlist=["_"])
                assert all(hasattr(module, name.name) for name in node.names)


def _chapters():
    from relevance.chapters import read_chapters

    return read_chapters(ROOT)
