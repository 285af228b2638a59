"""A schema goes through the JSON of a run folder and back; an altered one is refused."""

import json
import re

import numpy as np
import pandas
import pytest

from lowerbound.data import Dataset, Schema


def _schema() -> Schema:
    frame = pandas.DataFrame({"a": np.arange(20) / 7, "b": ["u", "v"] * 10, "id": range(20)})
    return Dataset.from_frame(frame.assign(y=[3, 1] * 10), label="y").schema


def test_there_and_back() -> None:
    schema = _schema()
    assert Schema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    assert schema.to_json()["columns"][1] == {
        "name": "b",
        "kind": "categorical",
        "dtype": "str",
        "categories": ("u", "v"),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": 3}, {"event_shape": "x"}, {"event_shape": [2.5]}, {"columns": 3}, {"columns": [3]}, {"newer": 1},
        {"columns": [{"name": "a"}]}, {"columns": [{"name": "a", "kind": "number"}]}, {"left_out": "x"},
        {"classes": [1]}, {"pixel_levels": "many"}, {"columns": [{"name": "a", "kind": "count", "low": "x"}]},
    ],
)  # fmt: skip
def test_altered_schemas_are_refused(changes) -> None:
    with pytest.raises(ValueError, match="The schema of the data is not readable") as caught:
        Schema.from_json({**_schema().to_json(), **changes})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "dtype, taken", [("int64", False), ("category[float64]", False), ("str", True), ("bool", True)]
)
def test_categories_of_a_column_of_numbers_are_numbers(dtype, taken):
    """An altered run.json opened, and its samples could not be written."""
    column = {"name": "a", "kind": "categorical", "dtype": dtype, "categories": ["1", "y"]}
    content = {"kind": "table", "event_shape": [1], "container": "frame", "dtype": "float64", "columns": [column]}
    if taken:
        assert Schema.from_json(content).columns[0].categories == ("1", "y")
    else:
        with pytest.raises(ValueError, match=f"a column of {re.escape(dtype)} with categories that are no numbers"):
            Schema.from_json(content)


@pytest.mark.parametrize(
    "altered, sentence",
    [
        ({"decimals": 10**9}, "a column of 1000000000 decimals"),
        ({"decimals": -1}, "a column of -1 decimals"),
        ({"dtype": "int64x"}, "a column of numbers of the type 'int64x'"),
    ],
)
def test_numbers_that_could_not_be_written_are_refused(altered, sentence):
    column = {"name": "a", "kind": "continuous", "dtype": "int64", **altered}
    content = {"kind": "table", "event_shape": [1], "container": "frame", "dtype": "float64", "columns": [column]}
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Schema.from_json(content)
