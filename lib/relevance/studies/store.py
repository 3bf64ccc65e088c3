"""Finished work on disk: found again by all that it depends on, and computed anew when any of that has changed.

What a result depends on is the function with the library's code behind it, the arguments by their values, and what is
installed. Nothing is unpickled: posteriors and tensors are safetensors files, tables are JSON.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import importlib.util
import inspect
import json
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import safetensors.torch
from torch import Tensor, nn

from relevance.base import checks, digests
from relevance.base.environment import default_device, store_root
from relevance.datasets.dataset import Dataset
from relevance.networks.posterior import Posterior

PACKAGE = "relevance"
# What a function is told that does not change its result.
IGNORED = ("progress", "checkpoint")
Result = TypeVar("Result")


class Store:
    """A folder of results.

    Keys take the library's source as it was when this module was imported, as the running code is.

    Args:
        folder: where they are; if None, what the environment variable ``RELEVANCE_STORE`` names, else ``_build/store`` of
            the project.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = store_root() if folder is None else Path(folder)

    def __call__(self, function: Callable[..., Result], *arguments: Any, **settings: Any) -> Result:
        """Return ``function(*arguments, **settings)``: from the disk if it is there, else computed and kept.

        Two processes that want the same result at the same time compute it once. A function with an argument
        ``checkpoint`` is given a folder for it, so that it goes on where it was killed.

        Args:
            function: of this library, or made of it by ``functools.partial``; gives a posterior, a tensor, a mapping of
                names to tensors, or a table.
            arguments, settings: numbers, texts, tensors, data sets, networks, posteriors, rules, and lists, mappings and
                functions of these. ``progress`` does not count.

        Raises:
            ValueError: a result, or an argument, is of another kind.
        """
        key = self.key(checks.function("function", function), *arguments, **settings)
        path = self.folder / f"{_name_of(function)}-{key}"
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            if path.exists():
                try:
                    _count(path)
                    return _read(path, [*arguments, *settings.values()])
                except (ValueError, KeyError, OSError, safetensors.SafetensorError) as error:
                    warnings.warn(f"{path} is damaged ({error}); it is computed anew.", RuntimeWarning, stacklevel=2)
                    _remove(path)
            unfinished = path.with_suffix(".unfinished")
            if "checkpoint" in inspect.signature(function).parameters:
                settings = {**settings, "checkpoint": unfinished}
            started = time.perf_counter()
            result = function(*arguments, **settings)
            _write(path, result, time.perf_counter() - started)
            _count(path)
            _remove(unfinished)
            try:
                # As it was written, so that the first time is like every other.
                return _read(path, [*arguments, *settings.values()])
            except ValueError as error:
                _remove(path)
                warnings.warn(f"the result is not kept: {error}", RuntimeWarning, stacklevel=2)
                return result

    def holds(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> bool:
        """Return whether the result of this call is on the disk, so that it will not be computed."""
        return (self.folder / f"{_name_of(function)}-{self.key(function, *arguments, **settings)}").exists()

    def key(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
        """Return the digest of all that the result depends on."""
        counted = {name: settings[name] for name in sorted(settings) if name not in IGNORED}
        if getattr(function, "__module__", "").startswith(f"{PACKAGE}.inference."):
            # Whoever trains a network of the library draws its weights anew.
            arguments = tuple(_untrained(value) for value in arguments)
            counted = {name: _untrained(value) for name, value in counted.items()}
        return digests.digest(describe(function), describe(list(arguments)), describe(counted), _installed())


@cache
def _installed() -> str:
    """Return the digest of what is installed, read once: what a running process has imported does not change."""
    return digests.of_installed()


def _sources() -> dict[str, str]:
    """Return the source of every module of the library."""
    root = Path(__file__).parents[1]
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))
        found[name] = path.read_text()
    return found


SOURCES = _sources()


def describe(value: Any) -> str:
    """Return a text that is the same for equal values, and different for different ones.

    Raises:
        ValueError: the value is of a kind that cannot be compared from one process to another.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, Tensor):
        return f"tensor {digests.of_tensors(value)}"
    if isinstance(value, Path):
        return f"path {value}"
    if isinstance(value, Posterior):
        return _describe_posterior(value)
    if isinstance(value, Dataset):
        parts = (value.train_images, value.train_labels, value.test_images, value.test_labels)
        return f"data {value.name} {digests.of_tensors(*parts)} {value.classes}"
    if isinstance(value, nn.Module):
        return f"network {_architecture(value)} {describe(dict(value.state_dict()))}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{describe(name)}: {describe(part)}" for name, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(describe, value)) + "]"
    if isinstance(value, partial):
        return f"partial {describe(value.func)} {describe(list(value.args))} {describe(value.keywords)}"
    if is_dataclass(value) and not isinstance(value, type):
        parts_of = {field.name: getattr(value, field.name) for field in fields(value)}
        return f"{type(value).__qualname__} {code_behind(type(value).__module__)} {describe(parts_of)}"
    if inspect.isfunction(value) and value.__closure__ is None and value.__name__ != "<lambda>":
        return f"function {value.__module__}.{value.__qualname__} {code_behind(value.__module__)}"
    raise ValueError(
        f"{value!r} is a {type(value).__name__}, which the store cannot compare with another; it may be a number, a text, "
        "a tensor, a data set, a network, a posterior, a rule, a function of a module, or a list or mapping of these."
    )


# Posterior -> the versions of its tensors, and its description: hashing many samples costs as much as a short attack.
_DESCRIBED: WeakKeyDictionary[Posterior, tuple[list[int], str]] = WeakKeyDictionary()


def _describe_posterior(posterior: Posterior) -> str:
    buffers = dict(posterior.network.named_buffers())
    # Torch counts the changes of a tensor in place.
    versions = [value._version for value in (*buffers.values(), *posterior.samples.values())]
    known = _DESCRIBED.get(posterior)
    if known is None or known[0] != versions:
        text = f"posterior {_architecture(posterior.network)} {describe(buffers)} {describe(posterior.samples)}"
        known = _DESCRIBED[posterior] = versions, text
    return known[1]


def _architecture(network: nn.Module) -> str:
    """Describe a network without its weights: its modules, with the code of those that are not torch's."""
    kinds = {type(module).__module__ for module in network.modules()}
    own = sorted(kind for kind in kinds if kind.partition(".")[0] != "torch")
    plain = [
        {name: value for name, value in vars(module).items() if isinstance(value, (bool, int, float, str))}
        for module in network.modules()
        if type(module).__module__ in own
    ]
    return f"{network!r} {[code_behind(kind) for kind in own]} {json.dumps([plain, getattr(network, 'settings', {})])}"


