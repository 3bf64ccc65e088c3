"""What a run finds around it: device, progress bars, folders. Every RELEVANCE_ variable is read here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm


def default_device() -> torch.device:
    """Return the device that everything starts on: ``$RELEVANCE_DEVICE`` if set, else CUDA, else the CPU.

    Data sets are loaded onto it, and what is computed from them stays there.
    """
    if wanted := os.environ.get("RELEVANCE_DEVICE"):
        return _device("RELEVANCE_DEVICE", wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_device(device: torch.device | str | None) -> torch.device:
    """Return the device that an argument asks for; :func:`default_device` if it is None."""
    return default_device() if device is None else _device("device", device)


def _device(name: str, wanted: torch.device | str) -> torch.device:
    try:
        device = torch.device(wanted)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in {"cpu", "cuda"}:
        raise ValueError(f"{name} is {str(wanted)!r}; it may be cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"{name} is {str(wanted)!r}, but this machine has {torch.cuda.device_count()} CUDA GPUs; it may be cpu."
        )
    return device


def results_device() -> str | None:
    """Return the kind of device whose results are asked for, whatever this machine has: ``$RELEVANCE_RESULTS``, or None."""
    if (wanted := os.environ.get("RELEVANCE_RESULTS")) not in (None, "", "cpu", "cuda"):
        raise ValueError(f"RELEVANCE_RESULTS is {str(wanted)[:60]!r}; it may be cpu or cuda.")
    return wanted or None


def device_name(device: torch.device) -> str:
    """Return the device in words, for records and captions."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread(s)"


def bar(total: int, description: str, unit: str, *, show: bool = True) -> Any:
    """Return a bar with ``update``, to be used in a ``with`` statement; ``RELEVANCE_PROGRESS=0`` hides every bar."""
    # tqdm has a variable of its own for this, TQDM_DISABLE, which its notebook widget does not read.
    hidden = not show or os.environ.get("RELEVANCE_PROGRESS") == "0"
    return tqdm(total=total, desc=description, unit=unit, disable=hidden)


def project_root() -> Path:
    """Return the project's folder: the nearest above the working directory that holds a book.

    If there is none, that of the library where it is used from its source, else the working directory.
    """
    # A chapter that is opened in JupyterLab runs in its own folder, below the project's; one that was downloaded, anywhere.
    near = (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[3])
    return next((folder for folder in near if (folder / "_toc.yml").exists()), Path.cwd())


def store_root() -> Path:
    """Return the folder of finished work: ``$RELEVANCE_STORE`` if set, else ``_build/store`` of the project.

    Raises:
        ValueError: ``RELEVANCE_STORE`` is set to what is no folder, and cannot be made one.
    """
    chosen = os.environ.get("RELEVANCE_STORE")
    return made_folder("RELEVANCE_STORE", Path(chosen)) if chosen else project_root() / "_build" / "store"


def made_folder(name: str, folder: Path) -> Path:
    """Return a folder that is made if it is not there.

    Args:
        name: of the argument or variable that says it, for the sentence.
        folder: where.

    Raises:
        ValueError: it is something else, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a name with a zero byte in it is a ValueError
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            f"{name} is {str(folder)[-150:]!r}; it must be a folder, or a place where one can be made ({why})."
        ) from None
    return folder


def repository() -> str | None:
    """Return the address of the public clone that ``$RELEVANCE_REPOSITORY`` names; None if it is not set."""
    return os.environ.get("RELEVANCE_REPOSITORY")


def printing() -> bool:
    """Return whether the press is printing pages, which will have no kernel behind them."""
    return bool(os.environ.get("RELEVANCE_PRINTING"))


@contextmanager
def pages_printed(threads: int) -> Iterator[None]:
    """Have the processes that are started inside print: no bars, since nobody watches, and no widgets.

    Args:
        threads: of each, where no variable says it.
    """
    wanted = {"RELEVANCE_PROGRESS": "0", "RELEVANCE_PRINTING": "1", "OMP_NUM_THREADS": str(threads)}
    wanted["MKL_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", str(threads))
    added = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def with_progress() -> dict[str, str]:
    """Return the environment for a process whose progress bars are to be read."""
    return {name: value for name, value in os.environ.items() if name != "RELEVANCE_PROGRESS"}


def cluster() -> str | None:
    """Return where independent calls are made: ``$RELEVANCE_CLUSTER``, the address of a Dask scheduler, or ``local:N``."""
    return os.environ.get("RELEVANCE_CLUSTER") or None


def journal() -> Path | None:
    """Return the file in which every kept result that a process uses is noted: ``$RELEVANCE_JOURNAL``; None without."""
    return Path(found) if (found := os.environ.get("RELEVANCE_JOURNAL")) else None


@contextmanager
def noted_in(file: Path) -> Iterator[None]:
    """Have the processes that are started inside note in a file which kept results they use; see :func:`journal`."""
    os.environ["RELEVANCE_JOURNAL"] = str(file.resolve())
    try:
        yield
    finally:
        del os.environ["RELEVANCE_JOURNAL"]


def asked(name: str) -> str | None:
    """Return what the Makefile hands on of its variable ``name``, such as CHAPTER, as it was typed; None if nothing."""
    return os.environ.get(f"RELEVANCE_{name}")


def settle_data_root() -> None:
    """Make ``$RELEVANCE_DATA`` absolute, for processes that work in another folder."""
    if chosen := os.environ.get("RELEVANCE_DATA"):
        os.environ["RELEVANCE_DATA"] = str(Path(chosen).resolve())


def data_root() -> Path:
    """Return the folder where data sets are looked for: ``$RELEVANCE_DATA`` if set, else ``data`` of the project."""
    chosen = os.environ.get("RELEVANCE_DATA")
    return Path(chosen) if chosen else project_root() / "data"
