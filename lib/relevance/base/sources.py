"""What the code behind something is: the definitions that it uses, and those that they use, as syntax without comments.

What counts is the syntax of a definition without comments, docstrings and positions. Where a name leads is read from the
imports: ``figures.answer`` is the function ``answer`` of that room, and nothing else of it. Where a name stands for a whole
module, as in ``getattr(module, name)``, everything in that module counts, and so does what importing a module does.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path

from relevance.base.digests import digest

PACKAGE = "relevance"
FOLDER = Path(__file__).parents[1]
# A module, and a name defined at its top, or one of the two below.
Place = tuple[str, str]
# Names one after another, such as ("figures", "answer") for ``figures.answer``.
Chain = tuple[str, ...]
# A name -> the modules that it was imported from with its name there, "" where it is the module itself.
Imports = dict[str, set[Place]]
WHOLE, IMPORTED = "*", "import"
# Functions by which names are found that nobody wrote down.
UNREADABLE = {"eval", "exec", "globals", "locals", "__import__"}
DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Folders of what is installed, which counts by its version.
INSTALLED = {"site-packages", "dist-packages"}
# What a room may ask for its modules (PEP 562).
HANDS_ON = "__getattr__"
# Statements under these conditions are not run when another module imports theirs.
NOT_RUN = ("TYPE_CHECKING", "__name__ == '__main__'")


class Statement:
    """A statement at the top of a module.

    Attributes:
        text: its syntax: the same with other comments, docstrings, and blank lines.
        chains: all names in it.
        imports: what is imported inside.
        modules: texts in it that may be names of the library's modules.
    """

    def __init__(self, node: ast.stmt, package: str) -> None:
        self.package = package
        self.chains: set[Chain] = set()
        self.imports: Imports = {}
        self.modules: set[str] = set()
        self.text = self._read(node)

    def _read(self, node: object) -> str:
        if isinstance(node, list):
            return f"[{','.join(self._read(item) for item in node if not _is_text(item))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            _add_imports(self.imports, node, self.package)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{PACKAGE}."):
            self.modules.add(node.value)
        elif isinstance(node, (ast.Name, ast.Attribute)) and (chain := _chain(node)):
            self.chains.add(chain)
            return ".".join(chain)
        parts = [f"{name}={self._read(value)}" for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
        return f"{type(node).__name__}({','.join(parts)})"


class Module:
    """The top of a module: what it defines, what it imports, and what is run when it is imported.

    Args:
        text: its source.
        package: where it is; the module itself if that is a package.
    """

    def __init__(self, text: str, package: str) -> None:
        self.package = package
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.effects: list[ast.stmt] = []
        self.imports: Imports = {}
        self._read: dict[int, Statement] = {}
        for node in ast.parse(text).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                _add_imports(self.imports, node, package)
            elif not _is_text(node):
                self._add(node)

    def _add(self, node: ast.stmt) -> None:
        inside = [node] if isinstance(node, DEFINES) else list(ast.walk(node))
        for part in inside:
            if isinstance(part, (ast.Import, ast.ImportFrom)):
                _add_imports(self.imports, part, self.package)
            elif isinstance(part, DEFINES):
                self.definitions.setdefault(part.name, []).append(node)
            elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                self.definitions.setdefault(part.id, []).append(node)
        changes = any(
            isinstance(part, (ast.Attribute, ast.Subscript)) and isinstance(part.ctx, ast.Store) for part in inside
        )
        not_run = isinstance(node, ast.If) and ast.unparse(node.test) in NOT_RUN
        if not (not_run or (isinstance(node, (*DEFINES, ast.Assign, ast.AnnAssign)) and not changes)):
            self.effects.append(node)

    def statements(self, name: str) -> list[Statement]:
        """Return the statements behind a name."""
        nodes = self.effects if name == IMPORTED else self.definitions.get(name, [])
        for node in nodes:
            if id(node) not in self._read:
                self._read[id(node)] = Statement(node, self.package)
        return [self._read[id(node)] for node in nodes]


# Modules are read once for as long as their text is the same.
_parsed = lru_cache(maxsize=1024)(Module)


class Library:
    """The source of the library as it was when this was made: as the running code is, if it is made on import.

    Args:
        folder: of the package; that of the running library if not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or FOLDER
        # Module -> its source, and the package that it is in; None for what is installed, and what is no module.
        self._sources: dict[str, tuple[str, str] | None] = {}
        for path in folder.rglob("*.py"):
            parts = (PACKAGE, *path.relative_to(folder).with_suffix("").parts)
            package = ".".join(parts[:-1])
            self._sources[package if parts[-1] == "__init__" else ".".join(parts)] = path.read_text("utf-8"), package
        self._at: dict[Place, tuple[str, frozenset[Place]]] = {}
        self._digests: dict[tuple[str, str, frozenset[str]], str] = {}

    def behind(self, module: str, name: str = WHOLE, without: frozenset[str] = frozenset()) -> str:
        """Return a digest of a definition and of all that it uses; without a name, of everything that the module defines.

        Args:
            module, name: where it is.
            without: modules that do not count, nor what only they use.

        Raises:
            ValueError: the source is not on disk, or there is no such name at its top.
        """
        if (module, name, without) not in self._digests:
            if not self._is_own(module):
                raise ValueError(f"the source of {module} is not on disk, so nothing can tell when it changes.")
            if name != WHOLE and name not in self._module(module).definitions:
                raise ValueError(f"{module} does not define {name} at its top, so nothing can tell when it changes.")
            self._digests[module, name, without] = self._digest(self.places((module, name), without=without))
        return self._digests[module, name, without]

    def behind_text(self, text: str) -> str:
        """Return a digest of all that code uses which is no module, such as a chapter's; its own text is not counted.

        Where the text is not Python, everything is.
        """
        return self._digest(self.places_of_text(text))

    def places(self, *roots: Place, without: frozenset[str] = frozenset()) -> set[Place]:
        """Return definitions, and all that they use, but for what is in modules that do not count."""
        found: set[Place] = set()
        waiting = list(roots)
        while waiting:
            place = waiting.pop()
            if place not in found and place[0] not in without:
                found.add(place)
                waiting += self._read(place)[1]
        return found

    def places_of_text(self, text: str) -> set[Place]:
        """Return all definitions that code uses which is no module."""
        try:
            module = _parsed(text, "")
        except SyntaxError:
            return self.places(*((name, WHOLE) for name, source in self._sources.items() if source is not None))
        statements = [one for name in (IMPORTED, *module.definitions) for one in module.statements(name)]
        return self.places(*self._uses("", module, statements), *self._run_by(module.imports))

    def _digest(self, places: Iterable[Place]) -> str:
        return digest(*(part for place in sorted(places) for part in (*place, self._read(place)[0])))

    def _read(self, place: Place) -> tuple[str, frozenset[Place]]:
        """Return the syntax at a place, and the places that it leads to."""
        if place not in self._at:
            name, part = place
            module = self._module(name)
            if part == WHOLE:
                text, uses = "", {(name, each) for each in (IMPORTED, *module.definitions)}
                if module.package == name:  # a room hands on what it imports
                    uses |= {found for target in _all(module.imports) for found in self._from(target)}
            else:
                statements = module.statements(part)
                uses = {(name, IMPORTED), *self._uses(name, module, statements)}
                if part == IMPORTED:
                    uses |= self._run_by(module.imports)
                # Where a name comes from that is installed is all that tells it from another.
                heads = sorted({chain[0] for one in statements for chain in one.chains} & module.imports.keys())
                origins = [f"{head}: {sorted(module.imports[head])}" for head in heads]
                text = "\n".join([*(one.text for one in statements), *origins])
            self._at[place] = text, frozenset(uses)
        return self._at[place]

    def _uses(self, name: str, module: Module, statements: Iterable[Statement]) -> set[Place]:
        """Return the places that all names in statements of a module lead to."""
        found: set[Place] = set()
        for one in statements:
            for head, *rest in [*one.chains, (WHOLE,)]:
                if name and head in module.definitions:
                    found.add((name, head))
                elif name and head in UNREADABLE:
                    found.add((name, WHOLE))
                for target in one.imports.get(head, set()) | module.imports.get(head, set()):
                    found.update(self._from(target, *rest))
            found.update((named, WHOLE) for named in one.modules if self._is_own(named))
            found |= self._run_by(one.imports)
        return found

    def _from(self, target: Place, *rest: str) -> Iterator[Place]:
        """Give the places that something imported leads to, and the names after it."""
        source, of = target
        return self._leads(source, rest if of in ("", WHOLE) else (of, *rest))

    def _leads(self, name: str, chain: Chain) -> Iterator[Place]:
        """Give the places that names lead to, one after another, from a module on."""
        if not self._is_own(name):
            return
        module = self._module(name)
        yield name, IMPORTED
        if not chain:
            yield name, WHOLE
        elif chain[0] in module.definitions:
            yield name, chain[0]
        elif targets := module.imports.get(chain[0], set()) - {(name, chain[0])}:
            for target in targets:
                yield from self._from(target, *chain[1:])
        elif self._is_own(f"{name}.{chain[0]}"):
            if HANDS_ON in module.definitions:
                yield name, HANDS_ON
            yield from self._leads(f"{name}.{chain[0]}", chain[1:])
        elif not chain[0].startswith("__"):
            yield name, WHOLE

    def _run_by(self, imports: Imports) -> set[Place]:
        """Return what is run by importing: modules, and the rooms that they are in."""
        found = set()
        for target, of in _all(imports):
            parts = [*target.split("."), *([of] if of else [])]
            names = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
            found |= {(each, IMPORTED) for each in names if self._is_own(each)}
        return found

    def _module(self, name: str) -> Module:
        source = self._sources[name]
        assert source is not None
        return _parsed(*source)

    def _is_own(self, name: str) -> bool:
        """Return whether a name is that of a module that can change: the library's, or a reader's beside the notebook."""
        if name not in self._sources:
            self._sources[name] = None if name.partition(".")[0] == PACKAGE else _own_source(name)
        return self._sources[name] is not None


