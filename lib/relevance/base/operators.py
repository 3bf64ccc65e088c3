"""``import torchvision`` beside a torch that its compiled operators were not built for.

The wheels of torchvision on the common index are built for CUDA. Beside torch's CPU build their library cannot be loaded, since
it asks for that of CUDA. torchvision takes this calmly, but for two operators that it registers without having asked whether
they are there (``nms`` and ``qnms``, in ``torchvision/_meta_registrations.py``), at which the import fails. Here they are
declared, and the import is done again. Data sets and classifiers use none of torchvision's operators; whoever calls one is told
that it is missing.

Where ``requirements/install.sh`` installs torch's CPU build, it has every Python of the environment import this module when it
starts, so that ``import torchvision`` works by itself. It must import nothing that takes time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

MISSING = ("nms", "qnms")


class _Declaring(Loader):
    """The loader of torchvision, which declares the operators where the import fails for them."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return what the loader itself does."""
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Import torchvision, in a second attempt if need be."""
        # Nobody else need know of this loader.
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self.loader
        try:
            self.loader.exec_module(module)
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            import torch

            for operator in MISSING:
                torch.library.define(
                    f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                )
            self.loader.exec_module(module)


class _Finder(MetaPathFinder):
    """Finds torchvision where it is, with the loader above."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of torchvision, and of nothing else."""
        found = PathFinder.find_spec(name, path, target) if name == "torchvision" else None
        if found is not None and found.loader is not None:
            found.loader = _Declaring(found.loader)
        return found


def declare_when_missing() -> None:
    """Have ``import torchvision`` declare the operators that it lacks; once is enough."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


declare_when_missing()
