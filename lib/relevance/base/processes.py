"""Independent calls side by side, in processes of their own, each on one thread."""

from __future__ import annotations

import math
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import contextmanager
from typing import Any

import torch

from relevance.base import checks
from relevance.base.environment import default_device


def n_jobs(name: str, jobs: int | None, device: torch.device | None = None) -> int:
    """Return how many processes to use: ``jobs``, or as many as torch may use threads here, and 1 on a GPU."""
    if jobs is None:
        return torch.get_num_threads() if (device or default_device()).type == "cpu" else 1
    return checks.count(name, jobs)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have torch compute on one thread inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(function: Callable[..., Any], calls: Sequence[Sequence[Any]], jobs: int) -> Iterator[tuple[int, Any]]:
    """Call a function with each of several lists of arguments, and give the number of each and its result when it is there.

    Every call computes on one thread, in whatever process, since sums over several threads differ in their last digits: the
    number of jobs changes no result.

    Args:
        function: of a module that another process can import, or pickled otherwise.
        calls: arguments that can be pickled.
        jobs: processes; with 1, or a single call, everything is computed here.
    """
    if jobs == 1 or len(calls) < 2:
        for index, arguments in enumerate(calls):
            with one_thread():
                result = function(*arguments)
            yield index, result
        return
    from joblib.externals.loky import ProcessPoolExecutor

    # Fresh processes that do not run the caller's script anew: a fork would copy torch's threads and CUDA's state in the
    # middle of whatever they do, and multiprocessing's own would want the script to be written for it.
    pool = ProcessPoolExecutor(min(jobs, len(calls)), initializer=_begin, initargs=(os.getpid(),))
    waiting: dict[Future[_Packed], int] = {}
    try:
        waiting = {pool.submit(_call, function, _Packed(arguments)): index for index, arguments in enumerate(calls)}
        for future in as_completed(waiting):
            yield waiting[future], future.result().value
    finally:
        # After Ctrl-C nothing that still waits is begun.
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)


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


def _call(function: Callable[..., Any], packed: _Packed) -> _Packed:
    return _Packed(function(*packed.value))


def _begin(parent: int) -> None:
    """Prepare a process: one thread, and an end when the process that asked for it has ended, and not before.

    Loky takes a process for leaking, and ends it, when a call leaves it 300 MB larger, as torch's first calls do; another
    takes seconds to begin.
    """
    from joblib.externals.loky import process_executor

    process_executor._MAX_MEMORY_LEAK_SIZE = math.inf
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    # A killed parent closes no queue, and its workers would wait for ever; who has lost its parent has another.
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
