from __future__ import annotations

import io

import pandas as pd
import torch

from relevance.metrics import SHARES
from relevance.studies.zeng.generator import tables


def test_curves_come_back_from_their_recorded_rows():
    draw = torch.Generator().manual_seed(5)
    curves = {judge: {name: torch.rand((3, 17), generator=draw) for name in ("one", "a")} for judge in ("b", "a")}
    rows = pd.concat(
        pd.DataFrame(values, columns=[f"{share:g}" for share in SHARES]).assign(judge=judge, map=name)
        for judge, panel in curves.items()
        for name, values in panel.items()
    )
    found = tables.curves_of(pd.read_csv(io.StringIO(rows.to_csv(index=False))))
    assert list(found) == ["b", "a"]
    assert list(found["a"]) == ["one", "a"]
    torch.testing.assert_close(found["a"]["a"].float(), curves["a"]["a"])
