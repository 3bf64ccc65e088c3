"""Rooms whose modules are imported when they are first asked for, so that a chapter waits for no more than it uses."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def on_demand(room: str) -> Callable[[str], ModuleType]:
    """Return a ``__getattr__`` for the face of a room (PEP 562) that hands on the room's modules.

    Args:
        room: the ``__name__`` of the package.
    """

    def module(name: str) -> ModuleType:
        if name.startswith("_") or find_spec(f"{room}.{name}") is None:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return import_module(f"{room}.{name}")

    return module
