"""What a recorded table says of when and on what it was measured."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

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


def memory(what: str) -> float:
    """Return the MiB of memory that Linux tells of this process: ``VmRSS``, what it has, or ``VmHWM``, the most that it had."""
    (line,) = (line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024
