"""What keeps the library in its rooms: the contracts of imports in pyproject.toml, faces, public names, homes of tests."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from oracles import ROOT
from relevance.pages.press.chapters import read_chapters

LIBRARY = ROOT / "lib" / "relevance"
FACES = (
    "attacks",
    "datasets",
    "explanations",
    "inference",
    "metrics",
    "networks",
    "pages.figures",
    "pages.interactive",
)
# Rooms in which every module has tests of its own.
TESTED = ("base", "datasets", "networks", "explanations", "inference", "attacks", "metrics")
# Tests of no module: ours beside other libraries.
BESIDE = {"explanations/test_peers.py", "networks/test_peers.py"}
# What each contract forbids, as a line in a module that must not have it.
PLANTED = {
    "The rooms follow the data": ("base/checks.py", "from relevance.datasets import dataset"),
    "No paper's study leans on another's": ("studies/zeng/roar.py", "from relevance.studies.carbone import claims"),
    "What a page is made of": ("pages/web.py", "from relevance.pages import show"),
    "No number depends on a word": ("studies/zeng/tables.py", "from relevance.studies.zeng import words"),
    "The press knows nothing of what runs inside a chapter": (
        "pages/press/status.py",
        "from relevance.pages.figures import style",
    ),
    "Pictures and notebooks are the business of pages": ("studies/store.py", "import matplotlib"),
    "No circles": ("inference/chain.py", "from relevance.inference import hamiltonian"),
}


def modules():
    """Module -> its syntax tree, of the whole library."""
    found = {}
    for path in sorted(LIBRARY.rglob("*.py")):
        parts = path.relative_to(LIBRARY).with_suffix("").parts
        found[".".join(("relevance", *(parts[:-1] if parts[-1] == "__init__" else parts)))] = ast.parse(
            path.read_text()
        )
    return found


def linted(library):
    """Return what import-linter says of a library, by the contracts of this project."""
    command = [Path(sys.executable).with_name("lint-imports"), "--config", ROOT / "pyproject.toml", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(library)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_every_import_goes_the_way_of_the_data():
    done = linted(ROOT / "lib")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("contract", "file", "line"), [(name, *how) for name, how in PLANTED.items()], ids=list(PLANTED)
)
def test_a_planted_import_breaks_its_contract(contract, file, line, tmp_path):
    shutil.copytree(LIBRARY, tmp_path / "relevance", ignore=shutil.ignore_patterns("__pycache__", "static"))
    path = tmp_path / "relevance" / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    done = linted(tmp_path)
    assert done.returncode == 1
    assert f"{contract} BROKEN" in done.stdout


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "relevance":
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names if alias.name.startswith("relevance."))


@pytest.mark.parametrize("chapter", read_chapters(ROOT), ids=lambda chapter: chapter.name)
def test_a_chapter_imports_rooms_and_what_their_faces_hand_on(chapter):
    code = "\n".join(cell.source for cell in chapter.notebook.cells if cell.cell_type == "code")
    assert {module for module, _ in imports(ast.parse(code))} <= {"relevance", "relevance.pages", "relevance.studies"}


def test_the_library_imports_modules_and_never_a_face():
    known = modules()
    packages = {name for name in known if (LIBRARY / Path(*name.split(".")[1:]) / "__init__.py").exists()}
    for name, tree in known.items():
        if name in packages:
            continue
        for module, names in imports(tree):
            assert module in known, f"{name} imports {module}"
            if module in packages:
                faced = [one for one in names if f"{module}.{one}" not in known]
                assert not faced, f"{name} imports {', '.join(faced)} from the face of {module}"


def test_variables_of_the_environment_are_read_in_one_place():
    for path in LIBRARY.rglob("*.py"):
        if path != LIBRARY / "base" / "environment.py":
            assert not re.search(r"(environ|getenv)\W.{0,9}RELEVANCE_", path.read_text()), path


def test_tables_are_styled_in_pages_alone():
    for name, tree in modules().items():
        if not name.startswith("relevance.pages"):
            styled = [
                node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in ("style", "Styler")
            ]
            assert not styled, name


def public(face):
    module = importlib.import_module(f"relevance.{face}")
    return {name: getattr(module, name) for name in module.__all__}


@pytest.mark.parametrize("face", FACES)
def test_public_names_say_what_they_are_and_what_they_take(face):
    for name, value in public(face).items():
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        told = inspect.getdoc(value) or ""
        assert re.match(r"[A-Z(].*[.:]$", told.splitlines()[0] if told else ""), (
            f"{face}.{name}: {told.splitlines()[:1]}"
        )
        elsewhere = re.search("as for|As :func:|Arguments are those", told) or ":func:" in told.splitlines()[0]
        if inspect.isfunction(value) and not elsewhere:
            unsaid = [one for one in inspect.signature(value).parameters if not re.search(rf"\b{one}\b", told)]
            assert not unsaid, f"{face}.{name} does not say what {', '.join(unsaid)} is"


@pytest.mark.parametrize("face", FACES)
def test_public_names_are_used_and_are_the_only_ones_of_that_name(face):
    room = LIBRARY.joinpath(*face.split("."))
    defined = Counter(
        node.name
        for path in room.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    )
    readers = [
        *ROOT.glob("book/**/*.md"),
        *ROOT.glob("benchmarks/*.py"),
        ROOT / "README.md",
        *ROOT.glob("tests/**/*.py"),
    ]
    read = "\n".join(path.read_text() for path in readers)
    module = importlib.import_module(f"relevance.{face}")
    for name in module.__all__:
        assert defined[name] <= 1, f"{face}: {name} is defined {defined[name]} times"
        # A class may be public as the type of what others take or give.
        used = re.search(rf"\b{face.split('.')[-1]}\.{name}\b", read) or inspect.isclass(getattr(module, name))
        assert used, f"nobody uses {face}.{name}"


def test_tests_live_where_what_they_test_lives():
    tests = ROOT / "tests"
    rooms = [path.name for path in LIBRARY.iterdir() if (path / "__init__.py").exists()]
    for room in rooms:
        for path in (tests / room).rglob("test_*.py"):
            inside = path.relative_to(tests)
            module = LIBRARY / inside.parent / inside.name.removeprefix("test_")
            assert module.exists() or inside.as_posix() in BESIDE, f"{inside} tests no module"
    for room in TESTED:
        for path in (LIBRARY / room).glob("*.py"):
            if path.stem not in ("__init__",):
                assert (tests / room / f"test_{path.name}").exists(), f"{room}/{path.name} has no tests"


def names_in(tree):
    """Return what a module defines and imports at its top, and names of its classes' members as ``Class.member``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            for part in ast.walk(node):
                if isinstance(part, ast.FunctionDef):
                    found.add(f"{node.name}.{part.name}")
                elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                    found.add(f"{node.name}.{part.target.id}")
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            found |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)} if target else set()
    return found


def test_what_docstrings_refer_to_exists():
    known = {name: names_in(tree) for name, tree in modules().items()}
    members = {name: {one.split(".")[-1] for one in found if "." in one} for name, found in known.items()}
    lost = []
    for module, own in known.items():
        parts = module.split(".")[1:]
        path = LIBRARY.joinpath(*parts)
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        for role, wanted in re.findall(r":(func|class|data|mod|meth|attr):`~?([\w.]+)`", text):
            if not wanted.startswith("relevance"):
                room, (sibling, _, rest) = module.rpartition(".")[0], wanted.rpartition(".")
                there = wanted in own or (role in ("meth", "attr") and wanted in members[module])
                there = there or rest in known.get(f"{room}.{sibling}", ())
            elif wanted in known:
                there = True
            else:
                home = next((wanted.rsplit(".", n)[0] for n in (1, 2) if wanted.rsplit(".", n)[0] in known), "")
                there = home != "" and wanted[len(home) + 1 :] in known[home]
            if not there:
                lost.append(f"{module}: {wanted}")
    assert not lost, "\n".join(lost)
