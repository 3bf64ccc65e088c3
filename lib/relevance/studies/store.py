"""Finished work on disk: found again by all that it depends on, and computed anew when any of that has changed.

What a result depends on is the function with the library's code behind it (:mod:`relevance.base.sources`), the arguments by their
values (:mod:`relevance.studies.described`), what is installed, and the kind of device that computes. How it is kept says
:mod:`relevance.studies.files`.

The device is that of the arguments, not of whoever asks: results of a GPU and of a CPU differ in their last digits, and chains in
all of them, so each has a key of its own. ``RELEVANCE_RESULTS=cuda`` asks for those of a GPU where there is none. What is not
there is then computed, kept and told as what it is, a result of this machine.
"""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from relevance.base import checks, digests, environment
from relevance.base.environment import made_folder, store_root
from relevance.datasets.dataset import Dataset
from relevance.networks.posterior import Posterior
from relevance.studies import files
from relevance.studies.described import describe, describe_untrained
from relevance.studies.files import CannotKeep, Damaged

# What a function is told that does not change its result.
IGNORED = ("progress", "checkpoint")
TRAINS = "relevance.inference."
# Work of more seconds than this is gone on with where more draws of it are asked for.
DEAR = 600.0
Result = TypeVar("Result")


class Store:
    """A folder of results.

    Keys take the library's source as it was when it was imported, as the running code is.

    Args:
        folder: where they are; if None, what the environment variable ``RELEVANCE_STORE`` names, else ``_build/store`` of
            the project.
        device: kind of device whose results are asked for; if None, what ``RELEVANCE_RESULTS`` names, else what the arguments of
            each call are on.
    """

    def __init__(self, folder: Path | str | None = None, device: str | None = None) -> None:
        self.folder = store_root() if folder is None else made_folder("folder", Path(folder))
        self.device = device or environment.results_device()

    def __call__(self, function: Callable[..., Result], *arguments: Any, **settings: Any) -> Result:
        """Return ``function(*arguments, **settings)``: from the disk if it is there, else computed and kept.

        Two processes that want the same result at the same time compute it once, also on two machines that share the folder. A
        function with an argument ``checkpoint`` is given a folder for it, so that it goes on where it was killed; and where its
        ``n_samples`` became more, and it had taken more than :data:`DEAR` seconds. What is
        damaged is computed anew, and what cannot be kept is returned all the same, each with a warning.

        Args:
            function: of this library, or made of it by ``functools.partial``; gives a posterior, a tensor, a mapping of
                names to tensors, or a table.
            arguments, settings: numbers, texts, tensors, data sets, networks, posteriors, rules, and lists, mappings and
                functions of these. ``progress`` does not count.

        Raises:
            ValueError: a result, or an argument, is of another kind; or there can be no such folder.
        """
        path = self._path(checks.function("function", function), *arguments, **settings)
        networks = [value for value in (*arguments, *settings.values()) if isinstance(value, nn.Module)]
        # A network that is not of this library is the one that was given.
        networks = [network for network in networks if not hasattr(network, "settings")]
        with suppress(Damaged):  # what is whole needs no lock, and so no right to write
            return cast(Result, _read(path, networks))
        if _REFUSES:
            raise NotKept(f"{path.name} is not in the store.")
        if self.device not in (None, (own := device_of(*arguments, *settings.values()))):
            _warn(f"{name_of(function)} is not kept as a result of {self.device}; it is taken of {own}, here.")
            return Store(self.folder, own)(function, *arguments, **settings)
        while True:
            try:
                with files.alone(path.with_suffix(".held")) as held:
                    try:
                        return cast(Result, _read(path, networks))  # another process may have kept it meanwhile
                    except Damaged as error:
                        if os.path.lexists(path):
                            _warn(f"{path} is damaged ({error}); it is computed anew.")
                            files.remove(path)
                    try:
                        shorter = {name: value for name, value in settings.items() if name != "n_samples"}
                        begun = self._path(function, *arguments, **shorter).with_suffix(".begun")
                        return cast(Result, _computed(path, begun, networks, function, *arguments, **settings))
                    except Exception:
                        # Who slept so long that another took over, and its checkpoint with it, waits for that one.
                        if held():
                            raise
            except CannotKeep as error:
                _warn(f"{self.folder} cannot be written into ({error}), so results are not kept.")
                return function(*arguments, **settings)

    def holds(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> bool:
        """Return whether the result of this call is on the disk, so that it will not be computed unless it is damaged."""
        return self._path(function, *arguments, **settings).exists()

    def seconds(self, name: str, most: int = 20) -> list[float]:
        """Return how long results of functions of a name took to compute: some of those that are on the disk."""
        found = []
        for path in islice(self.folder.glob(f"{name}-*"), 10 * most):
            with suppress(OSError, ValueError):
                found.append(float((path / files.SECONDS).read_text("utf-8")))
        return found[:most]

    def key(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
        """Return the digest of all that the result depends on.

        Raises:
            ValueError: an argument cannot be compared from one process to another; or the function has no name in a module.
        """
        counted = {name: settings[name] for name in sorted(settings) if name not in IGNORED}
        # Whoever trains a network of the library draws its weights anew.
        trains = getattr(function, "__module__", "").startswith(TRAINS)
        told = describe_untrained if trains else describe
        given = [*map(told, arguments), *(part for name, value in counted.items() for part in (name, told(value)))]
        if "<" in name_of(function):
            raise ValueError(
                f"{function!r} is a function, which the store cannot compare with another: it has no name."
            )
        device = self.device or device_of(*arguments, *settings.values())
        return digests.digest(describe(function), *given, str(torch.get_default_dtype()), installed(device))

    def _path(self, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Path:
        return self.folder / f"{name_of(function)}-{self.key(function, *arguments, **settings)}"


@cache
def installed(device: str | None = None) -> str:
    """Return the digest of what is installed, read once: what a running process has imported does not change."""
    return digests.of_installed(device)


def device_of(*arguments: Any) -> str:
    """Return the kind of device that the first of the arguments is on which is on one; else that of the default device."""
    for value in arguments:
        held = value.test_images if isinstance(value, Dataset) else value
        held = next(iter(held.samples.values()), None) if isinstance(held, Posterior) else held
        if isinstance(held, Tensor):
            return held.device.type
    return environment.default_device().type


class NotKept(Exception):
    """A result is not in the store, where none was to be computed."""


# One for each time that nothing is to be computed.
_REFUSES: list[None] = []


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Have stores raise :class:`NotKept` inside for what they would have to compute."""
    _REFUSES.append(None)
    try:
        yield
    finally:
        _REFUSES.pop()


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called in the names of its results."""
    named = function.func if isinstance(function, partial) else function
    return str(getattr(named, "__name__", type(named).__name__)).strip("_")


# Results that this process used -> the seconds that computing them took, whenever that was.
_SECONDS: dict[Path, float] = {}


def seconds_spent() -> float:
    """Return how long all results that this process took from stores took to compute, each counted once."""
    return sum(_SECONDS.values())


def _read(path: Path, networks: Sequence[nn.Module]) -> Any:
    result, seconds = files.read(path, networks)
    _count(path, seconds)
    return result


def _count(path: Path, seconds: float) -> None:
    if path not in _SECONDS and (journal := environment.journal()):
        with suppress(OSError), journal.open("a", encoding="utf-8") as file:
            file.write(f"{path.name} {seconds:.3f}\n")
    _SECONDS[path] = seconds


def _computed(
    path: Path,
    begun: Path,
    networks: Sequence[nn.Module],
    function: Callable[..., Any],
    *arguments: Any,
    **settings: Any,
) -> Any:
    """Compute a result, keep it, and return it as it was written, so that the first time is like every other.

    Args:
        path: where it is kept.
        begun: where the checkpoint of the same work of another length is, if it was dear.
        networks: as for :func:`_read`.
        function, arguments, settings: what is called.
    """
    started = time.perf_counter()
    # Under a name that no process that was taken for dead writes under: two that wrote the same chain would spoil it.
    unfinished = path.with_name(f"{path.name}.{files.token()}.unfinished")
    # The first that is there: none is put in the place of another.
    for left in (*path.parent.glob(f"{path.name}*.unfinished"), begun):
        with suppress(OSError):
            left.rename(unfinished)
    result = _taken_up(unfinished, function, *arguments, **settings)
    seconds = time.perf_counter() - started
    try:
        is_first = files.write(path, result, seconds)
        kept = files.read(path, networks)[0]
        if is_first and not files.are_same(kept, result):
            raise CannotKeep("it would not come back as it is")
    except (CannotKeep, Damaged) as error:
        files.remove(path)
        _count(path, seconds)
        _warn(f"the result of {name_of(function)} is not kept: {error}.")
        return result
    _count(path, seconds)
    if seconds > DEAR and unfinished.is_dir():
        files.remove(begun)
        with suppress(OSError):
            unfinished.rename(begun)
    for left in path.parent.glob(f"{path.name}*.unfinished"):
        files.remove(left)
    return kept


def _taken_up(unfinished: Path, function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call a function, which may go on where it was killed."""
    if "checkpoint" not in inspect.signature(function).parameters:
        return function(*arguments, **settings)
    settings = {**settings, "checkpoint": unfinished}
    if not unfinished.is_dir():
        files.remove(unfinished)
        return function(*arguments, **settings)
    try:
        return function(*arguments, **settings)
    except ValueError as error:
        _warn(f"{unfinished} cannot be gone on with ({error}); it is begun anew.")
        files.remove(unfinished)
        return function(*arguments, **settings)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, RuntimeWarning, stacklevel=4)


def kept(function: Callable[..., Result], *arguments: Any, **settings: Any) -> Result:
    """Return ``function(*arguments, **settings)``, by the project's own :class:`Store`."""
    return Store()(function, *arguments, **settings)
