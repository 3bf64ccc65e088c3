"""What a recorded table says of when and on what it was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from relevance.base.environment import default_device, device_name


def stamped(table: pd.DataFrame, device: torch.device | None = None, **versions: str) -> pd.DataFrame:
    """Return a table with the day, the hardware, and the versions of torch and of what else is named in every row.

    Args:
        table: what was measured.
        device: on which; the default one if not given.
        versions: library -> its version.
    """
    return table.assign(
        date=datetime.now(UTC).date().isoformat(), hardware=device_name(device or default_device()),
        torch=torch.__version__, **versions,
    )  # fmt: skip


def peak_of(run: Callable[[], object]) -> float:
    """Return the MiB of memory that a call takes at its peak, beyond what was there before, as Linux tells."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far no longer counts
    before = _memory("VmRSS")
    run()
    return _memory("VmHWM") - before


def _memory(what: str) -> float:
    """Return the MiB of memory of this process: ``VmRSS``, what it has, or ``VmHWM``, the most that it had."""
    (line,) = (line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


def apart(program: str, words: Sequence[str], environment: Mapping[str, str]) -> Any:
    """Return the JSON in the last line that a program prints in a process of its own.

    Args:
        program: its file.
        words: its arguments.
        environment: what is other than here.
    """
    done = subprocess.run(
        [sys.executable, program, *words], env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])
