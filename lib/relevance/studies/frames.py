"""Tables as JSON that come back exactly as they were: the kinds and names of columns and of the index, doubled ones too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Kinds of columns that are kept, as pandas names them; those of the first kind are numpy's, without gaps of their own.
NUMPYS = r"u?int(8|16|32|64)|float(16|32|64)|bool|object"
KINDS = rf"{NUMPYS}|U?Int(8|16|32|64)|Float(32|64)|boolean|str|string"
# What a cell, or a name of a column, may be.
CELLS = (type(None), bool, int, float, str)


def to_json(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as what JSON can hold.

    Raises:
        ValueError: it holds something else than numbers, texts and gaps, or has attributes of its own.
    """
    if table.attrs:
        raise ValueError(
            f"the table has the attributes {sorted(map(str, table.attrs))}; the store keeps its cells alone."
        )
    columns = [_values(table.iloc[:, place].array, f"column {name!r}") for place, name in enumerate(table.columns)]
    return {"index": _index(table.index), "names": _index(table.columns), "columns": columns}


def from_json(written: dict[str, Any]) -> pd.DataFrame:
    """Return the table that :func:`to_json` was given."""
    import pandas as pd

    index = _as_index(written["index"])
    table = pd.DataFrame({place: _as_array(part) for place, part in enumerate(written["columns"])}, index=index)
    table.columns = _as_index(written["names"])
    return table


def _values(values: Any, where: str) -> dict[str, Any]:
    """Return the values of a column or of an index with their kind, as pandas names it."""
    import numpy as np
    import pandas as pd

    kind = str(values.dtype)
    if not re.fullmatch(KINDS, kind):
        raise ValueError(f"the table holds {kind} in {where}; the store keeps numbers and texts.")
    cells = [value.item() if isinstance(value, np.generic) else value for value in values.astype(object)]
    if kind != "object":
        cells = [None if cell is pd.NA else cell for cell in cells]
    for cell in cells:
        if type(cell) not in CELLS:
            raise ValueError(
                f"the table holds {str(cell)[:60]!r} in {where}, a {type(cell).__name__}; the store keeps numbers and texts."
            )
    return {"kind": kind, "values": cells}


def _as_array(written: dict[str, Any]) -> Any:
    import numpy as np
    import pandas as pd

    kind, values = written["kind"], written["values"]
    if not re.fullmatch(NUMPYS, kind):
        return pd.array(values, dtype=kind)
    found = np.empty(len(values), dtype=kind)
    found[:] = values
    return found


def _index(index: pd.Index) -> dict[str, Any]:
    import pandas as pd

    if isinstance(index, pd.RangeIndex):
        levels: list[Any] = [index.start, index.stop, index.step]
    else:
        levels = [_values(index.get_level_values(level).array, "the index") for level in range(index.nlevels)]
    names = [_values(pd.array([name], dtype=object), "the names of the index")["values"][0] for name in index.names]
    return {"kind": type(index).__name__, "names": names, "levels": levels}


def _as_index(written: dict[str, Any]) -> pd.Index:
    import pandas as pd

    names, levels = written["names"], written["levels"]
    if written["kind"] == "RangeIndex":
        start, stop, step = levels
        return pd.RangeIndex(start, stop, step, name=names[0])
    arrays = [_as_array(level) for level in levels]
    if written["kind"] == "MultiIndex":
        return pd.MultiIndex.from_arrays(arrays, names=names)
    return pd.Index(arrays[0], name=names[0], dtype=levels[0]["kind"])
