"""Many independent calls, shared out over cores or machines; their results are in the store, and nothing else travels.

Whoever makes a call is told what it is, and hands back nothing: what it gives is kept, in a folder that all share, and read
there. It is only made by the code and the packages that asked for it.
"""

from __future__ import annotations

import math
import os
import re
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from relevance.base import digests, environment, processes
from relevance.base.environment import bar
from relevance.studies import store
from relevance.studies.described import describe
from relevance.studies.store import Store

# Seconds below which calls travel together, so that sending them is not what takes long; in at least so many batches.
SHORT, FEWEST_BATCHES = 1.0, 16
# How often calls are sent again after workers, or who leads them, were lost, and after how many seconds.
TRIES, PAUSE = 20, 3.0
# How long whoever leads the workers may say nothing.
PATIENCE = "300s"
LOCAL = "local"
_ALONE = threading.RLock()


class Call(NamedTuple):
    """A call that another process can make.

    Attributes:
        function: of a module, which another process can import; or a method of what can be pickled.
        arguments, settings: values that the store can compare.
        is_kept: whether the store keeps what it gives; else it is made for what it keeps on its way.
    """

    function: Callable[..., Any]
    arguments: Sequence[Any] = ()
    settings: Mapping[str, Any] = {}
    is_kept: bool = True


def kept_all(
    calls: Sequence[Call],
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    title: str = "",
    unit: str = "result",
    progress: bool = True,
) -> list[Any]:
    """Return the results of all calls, in their order: from the disk where they are there, else computed and kept.

    Each result is kept as soon as it is there, so that a killed run goes on where it was. A worker that is lost costs what it was
    at; its calls are sent again, unless their results are there.

    Args:
        calls: independent of each other.
        executor: who makes them; its processes see the store's folder under the same path. If None, the cluster that
            ``RELEVANCE_CLUSTER`` names, else ``jobs``.
        jobs: processes side by side; 1 is this process. If None, as many as torch may use threads here, which is 1 where the
            press already runs chapters side by side; and 1 on a GPU.
        title: of the progress bar.
        unit: what a call gives, for the progress bar.
        progress: show a progress bar.

    Raises:
        ValueError: ``jobs`` is not a number of processes, a call says that its arguments are not what they may be, or who makes
            it has other code, or another folder.
    """
    jobs = processes.n_jobs("jobs", jobs)
    found: dict[int, Any] = {}
    with bar(len(calls), title, unit, show=progress) as shown:
        # What is there is read here; processes are only started for what is not.
        for index, call in enumerate(calls):
            if _is_there(call):
                found[index] = _made(call)
                shown.update()
        missing = [index for index in range(len(calls)) if index not in found]
        for position in made_elsewhere([calls[index] for index in missing], executor, jobs):
            # Read by this process too, which so counts the seconds that it took.
            found[missing[position]] = _made(calls[missing[position]])
            shown.update()
    return [found[index] for index in range(len(calls))]


def is_shared_out() -> bool:
    """Return whether ``RELEVANCE_CLUSTER`` names who makes independent calls."""
    return environment.cluster() is not None


def made_elsewhere(calls: Sequence[Call], executor: Executor | None = None, jobs: int = 1) -> Iterator[int]:
    """Have calls made, side by side, and give the number of each when it is; arguments as for :func:`kept_all`.

    Raises:
        ValueError: as there.
    """
    if executor is None and not is_shared_out() and (jobs == 1 or len(calls) < 2):
        for index, call in enumerate(calls):
            with processes.one_thread():
                _made(call)
            yield index
        return
    jobs = _n_local(jobs)
    waiting, tries = _batches(calls), 0
    while waiting:
        try:
            for batch in _sent(calls, waiting, executor, jobs):
                waiting.remove(batch)
                tries = 0
                yield from batch
        except _Lost as lost:
            if (tries := tries + 1) > TRIES:
                raise lost.error from None
            warnings.warn(f"workers were lost ({lost}); what is not kept is sent again.", RuntimeWarning, stacklevel=2)
            time.sleep(PAUSE)
            for batch in list(waiting):
                if all(calls[index].is_kept and _is_there(calls[index]) for index in batch):
                    waiting.remove(batch)
                    yield from batch


@contextmanager
def spread(executor: Executor | None = None) -> Iterator[None]:
    """Have chains that are run inside made by an executor, or by the cluster; each leaves its draws beside the others'.

    The function that chains are run by is part of their keys, so another stands in its place meanwhile.
    """
    if executor is None and not is_shared_out():
        yield
        return
    before = processes.side_by_side

    def there(function: Callable[..., Any], calls: Sequence[Sequence[Any]], jobs: int) -> Iterator[tuple[int, Any]]:
        for index in made_elsewhere([Call(function, one, is_kept=False) for one in calls], executor, jobs):
            with processes.one_thread():
                yield index, function(*calls[index])  # which finds itself at its end, and reads that

    processes.side_by_side = there
    try:
        yield
    finally:
        processes.side_by_side = before


class _Lost(Exception):
    """Who was to make a call did not come back."""

    def __init__(self, error: Exception) -> None:
        super().__init__(" ".join(f"{type(error).__name__}: {error}".split())[:200])
        self.error = error


