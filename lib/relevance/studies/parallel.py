"""Many independent results, shared out over the cores and kept one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from relevance.base import processes
from relevance.base.environment import bar
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

    Each result is kept as soon as it is there, so that a killed run goes on where it was; see
    :func:`relevance.base.processes.side_by_side`.

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
    jobs = processes.n_jobs("jobs", jobs)
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
        for position, _ in processes.side_by_side(_compute, [(calls[index],) for index in missing], jobs):
            # Read by this process too, which so counts the seconds that it took.
            found[missing[position]] = _kept(calls[missing[position]])
            shown.update()
    return [found[index] for index in range(len(calls))]


def _kept(call: Call) -> Any:
    return Store()(call.function, *call.arguments, **call.settings)


def _compute(call: Call) -> None:
    _kept(call)
