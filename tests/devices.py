"""A device that is not there: values stay where they are, and what a GPU would refuse is an error.

Which tensors are on it is followed from operation to operation, by their memory: what is made of one that is there is there,
and so is what is made or moved with a ``torch.device``. Those that meet in one operation must be on the same device, as torch
asks on a real GPU; numbers alone, and indices, may come from the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that take what is elsewhere: copies, and the places of another's entries.
COPIES = {"copy_", "_to_copy", "copy"}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class FakeGPU(AbstractContextManager["FakeGPU"]):
    """Inside, tensors are on a GPU or not, and may not be mixed."""

    def __init__(self) -> None:
        # Memory -> whether it is there, and the storage itself: while that is held, no other tensor has this memory.
        self.held: dict[int, tuple[bool, torch.UntypedStorage]] = {}
        self.asked_there = False  # whether what is being called was given something on the GPU
        self.modes = ExitStack()

    def __enter__(self) -> Self:
        self.modes.enter_context(patch.object(torch, "Generator", _Generator))
        self.modes.enter_context(_Operations(self))
        self.modes.enter_context(_Calls(self))
        return self

    def __exit__(self, *error: object) -> None:
        self.modes.close()

    def put(self, *given: Tensor | nn.Module) -> None:
        """Have tensors, and what modules hold, on the GPU."""
        for one in given:
            held = [*one.parameters(), *one.buffers()] if isinstance(one, nn.Module) else [one]
            self.mark(held, there=True)

    def mark(self, values: Iterable[Any], *, there: bool) -> None:
        """Note where values are."""
        for value in values:
            if isinstance(value, Tensor) and (place := _memory(value)):
                self.held[place] = there, _storage(value)

    def is_there(self, value: Tensor) -> bool:
        """Return whether a tensor is on the GPU."""
        return self.held.get(_memory(value), (False,))[0]


def _storage(value: Tensor) -> torch.UntypedStorage:
    while is_functorch_wrapped_tensor(value):
        value = get_unwrapped(value)
    return value.untyped_storage()


def _memory(value: Tensor) -> int:
    return _storage(value).data_ptr()


class _Generator(torch.Generator):
    """One that knows where it draws."""

    def __new__(cls, device: Any = "cpu") -> Self:
        made = super().__new__(cls, device)
        made.there = isinstance(device, torch.device)
        return made


class _Operations(TorchDispatchMode):
    """Every operation, below autograd and vmap."""

    def __init__(self, gpu: FakeGPU) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        taken = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, Tensor) and _memory(one)]
        there = [self.gpu.is_there(one) for one in taken]
        name = operation.overloadpacket.__name__
        given = operation(*args, **(kwargs or {}))
        made = [one for one in tree_leaves(given) if isinstance(one, Tensor)]
        if not taken:  # what a function makes for itself is where its arguments are
            self.gpu.mark(made, there=self.gpu.asked_there)
            return given
        if name in COPIES:
            # In place it stays where it was; a copy that is moved is followed by whoever asked for it.
            if name != "copy_":
                self.gpu.mark(made, there=any(there))
            return given
        if name in INDEXED:
            # A place may come from the CPU, a value may not.
            for one, where in zip(taken[1:], there[1:], strict=True):
                is_value = one.is_floating_point() and one.ndim > 0
                assert where == there[0] or (there[0] and not is_value), f"{operation} on two devices"
            self.gpu.mark(made, there=there[0])
            return given
        apart = any(one.ndim and not where for one, where in zip(taken, there, strict=True))
        assert not (any(there) and apart), f"{operation} on two devices: {[tuple(one.shape) for one in taken]}, {there}"
        self.gpu.mark(made, there=any(there))
        return given


class _Calls(TorchFunctionMode):
    """What is asked for by name: where to, and where from."""

    def __init__(self, gpu: FakeGPU) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if name == "cpu" or (name == "to" and "cpu" in (*args[1:], kwargs.get("device"))):
            found = function(*args, **kwargs).clone()
            self.gpu.mark([found], there=False)
            return found
        if name in {"numpy", "__array__"}:
            assert not self.gpu.is_there(args[0]), "numpy takes what is on a GPU"
        device = kwargs.get("device")
        if name == "to":
            device = next((one for one in (*args[1:], device) if isinstance(one, torch.device)), None)
            like = next((one for one in args[1:] if isinstance(one, Tensor)), None)
            if like is not None and self.gpu.is_there(like):
                device = torch.device("cpu")  # which is where what is on the GPU says that it is
        given = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        before, self.gpu.asked_there = self.gpu.asked_there, any(map(self.gpu.is_there, given))
        try:
            found = function(*args, **kwargs)
        finally:
            self.gpu.asked_there = before
        if isinstance(device, torch.device) and isinstance(found, Tensor):
            # What a generator of the CPU draws is with the CPU, wherever it was asked for.
            generator = kwargs.get("generator")
            self.gpu.mark([found], there=generator is None or getattr(generator, "there", False))
        return found
