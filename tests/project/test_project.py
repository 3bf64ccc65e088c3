"""The project's own files: the dependencies said in three places, the chapters, and what git holds."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

from oracles import ROOT
from relevance.pages.press import parameters
from relevance.pages.press.chapters import read_chapters

# Groups that no build installs.
NOT_LOCKED = {"cluster"}
PIN = re.compile(r"^([\w.-]+)==([\w.+!]+)(?: ; ([^\\\n]+?))?(?: \\)?$", re.MULTILINE)


def pins(name):
    """Package name -> version -> marker, of one file of the lock."""
    found: dict[str, dict[str, str]] = {}
    for package, version, marker in PIN.findall((ROOT / "requirements" / name).read_text()):
        found.setdefault(package, {})[version] = marker
    return found


def direct():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = project["project"]["dependencies"] + [
        line for name, group in project["dependency-groups"].items() for line in group if name not in NOT_LOCKED
    ]
    return {re.match(r"[\w.-]+", line)[0]: line for line in lines}


def environment():
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    (inner,) = [part["pip"] for part in content["dependencies"] if isinstance(part, dict)]
    return content["dependencies"], inner


def release(version):
    return tuple(int(part) for part in re.match(r"[\d.]+", version)[0].rstrip(".").split("."))


def test_the_lock_has_every_dependency_within_its_bounds():
    locked = pins("base.txt") | pins("torch.txt")
    for name, line in direct().items():
        assert name in locked, f"{name} is not in the lock; run make lock"
        for version in locked[name]:
            for operator, bound in re.findall(r"(>=|<|==)([\d.]+)", line.replace(".*", "")):
                if operator == "==":
                    assert f"{version}.".startswith(f"{bound}."), line
                else:
                    assert (release(version) >= release(bound)) == (operator == ">="), f"{name} {version}: {line}"


def test_conda_users_get_the_same_set():
    locked = pins("base.txt") | pins("torch.txt")
    outer, inner = environment()
    assert "python=3.11" in outer
    assert inner[-1] == "--editable ."
    given = dict(line.split("==") for line in inner[:-1])
    # pip does not get past what torchattacks asks for; see requirements/lock.py.
    assert given.keys() == direct().keys() - {"torchattacks"}
    for name, version in given.items():
        assert locked[name][version] in {"", "python_full_version < '3.12'"}


def test_the_two_builds_of_torch_are_of_one_version():
    (cpu,) = pins("torch-cpu.txt")["torch"]
    (common,) = pins("torch.txt")["torch"]
    assert cpu == f"{common}+cpu"
    assert "torch" not in pins("base.txt")
    assert not [name for name in pins("base.txt") if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize("name", ["base.txt", "torch.txt", "torch-cpu.txt", "uv.txt"])
def test_everything_in_the_lock_has_a_hash_and_no_address(name):
    text = (ROOT / "requirements" / name).read_text()
    assert "://" not in text
    assert "index" not in re.sub(r"^[\w.-]+==.*$", "", text, flags=re.MULTILINE)
    blocks = re.split(r"\n(?=[a-zA-Z])", text.partition("\n")[2])
    assert blocks
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


def chapters():
    return read_chapters(ROOT)


def test_every_profile_fits_every_chapter():
    for profile in sorted((ROOT / "book/profiles").glob("*.yml")):
        chosen = parameters.resolve(ROOT, chapters(), profile.stem, {})
        assert len(chosen) == len(chapters()) >= 3


def test_the_chapters_defaults_are_the_quick_profile():
    chosen = parameters.resolve(ROOT, chapters(), "quick", {})
    assert chosen == {chapter.name: chapter.parameters for chapter in chapters()}


@pytest.mark.parametrize("chapter", chapters(), ids=lambda chapter: chapter.name)
def test_chapters_are_thin_and_their_figures_speak(chapter):
    for cell in chapter.notebook.cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        assert len(cell.source.splitlines()) <= 20
        assert not any(isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.While)) for node in ast.walk(tree))
        last = tree.body[-1]
        if isinstance(last, ast.Expr) and ast.unparse(last).startswith("figures."):
            meta = cell.metadata["mystnb"]
            assert len(meta["image"]["alt"]) > 40
            assert len(meta["figure"]["caption"]) > 40
            assert meta["figure"]["name"].startswith("fig-")


def tracked(*patterns):
    done = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).exists()]


def test_git_holds_no_notebooks_no_data_and_nothing_big():
    assert tracked("README.md")
    assert tracked("*.ipynb") == [ROOT / "binder/colab.ipynb"]
    assert not [path for path in tracked("data") if path.name != "README.md" and "recorded" not in path.parts]
    assert all(path.stat().st_size < 2**20 for path in tracked())


def test_no_file_names_a_machine_s_folder():
    for path in tracked("*.py", "*.md", "*.yml", "*.toml", "*.sh", "Makefile", ".ci/run"):
        assert not re.search(
            r"/(home|root|Users|work)/\w", path.read_text().replace("tests/project/test_project.py", "")
        ), path


@pytest.mark.slow
def test_the_readme_s_example_runs(tmp_path, monkeypatch):
    """The example as it stands, at a size that takes a second."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    small = code.replace("n_samples=100", "n_samples=3, warmup=2").replace("n_steps=60", "n_steps=2")
    assert small != code
    names: dict = {}
    exec(compile(small.replace("balanced_test(200", "balanced_test(20"), "README.md", "exec"), names)
    assert names["scores"].shape == (20,)
    assert ((names["scores"] >= 0) & (names["scores"] <= 1)).all()


def test_what_chapters_suggest_to_try_are_parameters_that_they_have():
    for chapter in read_chapters(ROOT):
        for name, given in re.findall(r"make chapter CHAPTER=(\S+) PARAMETERS='([^']*)'", chapter.source):
            assert name == chapter.name
            chapter.resolved(chapter.parameters | parameters.assignments(given))


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
    from relevance.pages.press.parameters import assignments

    assert assignments(given["PARAMETERS"]).keys() <= defaults.keys()
    for cell in code[2:]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("relevance"):
                module = __import__(node.module, fromlist=["_"])
                assert all(hasattr(module, name.name) for name in node.names)


def _chapters():
    from relevance.pages.press.chapters import read_chapters

    return read_chapters(ROOT)
