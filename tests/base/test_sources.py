from __future__ import annotations

import importlib
import sys

import pytest

from relevance.base import sources
from relevance.base.sources import Library

FILES = {
    "__init__.py": '"""The package."""\nVERSION = "1"\n',
    "ground.py": '''
"""The ground."""
import numpy as np
SIZE = 3
UNUSED = 4

def used(x: int) -> int:
    """Add the size."""
    return x + SIZE  # a remark

def unused(x):
    return np.sin(x)

class Base:
    """A class."""
    KEPT: dict = {}

    def value(self):
        return other()

def other():
    return 1

def register(kind):
    Base.KEPT[kind] = kind
''',
    "room/__init__.py": "from relevance.room.shown import drawn\nfrom relevance.room.other import told\n",
    "room/shown.py": "from relevance import ground\n\ndef drawn(x):\n    return ground.used(x)\n",
    "room/other.py": "from relevance.ground import Base\n\nclass Told(Base):\n    pass\n\ndef told():\n    return Told()\n",
    "asked/__init__.py": "from relevance import ground\n\ndef __getattr__(name):\n    return ground.used(name)\n",
    "asked/inner.py": "def deep():\n    return 1\n",
    "effects.py": "from relevance.ground import register\nregister('effects')\n\ndef late():\n    return 1\n",
    "top.py": '''
from relevance import room
from relevance.room import shown as pictures

def draws(x):
    return room.drawn(x)

def tells():
    return room.told()

def draws_otherwise(x):
    return pictures.drawn(x)

def finds(name):
    return getattr(pictures, name)

def imports_late():
    from relevance import effects
    return effects.late()

def starts():
    return ["python", "-m", "relevance.effects"]

def asks():
    from relevance import asked
    return asked.inner.deep()

try:
    import tomllib as reader
except ImportError:
    reader = None

def reads():
    return reader
''',
}  # fmt: skip
FUNCTIONS = [("ground", "used"), ("ground", "unused"), ("room.shown", "drawn"), ("room.other", "told"), ("top", "draws"),
             ("top", "tells"), ("top", "draws_otherwise"), ("top", "finds"), ("top", "imports_late"), ("top", "starts"),
             ("top", "reads"), ("top", "asks")]  # fmt: skip
DRAW = {"drawn", "draws", "draws_otherwise", "finds", "asks"}
TELL = {"told", "tells"}
EFFECT = {"imports_late", "starts"}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def digests(package):
    library = Library(package)
    return {name: library.behind(f"relevance.{module}", name) for module, name in FUNCTIONS}


# File, what is there, what comes in its place, and the functions that it counts for.
CHANGES = [
    ("ground.py", "# a remark", "# another remark", set()),
    ("ground.py", '"""Add the size."""', '"""Add\n    what is said."""', set()),
    ("ground.py", '"""Add the size."""\n', "", set()),
    ("ground.py", '"""The ground."""', "", set()),
    ("ground.py", '"""A class."""', '"""Another text."""', set()),
    ("ground.py", "return x + SIZE", "return (x\n            + SIZE)", set()),
    ("ground.py", "SIZE = 3", "\n\n\nSIZE = 3", set()),
    ("ground.py", "UNUSED = 4", "UNUSED = 5", set()),
    ("ground.py", "import numpy as np", "import numpy.linalg as np", {"unused"}),
    ("ground.py", "np.sin", "np.cos", {"unused"}),
    ("ground.py", "SIZE = 3", "SIZE = 4", {"used", *DRAW}),
    ("ground.py", "x + SIZE", "x - SIZE", {"used", *DRAW}),
    ("ground.py", "def used(x: int)", "def used(x: int = 1)", {"used", *DRAW}),
    ("ground.py", "return other()", "return 2 * other()", {*TELL, *EFFECT}),
    ("ground.py", "return 1", "return 2", {*TELL, *EFFECT}),
    ("ground.py", "Base.KEPT[kind] = kind", "Base.KEPT[kind] = 1", EFFECT),
    ("ground.py", "UNUSED = 4", "UNUSED = 4\nprint(UNUSED)", {name for _, name in FUNCTIONS}),
    ("room/other.py", "def told", "LIMIT = 3\n\ndef told", set()),
    ("room/other.py", "    pass", "    x = 3", TELL),
    ("room/__init__.py", "from relevance.room.other import told", "from relevance.room.other import Told as told", {"tells"}),
    ("room/shown.py", "ground.used(x)", "ground.unused(x)", DRAW - {"asks"}),
    ("asked/__init__.py", "ground.used(name)", "ground.unused(name)", {"asks"}),
    ("asked/inner.py", "return 1", "return 2", {"asks"}),
    ("effects.py", "register('effects')", "register('more')", EFFECT),
    ("effects.py", "return 1", "return 3", EFFECT),
    ("effects.py", "def late", "SIZE = 3\n\ndef late", {"starts"}),
    ("room/shown.py", "def drawn", "SIZE = 3\n\ndef drawn", {"finds"}),
    ("top.py", "import tomllib", "import json", {name for _, name in FUNCTIONS[4:]}),
    ("__init__.py", '"1"', '"2"', set()),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "counts_for"), CHANGES)
