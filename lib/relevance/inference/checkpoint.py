"""Chains on disk, so that one that is killed goes on where it was and ends with the samples of an unbroken run."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from relevance.base import digests

# Work that may be lost: draws are kept in memory for as long before they are written.
SECONDS = 10.0


@dataclass
class Progress:
    """How far a chain is.

    Attributes:
        position: [D], where it is.
        index: transitions done, with those of the warm-up.
        adaptation: of the step size, as numbers.
        rows: what each transition gave.
        kept: positions of the kept draws, in blocks [k, D].
        mass: of each coordinate [D]; None where all are 1.
    """

    position: Tensor
    index: int = 0
    adaptation: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)
    mass: Tensor | None = None


class Checkpoint:
    """The files of one chain in a folder.

    Draws are written in parts, each once; the state, written last, says how many of them count. Every file appears whole
    or not at all, so whenever the process is killed, the state on disk is one that the chain had.

    Args:
        folder: where the files are; made if it is missing.
        chain: number of the chain.
        run: what the samples depend on; a state of another run is refused.
    """

    def __init__(self, folder: Path, chain: int, run: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.chain, self.run = folder, chain, run
        self.n_written = 0
        self.last = time.monotonic()

    @property
    def _state(self) -> Path:
        return self.folder / f"chain-{self.chain}.safetensors"

    def _part(self, index: int) -> Path:
        return self.folder / f"chain-{self.chain}-draws-{index}.safetensors"

    def load(self, generator: torch.Generator) -> Progress | None:
        """Return how far the chain was, and set the generator to where it was; None if there is nothing yet.

        Raises:
            ValueError: the files are damaged, or of another run.
        """
        if not self._state.exists():
            return None
        device = generator.device
        try:
            state, told = _read(self._state)
            metadata = json.loads(told)
            position, random = state["position"].to(device), state["generator"]
            mass = state["mass"].to(device) if "mass" in state else None
            if metadata["run"] == self.run:
                parts = [_read(self._part(i))[0]["draws"] for i in range(metadata["n_parts"])]
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f"{self._state} is damaged ({error}); delete the folder to start the run anew.") from error
        if metadata["run"] != self.run:
            now = self.run
            odd = ", ".join(f"{name} is {now.get(name)!r}, was {old!r}" for name, old in metadata["run"].items()
                            if now.get(name) != old)  # fmt: skip
            raise ValueError(f"{self.folder} holds another run ({odd}); give another folder, or delete it.")
        generator.set_state(random)
        self.n_written = len(parts)
        kept = [part.to(device) for part in parts]
        return Progress(position, metadata["index"], metadata["adaptation"], metadata["rows"], kept, mass)

    def save(self, progress: Progress, generator: torch.Generator, *, now: bool = False) -> None:
        """Write how far the chain is, if the last time was long ago or ``now`` is asked for."""
        if not now and time.monotonic() - self.last < SECONDS:
            return
        # All blocks that are not yet on disk become one part.
        if fresh := progress.kept[self.n_written :]:
            block = torch.cat(fresh)
            progress.kept[self.n_written :] = [block]
            _write(self._part(self.n_written), {"draws": block.cpu()})
            self.n_written += 1
        content = {
            "run": self.run,
            "index": progress.index,
            "adaptation": progress.adaptation,
            "rows": progress.rows,
            "n_parts": self.n_written,
        }
        tensors = {"position": progress.position.cpu(), "generator": generator.get_state()}
        if progress.mass is not None:
            tensors["mass"] = progress.mass.cpu()
        _write(self._state, tensors, json.dumps(content))
        self.last = time.monotonic()


def _write(path: Path, tensors: dict[str, Tensor], progress: str = "") -> None:
    partial = path.with_suffix(".partial")
    told = {"progress": progress, "sum": _sum(tensors, progress)}
    safetensors.torch.save_file({name: value.contiguous() for name, value in tensors.items()}, partial, told)
    partial.replace(path)


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    with safetensors.safe_open(path, framework="pt") as file:
        told = file.metadata() or {}
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    if told["sum"] != _sum(tensors, told["progress"]):
        raise ValueError("it is not what was written")
    return tensors, told["progress"]


def _sum(tensors: dict[str, Tensor], progress: str) -> str:
    return digests.digest(progress, *sorted(tensors), digests.of_tensors(*(tensors[name] for name in sorted(tensors))))
