"""Digests of what a result depends on, so that finished work is found again and never served when stale."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relevance.base.environment import default_device

# Packages that share calls out over machines, and change no result: with them or without, what is kept is found.
ENGINES = frozenset({
    "dask", "dask-jobqueue", "distributed", "locket", "msgpack", "partd", "submitit", "tblib", "toolz", "zict",
})  # fmt: skip


def digest(*parts: str) -> str:
    """Return a digest of texts, 32 hexadecimal digits; where one ends and the next begins counts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def of_parameters(parameters: Mapping[str, Any]) -> str:
    """Return a digest of named JSON values; their order does not count."""
    return digest(json.dumps(parameters, sort_keys=True))


def of_installed(device: str | None = None) -> str:
    """Return a digest of what computes: Python, the installed packages in their versions, and a kind of device.

    Args:
        device: ``"cpu"`` or ``"cuda"``; that of the default device if None.
    """
    packages = sorted(f"{one.name}=={one.version}" for one in distributions() if one.name.lower() not in ENGINES)
    return digest(platform.python_version(), device or default_device().type, *packages)


def of_tensors(*tensors: Tensor) -> str:
    """Return a digest of the values, kinds and shapes of tensors.

    Raises:
        ValueError: one is sparse, quantised, or of the device meta, so that it has no values side by side.
    """
    return digest(
        *(f"{value.dtype} {list(value.shape)} {hashlib.sha256(_bytes(value)).hexdigest()}" for value in tensors)
    )


def _bytes(value: Tensor) -> Any:
    if value.layout != torch.strided or value.is_meta or value.is_quantized:
        kind = "quantised" if value.is_quantized else f"{value.layout} on {value.device}"
        raise ValueError(
            f"a tensor is {kind}; it must be dense and have values, so that it can be compared with another."
        )
    # As bytes, since numpy does not know all of torch's kinds of numbers.
    plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().data


def of_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_files(folder: Path, pattern: str, without: Path | None = None) -> str:
    """Return a digest of the names and the contents of the files below ``folder`` that match ``pattern``.

    Args:
        folder: where they are.
        pattern: such as ``"*.py"``.
        without: a folder whose files do not count.
    """
    files = sorted(path for path in folder.rglob(pattern) if path.is_file() and "__pycache__" not in path.parts)
    files = [path for path in files if without is None or not path.is_relative_to(without)]
    return digest(*(part for path in files for part in (path.relative_to(folder).as_posix(), of_file(path))))
