"""Kept results as files: a folder for each, that appears whole or not at all, with a sum of every file in it.

Nothing is unpickled: posteriors and tensors are safetensors files, tables are JSON. A folder of which a byte is another than was
written, or which was written for something else, is damaged, and so is one in which a file is missing or one too many.

Processes of several machines may share the folder, on a file system that has no locks: all it takes is that a file is made by one
process alone, and that a folder is renamed whole. Nothing that is kept depends on who holds what: were two to compute the same
result, the first to finish would keep it, and the other would take that.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from relevance.base import digests
from relevance.base.environment import default_device, device_name
from relevance.networks.posterior import Posterior
from relevance.studies import frames
from relevance.studies.described import describe

SUMS, SECONDS, HARDWARE = "sums.txt", "seconds.txt", "hardware.txt"
POSTERIOR, TENSORS, TABLE = "posterior.safetensors", "tensors.safetensors", "table.json"
# Seconds after which who holds a file says so again, and after which who has not is taken for dead.
BEAT, STALE = 10.0, 60.0


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


def write(path: Path, result: Any, seconds: float) -> bool:
    """Write a result into a folder that appears whole or not at all; return False if another process was the first to.

    Raises:
        ValueError: the result is of a kind that is not kept.
        CannotKeep: the disk is full, or the folder cannot be written into, or the file format does not have such a tensor.
    """
    unfinished = path.with_name(f"{path.name}.{token()}.partial")
    try:
        unfinished.mkdir()
        _write_result(unfinished, result)
        (unfinished / SECONDS).write_text(f"{seconds:.3f}\n", "utf-8")
        (unfinished / HARDWARE).write_text(f"{device_name(default_device())}\n", "utf-8")
        (unfinished / SUMS).write_text(_sums(unfinished, path.name), "utf-8")
        for file in unfinished.iterdir():  # safetensors lets nobody else read what it writes
            file.chmod((unfinished / SUMS).stat().st_mode)
        unfinished.replace(path)
        return True
    except (OSError, SafetensorError) as error:
        if path.is_dir():
            return False
        raise CannotKeep(" ".join(str(error).split())[:200]) from None
    finally:
        remove(unfinished)


def hardware(path: Path) -> str | None:
    """Return what a kept result was computed on; None of one that was kept before that was told."""
    try:
        return (path / HARDWARE).read_text("utf-8").strip()
    except OSError:
        return None


def remove(path: Path) -> None:
    """Remove a folder or a file, if it is there and can be removed."""
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    except OSError:
        return


@contextmanager
def alone(path: Path) -> Iterator[Callable[[], bool]]:
    """Hold a file that one process at a time can hold, of all that share the folder, and give whether it is still held.

    Who holds it says so again every :data:`BEAT` seconds. One that has not for :data:`STALE` seconds is dead, or so slow that
    it has to be taken for it, and the next one takes over; at once where both are of one machine and the process has ended.

    Raises:
        CannotKeep: the file cannot be made, such as where nothing can be written.
    """
    mine, ended = token(), Event()
    held = partial(_is_held, path, mine)
    try:
        if path.is_dir():
            remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _wait_for(path, mine)
    except OSError as error:
        raise CannotKeep(error.strerror) from None
    beating = Thread(target=_beat, args=(path, held, ended), daemon=True)
    beating.start()
    try:
        yield held
    finally:
        ended.set()
        beating.join()
        if held():
            remove(path)


def token() -> str:
    """Return a name that no other has: of machine, process, and time of asking."""
    return f"{_machine()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"


def _machine() -> str:
    """Return a name of where process numbers are what they are here: of the machine, and of the container in it."""
    with suppress(OSError):
        return f"{platform.node()}-{os.stat('/proc/self/ns/pid').st_ino}"
    return platform.node()


def _wait_for(path: Path, mine: str) -> None:
    """Make a file, as soon as who has made it is done, or dead."""
    seen, since, pause = None, time.monotonic(), 0.02
    while True:
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            file.write(mine)
            return
        # By this machine's clock, whatever the other's, and that of the disk, say.
        if (now := _state(path)) != seen:
            seen, since = now, time.monotonic()
        elif seen is not None and (time.monotonic() - since > STALE or _has_ended(seen[0])):
            aside = path.with_name(f"{path.name}.{mine}")  # one of those who wait succeeds, and the others wait for it
            with suppress(FileNotFoundError):
                remove(path.rename(aside))
            continue
        time.sleep(pause := min(1.0, 1.2 * pause))


def _state(path: Path) -> tuple[str, int] | None:
    """Return who holds a file, and when that was last said; None if nobody does."""
    try:
        with path.open(encoding="utf-8") as file:  # opened, since what is known of a file on another machine may be old
            return file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _is_held(path: Path, mine: str) -> bool:
    with suppress(OSError):
        return (state := _state(path)) is not None and state[0] == mine
    return False


def _beat(path: Path, held: Callable[[], bool], ended: Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            if held():
                os.utime(path)


def _has_ended(holder: str) -> bool:
    """Return whether a process is known to have ended, as those of other machines never are."""
    machine, _, process = holder.rpartition(".")[0].rpartition(".")
    if machine != _machine():
        return False
    try:
        os.kill(int(process), 0)
        # An ended process that nobody has asked about keeps its number.
        return Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0] in "ZX"
    except ProcessLookupError:
        return True
    except (OSError, ValueError):  # no number, another user's, or there is no /proc
        return False


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
