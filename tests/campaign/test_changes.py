"""Changes that must, and that must not, have results computed and chapters executed anew.

What must is not read from the code that is tested: a chapter must be executed anew when a function changes that Python finds
behind a name in it, and a kept result when one changes that runs while it is computed.
"""

from __future__ import annotations

import ast
import copy
import re
import sys
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import pytest
import torch

from oracles import ROOT
from relevance import attacks, explanations, inference, metrics
from relevance.base import sources
from relevance.base.sources import IMPORTED, Module
from relevance.networks import architectures
from relevance.pages.press import press
from relevance.pages.press.chapters import read_chapters
from relevance.pages.press.press import Press
from relevance.studies.store import Store
from studies.test_described import NETWORKS

pytestmark = pytest.mark.slow
LIBRARY = ROOT / "lib" / "relevance"
TEXTS = {
    name: source[0] for name, source in sources.RUNNING._sources.items() if source and name.startswith("relevance")
}
CHAPTERS = {chapter.name: chapter.code for chapter in read_chapters(ROOT)}


@cache
def told(text, package):
    """Return all that a digest can depend on of a module."""
    module = Module(text, package)
    names = [IMPORTED, *module.definitions]
    statements = {
        name: [(one.text, one.chains, one.imports, one.modules) for one in module.statements(name)] for name in names
    }
    return statements, module.imports


