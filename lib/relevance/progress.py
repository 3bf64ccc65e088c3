"""Progress bars for long work: a widget in a notebook, a line in a terminal, nothing where the press prints pages."""

from __future__ import annotations

import os
from typing import Any

from tqdm.auto import tqdm


def bar(total: int, description: str, unit: str, *, show: bool = True) -> Any:
    """Return a bar with ``update``, to be used in a ``with`` statement; ``RELEVANCE_PROGRESS=0`` hides every bar."""
    # tqdm has a variable of its own for this, TQDM_DISABLE, which its notebook widget does not read.
    hidden = not show or os.environ.get("RELEVANCE_PROGRESS") == "0"
    return tqdm(total=total, desc=description, unit=unit, disable=hidden)