def test_a_change_counts_for_what_uses_it_and_for_nothing_else(package, file, old, new, counts_for):
    before = digests(package)
    assert FILES[file].count(old) >= 1
    (package / file).write_text(FILES[file].replace(old, new, 1))
    after = digests(package)
    assert {name for name in after if after[name] != before[name]} == counts_for


def test_code_that_is_no_module_is_read_like_one(package):
    library = Library(package)
    code = "from relevance import room\nx = room.drawn(3)\n"
    names = {place for place in library.places_of_text(code) if place[1] != sources.IMPORTED}
    assert names == {("relevance.room.shown", "drawn"), ("relevance.ground", "used"), ("relevance.ground", "SIZE")}
    before = library.behind_text(code), library.behind_text("%pylab\n"), library.behind_text("print(1)")
    (package / "ground.py").write_text(FILES["ground.py"].replace("UNUSED = 4", "UNUSED = 5"))
    changed = Library(package)
    after = changed.behind_text(code), changed.behind_text("%pylab\n"), changed.behind_text("print(1)")
    # What cannot be read may use anything.
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_modules_of_a_reader_count_with_what_they_use_of_each_other(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/__init__.py").touch()
    (tmp_path / "mine/first.py").write_text("from .second import value\n\ndef work():\n    return value()\n")
    (tmp_path / "mine/second.py").write_text("from mine import third\n\ndef value():\n    return third.SIZE\n")
    (tmp_path / "mine/third.py").write_text("SIZE = 1\nOTHER = 2\n")
    importlib.invalidate_caches()

    def found():
        sources._is_installed.cache_clear()
        return Library().behind("mine.first", "work")

    before = found()
    (tmp_path / "mine/third.py").write_text("SIZE = 1\nOTHER = 3\n")
    assert found() == before
    (tmp_path / "mine/third.py").write_text("SIZE = 2\nOTHER = 3\n")
    assert found() != before
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_what_has_no_source_or_no_such_name_gets_a_sentence(package):
    library = Library(package)
    for module in ("numpy", "relevance.missing", "nowhere"):
        with pytest.raises(ValueError, match=f"the source of {module} is not on disk"):
            library.behind(module)
    with pytest.raises(ValueError, match=r"relevance.ground does not define missing at its top"):
        library.behind("relevance.ground", "missing")


@pytest.mark.parametrize(
    ("module", "installed"),
    [("numpy", True), ("json.decoder", True), ("relevance.base", False), ("__main__", False), ("nowhere", False)],
)
def test_what_is_installed_is_known(module, installed):
    assert sources.is_installed(module) == installed
