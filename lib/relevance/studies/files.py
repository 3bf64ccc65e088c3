"""Kept results as files: a folder for each, that appears whole or not at all, with a sum of every file in it.

Nothing is unpickled: posteriors and tensors are safetensors files, tables are JSON. A folder of which a byte is another than was
written, or which was written for something else, is damaged, and so is one in which a file is missing or one too many.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from relevance.base import digests
from relevance.base.environment import default_device
from relevance.networks.posterior import Posterior
from relevance.studies import frames
from relevance.studies.described import describe

SUMS, SECONDS = "sums.txt", "seconds.txt"
POSTERIOR, TENSORS, TABLE = "posterior.safetensors", "tensors.safetensors", "table.json"


class Damaged(Exception):
    """A kept result is not as it was written; the message says what is wrong with it."""


class CannotKeep(Exception):
    """A result cannot be kept, by no fault of its own; the message says why."""


def read(path: Path, networks: Sequence[nn.Module] = ()) -> tuple[Any, float]:
    """Return a kept result, and the seconds that it took to compute.

    Args:
        path: its folder.
        networks: one of which a kept posterior may be the samples of, where it is none of the library's.

    Raises:
        Damaged: it is not what was written there.
    """
    try:
        if (path / SUMS).read_text("utf-8") != _sums(path):
            raise Damaged("its sums are not those of its files")
        return _result(path, networks), float((path / SECONDS).read_text("utf-8"))
    except Damaged:
        raise
    # Whatever is raised by what is read from a folder that somebody else may have written.
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise Damaged(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from None


def write(path: Path, result: Any, seconds: float) -> None:
    """Write a result into a folder that appears whole or not at all.

    Raises:
        ValueError: the result is of a kind that is not kept.
        CannotKeep: the disk is full, or the folder cannot be written into, or the file format does not have such a tensor.
    """
    unfinished = path.with_suffix(".partial")
    try:
        remove(unfinished)
        unfinished.mkdir()
        _write_result(unfinished, result)
        (unfinished / SECONDS).write_text(f"{seconds:.3f}\n", "utf-8")
        (unfinished / SUMS).write_text(_sums(unfinished, path.name), "utf-8")
        for file in unfinished.iterdir():  # safetensors lets nobody else read what it writes
            file.chmod((unfinished / SUMS).stat().st_mode)
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        raise CannotKeep(" ".join(str(error).split())[:200]) from None
    finally:
        remove(unfinished)


def remove(path: Path) -> None:
    """Remove a folder or a file, if it is there and can be removed."""
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    except OSError:
        return


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a file that one process at a time can hold; the system lets go of it when the process ends, however.

    Raises:
        CannotKeep: the file cannot be made, such as where nothing can be written.
    """
    if path.is_dir():
        remove(path)
    with ExitStack() as held:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(path.open("w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise CannotKeep(error.strerror) from None
        yield


def _sums(path: Path, name: str = "") -> str:
    """Return what is to stand in the file of sums: whose folder it is, and the sum of each other file."""
    files = sorted(file for file in path.iterdir() if file.name != SUMS)
    lines = [f"{digests.of_file(file)}  {file.name}" for file in files]
    return "\n".join([name or path.name, *lines, ""])


def are_same(one: Any, other: Any) -> bool:
    """Return whether two results are the same in every value, kind and name."""
    if is_table(one) and is_table(other):
        return json.dumps(frames.to_json(one)) == json.dumps(frames.to_json(other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        one, other = dict(one), dict(other)
    return describe(one) == describe(other)


def _write_result(folder: Path, result: Any) -> None:
    if isinstance(result, Posterior):
        result.save(folder / POSTERIOR)
    elif isinstance(result, Tensor) or _is_mapping_of_tensors(result):
        named = {"": result} if isinstance(result, Tensor) else result
        tensors = {str(place): value.detach().cpu().contiguous().clone() for place, value in enumerate(named.values())}
        # Of a single tensor, there are no names.
        told = {"names": json.dumps(None if isinstance(result, Tensor) else list(named))}
        safetensors.torch.save_file(tensors, folder / TENSORS, told)
    elif is_table(result):
        # JSON keeps kinds apart that CSV does not, and Python's writes floats so that they come back as they were.
        (folder / TABLE).write_text(json.dumps(frames.to_json(result)), "utf-8")
    else:
        raise ValueError(
            f"the result is a {type(result).__name__}; the store keeps posteriors, tensors, mappings of names to tensors, "
            "and tables."
        )


def _is_mapping_of_tensors(result: Any) -> bool:
    return isinstance(result, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in result.items()
    )


def is_table(result: Any) -> bool:
    """Return whether a result is a table; pandas takes long to import, and who has a table has imported it."""
    return "pandas" in sys.modules and isinstance(result, sys.modules["pandas"].DataFrame)


def _result(path: Path, networks: Sequence[nn.Module]) -> Any:
    if (file := path / POSTERIOR).exists():
        return Posterior.load(file, next(iter(networks), None))
    if (file := path / TABLE).exists():
        return frames.from_json(json.loads(file.read_text("utf-8")))
    with safetensors.safe_open(path / TENSORS, framework="pt") as opened:
        names = json.loads(opened.metadata()["names"])
        keys = sorted(opened.keys(), key=int)
        # Copies: what is read lies in the file until it is, and changes or is lost with it.
        values = [opened.get_tensor(key).to(default_device(), copy=True) for key in keys]
    return values[0] if names is None else dict(zip(names, values, strict=True))