def _sent(
    calls: Sequence[Call], batches: Sequence[list[int]], executor: Executor | None, jobs: int
) -> Iterator[list[int]]:
    """Send batches of calls, and give each when it was made."""
    waiting = {}
    try:
        with _engine(executor, jobs) as pool, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")
            for batch in batches:
                some = [calls[index] for index in batch]
                waiting[pool.submit(_make, processes._Packed(some), _code(some), _places())] = batch
            for future in as_completed(waiting):
                error = future.result()
                if error is not None:
                    raise _Refused(error)
                if missing := [calls[i] for i in waiting[future] if calls[i].is_kept and not _is_there(calls[i])]:
                    raise _Refused(_not_shared(missing[0]))
                yield waiting[future]
    except _Refused as refused:
        raise refused.error from None
    except Exception as error:  # each kind of executor has its own for what it has lost
        raise _Lost(error) from None
    finally:
        # After Ctrl-C nothing that still waits is begun.
        for future in waiting:
            future.cancel()


class _Refused(Exception):
    """A call was made, and failed."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _n_local(jobs: int) -> int:
    """Return how many processes of this machine are asked for, where they are."""
    address, _, count = (environment.cluster() or "").partition(":")
    if address != LOCAL:
        return jobs
    if count and not re.fullmatch("[1-9][0-9]*", count):
        raise ValueError(
            f"RELEVANCE_CLUSTER is {LOCAL}:{count[:60]}; after {LOCAL}: it must have a number of at least 1."
        )
    return int(count or os.cpu_count() or 1)


@contextmanager
def _engine(executor: Executor | None, jobs: int) -> Iterator[Executor]:
    address = environment.cluster() or LOCAL
    if executor is not None:
        yield executor
    elif address.partition(":")[0] == LOCAL:
        from joblib.externals.loky import get_reusable_executor

        # Fresh processes that do not run the caller's script anew: a fork would copy torch's threads and CUDA's state in the
        # middle of whatever they do, and multiprocessing's own would want the script to be written for it.
        yield get_reusable_executor(jobs, initializer=processes._begin, initargs=(os.getpid(),))
    else:
        try:
            import dask
            from distributed import Client
        except ImportError:
            raise _Refused(
                ValueError(
                    f"RELEVANCE_CLUSTER is {address[:60]!r}, and distributed, which reaches it, is not installed; the dependency "
                    "group cluster has it, and local:2 takes two processes of this machine."
                )
            ) from None
        # Python answers nobody while it imports torch, which can take long where many begin at once.
        patient = {f"distributed.comm.timeouts.{kind}": PATIENCE for kind in ("connect", "tcp")}
        with dask.config.set(patient), Client(address, set_as_default=False) as client:
            yield client.get_executor(pure=False, retries=2)


def _make(packed: processes._Packed, code: str, places: Mapping[str, str]) -> Exception | None:
    """Make calls, in whatever process; return what went wrong."""
    calls: list[Call] = packed.value
    try:
        os.environ.update(places)
        if not Path(places["RELEVANCE_STORE"]).is_dir():
            return _not_shared(calls[0])
        if code != _code(calls):
            return ValueError(
                f"a worker has other code, packages or devices than who asks it for {_name(calls[0])}; it must have the same."
            )
        # What draws weights sets the seed of the whole process, which may have several threads for calls.
        with _ALONE, processes.one_thread():
            for call in calls:
                _made(call)
    except Exception as error:
        return error if type(error).__module__ == "builtins" else RuntimeError(f"{type(error).__name__}: {error}")
    return None


def _code(calls: Sequence[Call]) -> str:
    """Return a digest of what makes calls: the code behind them, what is installed, and the kind of device."""
    device = environment.results_device()
    return digests.digest(*sorted({describe(call.function) for call in calls}), store.installed(device))


def _places() -> dict[str, str]:
    """Return where things are, and what is asked for, as the environment of whoever makes a call."""
    told = {"RELEVANCE_STORE": environment.store_root(), "RELEVANCE_DATA": environment.data_root()}
    if journal := environment.journal():
        told["RELEVANCE_JOURNAL"] = journal
    return {name: str(path.resolve()) for name, path in told.items()}


def _not_shared(call: Call) -> ValueError:
    return ValueError(
        f"a worker made {_name(call)}, and it is not in {str(environment.store_root())[-80:]!r}; all must see this folder, under "
        "this path, and have the device whose results are asked for."
    )


def _batches(calls: Sequence[Call]) -> list[list[int]]:
    """Return the numbers of calls in batches: of one, but for calls that took less than a second when they were last made."""
    by_name: dict[str, list[int]] = {}
    for index, call in enumerate(calls):
        by_name.setdefault(_name(call), []).append(index)
    batches = []
    for name, members in by_name.items():
        known = Store().seconds(name) if calls[members[0]].is_kept else []
        typical = statistics.median(known) if known else SHORT
        size = max(1, min(math.ceil(SHORT / max(typical, 1e-3)), len(members) // FEWEST_BATCHES))
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def _name(call: Call) -> str:
    return store.name_of(call.function)


def _is_there(call: Call) -> bool:
    return call.is_kept and Store().holds(call.function, *call.arguments, **call.settings)


def _made(call: Call) -> Any:
    make = Store() if call.is_kept else _called
    return make(call.function, *call.arguments, **call.settings)


def _called(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    return function(*arguments, **settings)
