from __future__ import annotations

import io

import pandas as pd
import pytest
import torch

from relevance.studies.zeng import words
from relevance.studies.zeng.generator import tables
from relevance.studies.zeng.generator.setting import ALONE, DECODED, OF_CLASS, STANDARD
from relevance.studies.zeng.generator.tables import tables as tables_tables

pytestmark = pytest.mark.stochastic


def test_what_is_recorded_comes_back_and_says_the_same():
    draw = torch.Generator().manual_seed(5)
    names = [STANDARD, DECODED, ALONE, OF_CLASS]
    curves = {judge: {name: torch.rand((3, 17), generator=draw) for name in names} for judge in ("b", "a")}
    rows = pd.DataFrame({"time": [1.0, 2.5, 0.3], "parameters": [7, 8, 9]}, pd.Index(names[:3], name="map"))
    times = {"one": rows, "another": rows.iloc[:2] * 2}
    layers = pd.DataFrame({STANDARD: [1.0, 0.4, 0.1], ALONE: 1.0}, pd.Index([0, 1, 2], name="random layers"))
    read = {
        name: pd.read_csv(io.StringIO(table.to_csv(index=False)))
        for name, table in tables_tables(times, curves, layers).items()
    }
    found = tables.curves_of(read["deletion"])
    assert list(found) == ["b", "a"]
    assert list(found["a"]) == names
    torch.testing.assert_close(found["a"][ALONE].float(), curves["a"][ALONE])
    assert words.generator_deleted(found) == words.generator_deleted(curves)
    assert words.generator_faster(tables.times_of(read["speed"])) == words.generator_faster(times)
    assert words.generator_sane(tables.layers_of(read["sanity"])) == words.generator_sane(layers)
