"""What a value is, as a text: the same for equal values in every process, another for others.

Everything counts that can change what is computed with a value: tensors by their content, whenever it was put there; networks
by all that their modules hold, hooks and functions among it; objects by what a copy of them would be made of; and of whatever
is not installed, the code behind it. Nothing is left out because it cannot be described: it is refused.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    EllipsisType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch._C._functorch import is_batchedtensor
from torch.nn.utils import parametrize

from relevance.base import digests
from relevance.base.sources import WHOLE, code_behind, is_installed
from relevance.datasets.dataset import Dataset
from relevance.explanations.ways import table, way
from relevance.networks.architectures import Classifier
from relevance.networks.posterior import Posterior

PLAIN = (type(None), bool, int, float, complex, str, bytes, range, EllipsisType, torch.dtype, torch.device, torch.Size)
# How the parameters of a network count: as they are, by their shapes alone, or by their shapes where training draws them anew.
CONTENT, SHAPES, DRAWN = "content", "shapes", "drawn"
PARTS = ("_parameters", "_buffers", "_modules")


def describe(value: Any) -> str:
    """Return a text that is the same for equal values, and different for different ones.

    Raises:
        ValueError: the value, or something in it, is of a kind that cannot be compared from one process to another.
    """
    return _Description().of(value)


def describe_untrained(value: Any) -> str:
    """Return the same, but of a network of the library without the weights that training draws anew."""
    return _Description(DRAWN if isinstance(value, Classifier) else CONTENT).of(value)


class _Description:
    """A description while it is made.

    Attributes:
        weights: how the parameters of networks count.
        around: what the value that is described is in, by its id: things may contain themselves.
    """

    def __init__(self, weights: str = CONTENT) -> None:
        self.weights = weights
        self.around: list[int] = []

    def of(self, value: Any) -> str:
        if type(value) in PLAIN:
            return f"{type(value).__name__} {value!r}"
        if id(value) in self.around:
            return f"what is {len(self.around) - self.around.index(id(value))} around this"
        self.around.append(id(value))
        try:
            for kinds, described in self._ways:
                if isinstance(value, kinds):
                    return described(self, value)
            return self._dataclass(value) if is_dataclass(value) else self._taken_apart(value)
        finally:
            self.around.pop()

    def _all(self, values: Iterable[Any]) -> str:
        return f"[{', '.join(map(self.of, values))}]"

    def _named(self, values: Mapping[Any, Any]) -> str:
        return f"{{{', '.join(f'{self.of(name)}: {self.of(part)}' for name, part in values.items())}}}"

    def _tensor(self, value: Tensor) -> str:
        return f"tensor {digests.of_tensors(value)}"

    def _array(self, value: np.ndarray[Any, Any] | np.generic) -> str:
        if value.dtype.hasobject:
            return f"array {value.shape} {self._all(np.asarray(value).ravel().tolist())}"
        return f"array {value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value).data).hexdigest()}"

    def _path(self, value: PurePath) -> str:
        # What is read there counts, as far as it can be read.
        content = digests.of_files(value, "*") if isinstance(value, Path) and value.is_dir() else ""
        if isinstance(value, Path) and value.is_file():
            content = hashlib.sha256(value.read_bytes()).hexdigest()
        return f"path {str(value)!r} {content}"

    def _mapping(self, value: Mapping[Any, Any]) -> str:
        return f"{self.of(type(value))} {self._named(value)}"

    def _list(self, value: list[Any] | tuple[Any, ...]) -> str:
        if type(value) not in (list, tuple):
            return self._taken_apart(value)
        return f"{type(value).__name__} {self._all(value)}"

    def _set(self, value: frozenset[Any] | set[Any]) -> str:
        return f"{self.of(type(value))} {sorted(map(self.of, value))}"

    def _slice(self, value: slice) -> str:
        return f"slice {self._all((value.start, value.stop, value.step))}"

    def _partial(self, value: partial[Any]) -> str:
        return f"partial {self.of(value.func)} {self._all(value.args)} {self._named(value.keywords)}"

    def _dataset(self, value: Dataset) -> str:
        parts = (value.train_images, value.train_labels, value.test_images, value.test_labels)
        return f"{self.of(type(value))} {value.name!r} {digests.of_tensors(*parts)} {value.classes}"

    def _posterior(self, value: Posterior) -> str:
        # Its network's own parameters are not used.
        network = _Description(SHAPES).of(value.network)
        return f"{self.of(type(value))} {network} {self._named(dict(sorted(value.samples.items())))}"

    def _dataclass(self, value: Any) -> str:
        names = [field.name for field in fields(value)]
        kind = type(value)
        others = [name for name in sorted(getattr(value, "__dict__", {})) if name not in names]
        names += [name for name in others if not isinstance(getattr(kind, name, None), cached_property)]
        return f"{self.of(kind)} {self._named({name: getattr(value, name) for name in names if hasattr(value, name)})}"

    # Code

    def _class(self, value: type) -> str:
        described = f"class {value.__module__}.{value.__qualname__} {_code(value)}"
        if value.__module__ == "builtins" or _is_found(value):
            return described
        members = {
            name: part for name, part in vars(value).items() if name not in ("__dict__", "__weakref__", "__doc__")
        }
        return f"{described} {self._all(value.__bases__)} {self._named(members)}"

    def _function(self, value: FunctionType) -> str:
        described = f"function {value.__module__}.{value.__qualname__} {_code(value)}"
        if _is_found(value):
            return described
        closed = inspect.getclosurevars(value).nonlocals if value.__closure__ else {}
        held = (value.__defaults__, value.__kwdefaults__, closed, vars(value))
        return f"{described} {self.of(_instructions(value.__code__, value.__doc__))} {self._all(held)}"

    def _method(self, value: MethodType) -> str:
        return f"method {self.of(value.__func__)} of {self.of(value.__self__)}"

    def _builtin(self, value: BuiltinFunctionType) -> str:
        owner = value.__self__
        of = owner.__name__ if isinstance(owner, ModuleType) else self.of(owner)
        return f"builtin {value.__module__}.{value.__qualname__} of {of}"

    def _descriptor(self, value: MethodDescriptorType | WrapperDescriptorType) -> str:
        return f"builtin {value.__name__} of {self.of(value.__objclass__)}"

    def _wrapped(self, value: Any) -> str:
        return f"{type(value).__name__} {self.of(value.__func__)}"

    def _property(self, value: property) -> str:
        return f"property {self._all((value.fget, value.fset, value.fdel))}"

    def _python_module(self, value: ModuleType) -> str:
        return f"module {value.__name__} {'' if is_installed(value.__name__) else code_behind(value.__name__)}"

    # Networks

    def _module(self, value: nn.Module) -> str:
        if isinstance(value, torch.jit.ScriptModule):
            raise _refused(value)
        held = {name: part for name, part in vars(value).items() if name not in PARTS and "state_dict" not in name}
        if isinstance(value, fx.GraphModule):
            held = {"training": value.training, "graph": value.graph}
            kind = "graph"
        else:
            # A parametrised module has a class of its own, which torch made of the one that counts.
            own: Any = type(value).__mro__[parametrize.type_before_parametrizations(value) is not type(value)]
            kind = f"{self.of(own)} {self.of(own.forward)}"
        hooks = {name: held.pop(name) for name in sorted(held) if "hooks" in name and isinstance(held[name], dict)}
        # Numbered over all modules of a process, in the order in which they were added.
        order = sorted({number for numbered in hooks.values() for number in numbered})
        hooks = {
            name: {order.index(number): hook for number, hook in numbered.items()}
            for name, numbered in hooks.items()
            if numbered
        }
        left = _left_behind(value)
        held = {name: held[name] for name in sorted(held) if name not in left}
        return (
            f"network {kind} {self._named(held)} {self._named(hooks)} {self._weights(value)} {self._named(value._modules)} "
            f"{_shared(value)} {self._way(value)}"
        )

    def _weights(self, module: nn.Module) -> str:
        """Describe a module's own parameters and buffers."""
        drawn = self.weights == DRAWN and _draws_anew(module)
        told = []
        for part, by_shape in (("_parameters", drawn or self.weights == SHAPES), ("_buffers", drawn)):
            for name, value in getattr(module, part).items():
                content = f"{value.dtype} {list(value.shape)}" if by_shape and value is not None else self.of(value)
                told.append(f"{name!r}: {content} {getattr(value, 'requires_grad', None)}")
        return f"{{{', '.join(told)}}}"

    def _way(self, module: nn.Module) -> str:
        """Describe how LRP was told to go back through a module; the library's own functions count where they are used."""
        # A network may call any of the functions; what it calls is not looked up here.
        told = {
            kind: one for kind, one in table.REGISTERED.items() if not isinstance(kind, type) or kind is type(module)
        }
        return ", ".join(
            f"{'' if isinstance(kind, type) else self.of(kind)} "
            f"{one.__name__ if one.__module__ == way.__name__ else self.of(one)}"
            for kind, one in told.items()
        )

    def _graph(self, value: fx.Graph) -> str:
        return self._all([(node.name, node.op, node.target, node.args, node.kwargs) for node in value.nodes])

    def _node(self, value: fx.Node) -> str:
        return f"node {value.name}"

    # Everything else

    def _taken_apart(self, value: Any) -> str:
        """Describe an object by what a copy of it would be made of, as ``copy`` makes one."""
        try:
            taken = value.__reduce_ex__(4)
        except Exception:  # whatever its class raises, it cannot be copied
            raise _refused(value) from None
        if isinstance(taken, str):
            if not _is_found(value):
                raise _refused(value)
            return f"global {value.__module__}.{taken} {_code(value)}"
        if type(value) is object:  # which is nothing but itself
            raise _refused(value)
        made, *state = taken
        return (
            f"object {self.of(made)} {self._all(list(part) if isinstance(part, Iterator) else part for part in state)}"
        )

    _ways: tuple[tuple[Any, Callable[[Any, Any], str]], ...] = (
        (Tensor, _tensor), ((np.ndarray, np.generic), _array), (PurePath, _path), (Posterior, _posterior), (Dataset, _dataset),
        (nn.Module, _module), (fx.Graph, _graph), (fx.Node, _node), (Mapping, _mapping), ((list, tuple), _list),
        ((set, frozenset), _set), (slice, _slice), (partial, _partial), (type, _class), (FunctionType, _function),
        (MethodType, _method), (BuiltinFunctionType, _builtin), ((MethodDescriptorType, WrapperDescriptorType), _descriptor),
        ((staticmethod, classmethod), _wrapped), (property, _property), (ModuleType, _python_module),
    )  # fmt: skip


