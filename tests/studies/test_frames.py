from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from relevance.studies import frames

NAN = float("nan")
TABLES = {
    "kinds": pd.DataFrame({"i": [1, 2], "f": [0.1, NAN], "b": [True, False], "s": ["", "x"], "gap": ["a", None]}),
    "narrow kinds": pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [0.1, 5e-324]}).astype(
        {"a": "int8", "b": "uint16", "c": "float32"}
    ),
    "mixed": pd.DataFrame({"o": pd.Series([1, 1.0, True, "1", None, NAN], dtype=object)}),
    "infinite": pd.DataFrame({"f": [float("inf"), -0.0, 1e300, 1 / 3]}),
    "gaps of pandas": pd.DataFrame({"i": pd.array([1, None], dtype="Int64"), "b": pd.array([None, True], dtype="boolean")}),
    "doubled columns": pd.DataFrame([[1, "a", 2.5]], columns=["a", "a", "b"]),
    "whole numbers as names": pd.DataFrame({0: [1], 1: [2], 10: [3]}),
    "numbers as names": pd.DataFrame({0.1: [1], 20.0: [2]}),
    "names of all kinds": pd.DataFrame([[1, 2, 3, 4]], columns=pd.Index([1, "1", None, 1.5], dtype=object)),
    "a column called index": pd.DataFrame({"index": [3, 4], "level_0": [1, 2]}),
    "an index called index": pd.DataFrame({"a": [3, 4]}, index=pd.Index([7, 8], name="index")),
    "the same name in both": pd.DataFrame({"a": [3, 4]}, index=pd.Index(["x", "y"], name="a")),
    "a number as the index's name": pd.DataFrame({"a": [3]}, index=pd.Index([1], name=0)),
    "several levels": pd.DataFrame(
        {"a": [1, 2, 3]}, index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["k", None])
    ),
    "levels of columns": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("mean", 1), ("low", 2)])),
    "doubled rows": pd.DataFrame({"a": [1, 2]}, index=["x", "x"]),
    "a range that is none from 0": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(4, 0, -2, name="r")),
    "truth as index": pd.DataFrame({"a": [1, 2]}, index=[True, False]),
    "named columns": pd.DataFrame({"a": [1]}).rename_axis(columns="what"),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="int64"), "s": pd.Series([], dtype="str")}),
    "no columns": pd.DataFrame(index=["x", "y"]),
    "nothing": pd.DataFrame(),
    "order": pd.DataFrame({"z": [1], "a": [2], "m": [3]}),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_comes_back_as_it_was(name):
    table = TABLES[name]
    again = frames.from_json(json.loads(json.dumps(frames.to_json(table))))
    pd.testing.assert_frame_equal(again, table, check_exact=True, check_column_type=True, check_index_type="exact")
    assert [str(kind) for kind in again.dtypes] == [str(kind) for kind in table.dtypes]
    for one, other in zip(again.to_numpy(object).ravel(), table.to_numpy(object).ravel(), strict=True):
        assert type(one) is type(other)
    assert list(again.index.names) == list(table.index.names)
    assert list(again.columns.names) == list(table.columns.names)
    assert type(again.index) is type(table.index)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"a": [[1, 2]]}),
        pd.DataFrame({"a": [np.zeros(2)]}),
        pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}),
        pd.DataFrame({"a": pd.Categorical(["x", "y"])}),
        pd.DataFrame({"a": [1j]}),
        pd.DataFrame({"a": [1]}, index=[(1, 2)]),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(table):
    with pytest.raises(ValueError, match="the store keeps numbers and texts"):
        frames.to_json(table)


def test_attributes_of_a_table_are_refused():
    table = pd.DataFrame({"a": [1]})
    table.attrs["said"] = "x"
    with pytest.raises(ValueError, match="'said'"):
        frames.to_json(table)