def _own_source(name: str) -> tuple[str, str] | None:
    """Return the source of a module that is not installed, and the package that it is in."""
    spec = None if name == "__main__" or is_installed(name) else _spec(name)
    path = spec.origin if spec else getattr(sys.modules.get(name), "__file__", None) if name == "__main__" else None
    if not path or not path.endswith(".py") or not Path(path).exists() or INSTALLED & set(Path(path).parts):
        return None
    return Path(path).read_text("utf-8"), (spec.parent or "") if spec else ""


def is_installed(module: str) -> bool:
    """Return whether a module is Python's or installed, and not of the library; nothing is imported to find it out."""
    return _is_installed(module.partition(".")[0])


@cache
def _is_installed(top: str) -> bool:
    if top in sys.stdlib_module_names:
        return True
    spec = None if top in (PACKAGE, "__main__") else _spec(top)
    places = [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []
    return any(INSTALLED & set(Path(place).parts) for place in places)


def _spec(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None


def _all(imports: Imports) -> set[Place]:
    return {place for places in imports.values() for place in places}


def _add_imports(imports: Imports, node: ast.Import | ast.ImportFrom, package: str) -> None:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            place = ".".join([*parents, *([node.module] if node.module else [])]), alias.name
            imports.setdefault(alias.asname or alias.name, set()).add(place)
        elif alias.asname:
            imports.setdefault(alias.asname, set()).add((alias.name, ""))
        else:
            imports.setdefault(alias.name.partition(".")[0], set()).add((alias.name.partition(".")[0], ""))
            imports.setdefault("", set()).add((alias.name, ""))  # which is run, under no name of its own


def _is_text(node: object) -> bool:
    """Return whether a statement is only a text, as docstrings are, which nothing is computed from."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _chain(node: ast.expr) -> Chain | None:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (before := _chain(node.value)):
        return (*before, node.attr)
    return None


RUNNING = Library()


def code_behind(module: str, name: str = WHOLE, without: frozenset[str] = frozenset()) -> str:
    """Return a digest of the code that runs behind a definition, as :meth:`Library.behind` of the running library does.

    Raises:
        ValueError: the source is not on disk, or there is no such name at its top.
    """
    return RUNNING.behind(module, name, without)