def _is_found(value: Any) -> bool:
    """Return whether a class or a function is what its name stands for in its module."""
    found: Any = sys.modules.get(str(getattr(value, "__module__", None)))
    for name in str(getattr(value, "__qualname__", "")).split("."):
        found = getattr(found, name, None)
    return found is value


def _code(value: Any) -> str:
    """Return a digest of the code behind a class or a function; none of what is installed, which counts by its version."""
    if value.__module__ is not None and is_installed(value.__module__):
        return ""
    name = value.__qualname__.partition(".")[0]
    return code_behind(str(value.__module__), WHOLE if name == "<lambda>" else name)


def _instructions(code: CodeType, text: str | None = None) -> list[Any]:
    """Return what a function that has no name of its own does, without the text that describes it, and without positions."""
    constants = [_instructions(one) if isinstance(one, CodeType) else one for one in code.co_consts if one != text]
    return [code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars, code.co_flags]


def _draws_anew(module: nn.Module) -> bool:
    """Return whether training draws a module's weights anew, as those of torch's layers that nothing was done to."""
    return (
        hasattr(module, "reset_parameters") and is_installed(type(module).__module__) and not table.is_changed(module)
    )


def _left_behind(module: nn.Module) -> set[str]:
    """Return the names of what a module holds from when it was last called, and computes anew when it is called."""
    hooks = [hook for hook in module._forward_pre_hooks.values() if is_installed(type(hook).__module__)]
    computed = {getattr(hook, name, None) for hook in hooks for name in ("name", "_tensor_name")}
    held = {name for name, value in vars(module).items() if isinstance(value, Tensor)}
    return {name for name in held if name in computed or is_batchedtensor(vars(module)[name])}


def _shared(network: nn.Module) -> dict[str, str]:
    """Return the names under which a network has a parameter or a buffer again -> the first one."""
    first: dict[int, str] = {}
    values = [
        *network.named_parameters(remove_duplicate=False),
        *network.named_buffers(remove_duplicate=False),
    ]
    return {name: first[id(value)] for name, value in values if first.setdefault(id(value), name) != name}


def _refused(value: Any) -> ValueError:
    return ValueError(
        f"{str(value)[:100]!r} is a {type(value).__name__}, which the store cannot compare with another; it may be a number, a "
        "text, a tensor, a data set, a network, a posterior, a rule, a function of a module, or a list or mapping of these."
    )