def with_comments(text):
    """Return a module with a comment after every statement at its top, and at its ends."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        lines.insert(node.end_lineno, "# Another remark.\n")
    return "\n".join(["# The first remark.", *lines, "", "# The last one.", ""])


def with_other_docstrings(text):
    """Return a module in which every docstring says something else."""
    lines = text.splitlines()
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented) and ast.get_docstring(node)]
    for node in sorted((node.body[0] for node in nodes), key=lambda node: -node.lineno):
        lines[node.lineno - 1 : node.end_lineno] = [f'{" " * node.col_offset}"""Says something else."""']
    return "\n".join(lines) + "\n"


def with_blank_lines(text):
    """Return a module with blank lines between its statements."""
    lines = text.splitlines()
    for node in reversed(ast.parse(text).body):
        lines[node.end_lineno : node.end_lineno] = ["", "", ""]
    return "\n".join(lines) + "\n"


NOTHING = {"comments": with_comments, "docstrings": with_other_docstrings, "blank lines": with_blank_lines}


@pytest.mark.parametrize("change", NOTHING)
@pytest.mark.parametrize("module", sorted(TEXTS))
def test_what_is_said_of_code_changes_no_digest(module, change):
    package = sources.RUNNING._sources[module][1]
    changed = NOTHING[change](TEXTS[module])
    assert changed != TEXTS[module]
    assert told(changed, package) == told(TEXTS[module], package)


def with_body(module, name):
    """Return the library with one more line in the body of a function or class."""
    lines = TEXTS[module].splitlines()
    (node,) = [one for one in ast.parse(TEXTS[module]).body if getattr(one, "name", None) == name]
    first = node.body[0]
    at = (
        first.end_lineno
        if ast.get_docstring(node)
        else min(first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []) or [first])) - 1
    )
    lines.insert(at, f"{' ' * first.col_offset}changed = 1")
    library = copy.copy(sources.RUNNING)
    library._sources = {**library._sources, module: ("\n".join(lines) + "\n", library._sources[module][1])}
    # No name comes or goes at the top, so what other modules lead to stays.
    library._at = {place: read for place, read in sources.RUNNING._at.items() if place[0] != module}
    library._digests = {}
    return library


@cache
def chapter_keys(library=sources.RUNNING):
    return {name: library.behind_text(code) for name, code in CHAPTERS.items()}


def named_in(code):
    """Return the functions and classes of the library that Python finds behind the names in a chapter."""
    tree = ast.parse(code)
    found = {}
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    exec(compile(ast.Module(imports, []), "imports", "exec"), found)
    places = set()
    for node in ast.walk(tree):
        chain = sources._chain(node) if isinstance(node, (ast.Name, ast.Attribute)) else None
        value = found.get(chain[0]) if chain else None
        for name in (chain or ())[1:]:
            value = getattr(value, name, None) if isinstance(value, ModuleType) else value
        if str(getattr(value, "__module__", "")).startswith("relevance.") and hasattr(value, "__qualname__"):
            places.add((value.__module__, value.__qualname__.partition(".")[0]))
    return places


NAMED = {chapter: named_in(code) for chapter, code in CHAPTERS.items()}
PLACES = sorted({place for places in NAMED.values() for place in places})


def test_chapters_name_much_of_the_library():
    assert all(NAMED.values())
    assert len(PLACES) > 150


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_a_changed_function_executes_the_chapters_that_name_it(place):
    before, after = chapter_keys(), with_body(*place)
    for chapter, code in CHAPTERS.items():
        if place in NAMED[chapter]:
            assert after.behind_text(code) != before[chapter], chapter


def drawn_by_chapters_alone(module, name):
    """Return whether nothing in the library but a face mentions a figure function."""
    others = (text for other, text in TEXTS.items() if other not in (module, "relevance.pages.figures"))
    own = len(re.findall(rf"\b{name}\b", TEXTS[module])) == 1
    return own and not any(re.search(rf"\b{name}\(", text) for text in others)


FIGURES = sorted(
    (module, node.name)
    for module in TEXTS
    if module.startswith("relevance.pages.figures.")
    for node in ast.parse(TEXTS[module]).body
    if isinstance(node, ast.FunctionDef) and drawn_by_chapters_alone(module, node.name)
)


@pytest.mark.parametrize("place", FIGURES, ids=".".join)
def test_a_changed_figure_executes_no_chapter_that_does_not_draw_it(place):
    before, after = chapter_keys(), with_body(*place)
    for chapter, code in CHAPTERS.items():
        if not re.search(rf"\b{place[1]}\b", code):
            assert after.behind_text(code) == before[chapter], chapter


@pytest.fixture
def given(tiny_data, dense_posterior, some_images):
    small_network = architectures.fully_connected((1, 4, 4), hidden=8, n_classes=3)
    labels = dense_posterior.predict(some_images).argmax(-1)
    return {
        "network": small_network,
        "data": tiny_data,
        "posterior": dense_posterior,
        "images": some_images,
        "labels": labels,
    }


RUN = {
    "sgd": (inference.sgd, "network data", {"epochs": 1, "progress": False}),
    "adversarial": (inference.adversarial, "network data", {"epochs": 1, "progress": False}),
    "hmc": (inference.hmc, "network data", {"n_samples": 2, "warmup": 1, "n_steps": 2, "progress": False}),
    "variational": (inference.variational, "network data", {"progress": False}),
    "deep_ensemble": (inference.deep_ensemble, "network data", {"n_samples": 2, "epochs": 1, "progress": False}),
    "swag": (inference.swag, "network data", {"rank": 2, "progress": False}),
    "laplace": (inference.laplace, "network data", {"progress": False}),
    "mc_dropout": (inference.mc_dropout, "network data", {"progress": False}),
    "jacobian": (inference.jacobian, "network data", {"epochs": 1, "progress": False}),
    "distillation": (inference.distillation, "network data", {"epochs": 1, "progress": False}),
    "fgsm": (attacks.fgsm, "posterior images labels", {"epsilon": 0.1}),
    "pgd": (attacks.pgd, "posterior images labels", {"epsilon": 0.1}),
    "square": (attacks.square, "posterior images labels", {"epsilon": 0.1}),
    "lrp": (explanations.lrp, "posterior images labels", {}),
    "gradient": (explanations.gradient, "posterior images labels", {}),
    "integrated": (explanations.integrated_gradients, "posterior images labels", {}),
    "smooth_grad": (explanations.smooth_grad, "posterior images labels", {}),
    "guided": (explanations.guided_backprop, "posterior images labels", {}),
    "deep_taylor": (explanations.deep_taylor, "posterior images labels", {}),
    "overlap": (metrics.lrp_robustness, "images images", {"top_percent": 20}),
    "similarity": (metrics.map_scores, "images images", {"top_percent": 20}),
}  # fmt: skip


def ran(call):
    """Return the functions and classes of the library that run during a call, but for what importing runs."""
    found, seen = set(), set()

    def note(frame, event, argument):
        code = frame.f_code
        if event != "call" or code in seen or not code.co_filename.startswith(str(LIBRARY)):
            return
        around = frame
        while around is not None:
            if around.f_code.co_name == "<module>" and around.f_code.co_filename.startswith(str(LIBRARY)):
                return
            around = around.f_back
        seen.add(code)
        name = ".".join(("relevance", *Path(code.co_filename).relative_to(LIBRARY).with_suffix("").parts))
        top = code.co_qualname.partition(".")[0]
        if not top.startswith("<"):
            found.add((name.removesuffix(".__init__"), top))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("name", RUN)
def test_all_that_runs_counts(name, given):
    function, arguments, settings = RUN[name]
    torch.manual_seed(0)
    there = ran(lambda: function(*(given[one] for one in arguments.split()), **settings))
    assert there
    assert there - sources.RUNNING.places((function.__module__, function.__name__)) == set()


@pytest.mark.parametrize("chapter", read_chapters(ROOT), ids=lambda chapter: chapter.name)
def test_each_changed_parameter_is_a_change_and_their_order_is_none(monkeypatch, chapter):
    monkeypatch.setattr(press, "present_library", lambda folder: sources.RUNNING)
    machine = Press(ROOT)
    parameters = {name: value for name, value in chapter.parameters.items() if name != "dataset"}
    changed = [{**parameters, name: "another"} for name in parameters]
    assert len({machine.key(chapter, given) for given in (parameters, *changed)}) == len(changed) + 1
    assert machine.key(chapter, dict(reversed(parameters.items()))) == machine.key(chapter, parameters)


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "plain"])
def test_another_network_is_another_key(tmp_path, name):
    store = Store(tmp_path)
    key = partial(store.key, explanations.lrp)
    assert key(NETWORKS[name]()) == key(NETWORKS[name]()) != key(NETWORKS["plain"]())