def _untrained(value: Any) -> Any:
    return f"untrained {_architecture(value)}" if isinstance(value, nn.Module) and hasattr(value, "settings") else value


@cache
def code_behind(module: str) -> str:
    """Return a digest of the source of a module and of all modules of this library that it uses, directly or not.

    A change of a module that is not among them leaves the digest as it is.
    """
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        source = _source(name)
        seen[name] = hashlib.sha256(source.encode()).hexdigest()
        waiting += _used_by(source)
    return digests.digest(*(part for item in sorted(seen.items()) for part in item))


def _source(name: str) -> str:
    if name in SOURCES:
        return SOURCES[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not Path(spec.origin).exists():
        raise ValueError(f"the source of {name} is not on disk, so the store cannot tell when it changes.")
    return Path(spec.origin).read_text()


def _used_by(source: str) -> Iterator[str]:
    """Give the modules of the library that a module's source imports, wherever in it.

    A submodule stands for itself: the ``__init__`` of its package only collects names.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == PACKAGE:
            whole = str(node.module)
            submodules = [f"{whole}.{alias.name}" for alias in node.names if f"{whole}.{alias.name}" in SOURCES]
            yield from submodules
            if len(submodules) < len(node.names):
                yield whole


def _name_of(function: Callable[..., Any]) -> str:
    named = function.func if isinstance(function, partial) else function
    return str(getattr(named, "__name__", type(named).__name__)).strip("_")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a file that one process at a time can hold; the system lets go of it when the process ends, however."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# Results that this process used -> the seconds that computing them took, whenever that was.
_SECONDS: dict[Path, float] = {}


def seconds_spent() -> float:
    """Return how long all results that this process took from stores took to compute, each counted once."""
    return sum(_SECONDS.values())


def _count(path: Path) -> None:
    _SECONDS[path] = float((path / "seconds.txt").read_text())


def _write(path: Path, result: Any, seconds: float) -> None:
    """Write a result into a folder that appears whole or not at all."""
    partial_path = path.with_suffix(".partial")
    _remove(partial_path)
    partial_path.mkdir()
    (partial_path / "seconds.txt").write_text(f"{seconds:.3f}\n")
    if isinstance(result, Posterior):
        result.save(partial_path / "posterior.safetensors")
    elif isinstance(result, Tensor) or (
        isinstance(result, Mapping) and all(isinstance(value, Tensor) for value in result.values())
    ):
        named = {"": result} if isinstance(result, Tensor) else result
        tensors = {
            str(number): value.detach().cpu().contiguous().clone() for number, value in enumerate(named.values())
        }
        names = {"names": json.dumps(list(named))}
        safetensors.torch.save_file(tensors, partial_path / "tensors.safetensors", names)
    elif _is_table(result):
        # JSON keeps kinds apart that CSV does not, and Python's writes floats so that they come back as they were.
        content = result.reset_index().to_dict("list")
        index = [name if name is not None else "index" for name in result.index.names]
        (partial_path / "table.json").write_text(json.dumps({"index": index, "columns": content}, default=_plain))
    else:
        _remove(partial_path)
        raise ValueError(
            f"the result is a {type(result).__name__}; the store keeps posteriors, tensors, mappings of names to tensors, "
            "and tables."
        )
    partial_path.replace(path)


def _is_table(result: Any) -> bool:
    """Return whether a result is a table; pandas takes long to import, and who has a table has imported it."""
    return "pandas" in sys.modules and isinstance(result, sys.modules["pandas"].DataFrame)


def _read(path: Path, arguments: Sequence[Any]) -> Any:
    if (file := path / "posterior.safetensors").exists():
        # A network that is not of this library is the one that was given.
        own = (value for value in arguments if isinstance(value, nn.Module) and not hasattr(value, "settings"))
        return Posterior.load(file, next(own, None))
    if (file := path / "table.json").exists():
        import pandas as pd

        written = json.loads(file.read_text())
        table = pd.DataFrame(written["columns"]).set_index(written["index"])
        return table.rename_axis([None if name == "index" else name for name in table.index.names])
    with safetensors.safe_open(path / "tensors.safetensors", framework="pt") as opened:
        names = json.loads(opened.metadata()["names"])
        values = [opened.get_tensor(str(number)).to(default_device()) for number in range(len(names))]
    return values[0] if names == [""] else dict(zip(names, values, strict=True))


def _plain(value: Any) -> Any:
    """Return a number of numpy's as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise ValueError(f"the table holds {value!r}, a {type(value).__name__}; the store keeps numbers and texts.")


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def kept(function: Callable[..., Result], *arguments: Any, **settings: Any) -> Result:
    """Return ``function(*arguments, **settings)``, by the project's own :class:`Store`."""
    return Store()(function, *arguments, **settings)
