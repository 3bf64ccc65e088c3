"""Many independent results, shared out over the cores and kept one by one."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from relevance.base import checks
from relevance.base.environment import bar, default_device
from relevance.studies.store import Store


class Call(NamedTuple):
    """A call that the store can keep: see :class:`store.Store`.

    Attributes:
        function: of a module, which another process can import.
        arguments, settings: values that the store can compare.
    """

    function: Callable[..., Any]
    arguments: Sequence[Any] = ()
    settings: Mapping[str, Any] = {}


def kept_all(
    calls: Sequence[Call], *, jobs: int | None = None, title: str = "", unit: str = "result", progress: bool = True
) -> list[Any]:
    """Return the results of all calls, in their order: from the disk where they are there, else computed and kept.

    Each result is kept as soon as it is there, so that a killed run goes on where it was. Every call computes on one thread,
    in whatever process, since sums over several threads differ in their last digits: the number of jobs changes no result.

    Args:
        calls: independent of each other.
        jobs: processes side by side; 1 is this process. If None, as many as torch may use threads here, which is 1 where the
            press already runs chapters side by side; and 1 on a GPU.
        title: of the progress bar.
        unit: what a call gives, for the progress bar.
        progress: show a progress bar.

    Raises:
        ValueError: ``jobs`` is not a number of processes, or a call says that its arguments are not what they may be.
    """
    if jobs is None:
        jobs = torch.get_num_threads() if default_device().type == "cpu" else 1
    checks.count("jobs", jobs)
    found: dict[int, Any] = {}
    store = Store()
    with bar(len(calls), title, unit, show=progress) as shown:
        # What is there is read here; processes are only started for what is not.
        missing = []
        for index, call in enumerate(calls):
            if store.holds(call.function, *call.arguments, **call.settings):
                found[index] = _kept(call)
                shown.update()
            else:
                missing.append(index)
        if jobs == 1 or len(missing) < 2:
            for index in missing:
                with one_thread():
                    found[index] = _kept(calls[index])
                shown.update()
        else:
            for index in _side_by_side(calls, missing, jobs):
                # Read by this process too, which so counts the seconds that it took.
                found[index] = _kept(calls[index])
                shown.update()
    return [found[index] for index in range(len(calls))]


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _side_by_side(calls: Sequence[Call], missing: Sequence[int], jobs: int) -> Iterator[int]:
    """Compute what is missing in processes of their own, and give the index of each call when its result is kept."""
    # Fresh processes: a fork would copy torch's threads and CUDA's state in the middle of whatever they do.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(missing)), mp_context=context, initializer=_begin)
    try:
        waiting = {pool.submit(_compute, _Packed(calls[index])): index for index in missing}
        for future in as_completed(waiting):
            future.result()
            yield waiting[future]
    finally:
        # After Ctrl-C nothing that still waits is begun.
        pool.shutdown(wait=True, cancel_futures=True)


class _Packed:
    """A value that goes to another process as bytes, made when it is its turn.

    Torch would hand tensors over in shared memory, of which small machines and containers have little.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getstate__(self) -> dict[str, bytes]:
        return {"bytes": pickle.dumps(self.value)}

    def __setstate__(self, state: dict[str, bytes]) -> None:
        self.value = pickle.loads(state["bytes"])


def _begin() -> None:
    """Prepare a process of the pool: one thread, and an end when the process that asked for it has ended."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    # A killed parent closes no queue, and its workers would wait for ever.
    parent.join()
    os._exit(1)


def _compute(packed: _Packed) -> None:
    _kept(packed.value)


def _kept(call: Call) -> Any:
    return Store()(call.function, *call.arguments, **call.settings)
