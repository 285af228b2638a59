"""Columns that a model is given: their kinds, their numbers, and what is refused."""

import types

import numpy as np
import pandas
import pytest
import torch
from some_cells import planted_cells, write_h5ad

from lowerbound.data import DataError, read_file, read_rows
from lowerbound.data.covariates import covariate_numbers, drawn_covariates, encode_covariates, infer_covariates
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.schema import Schema

COLUMNS = {
    "batch": np.array(["b", "a", "b", "c", "b", "a", "c", "c"], dtype=object),
    "age": np.array([1.5, 2.0, 3.0, 4.0, 1.5, 2.0, 3.0, 4.0]),
    "lane": np.array([1, 2, 1, 2, 1, 2, 1, 2]),
    "fixed": np.array([True, False] * 4),
}


def test_kinds_numbers_and_the_context():
    found = infer_covariates(COLUMNS, "X")
    assert [one.categories for one in found] == [("a", "b", "c"), None, ("1", "2"), ("False", "True")]
    assert found[0].shares == (0.25, 0.375, 0.375)
    numbers = covariate_numbers(COLUMNS, found, "X")
    np.testing.assert_array_equal(numbers[:2], [[1, 1.5, 0, 1], [0, 2, 1, 0]])
    c = encode_covariates(numbers, found)
    assert c.shape == (8, 3 + 1 + 2 + 2)
    torch.testing.assert_close(c[:, 3].std(correction=0), torch.tensor(1.0))
    torch.testing.assert_close(c[0], torch.tensor([0.0, 1, 0, c[0, 3], 1, 0, 0, 1]))
    drawn = drawn_covariates(found, 4000, {"lane": 2}, 0)
    assert set(drawn[:, 2]) == {1.0}
    assert set(drawn[:, 1]) == {found[1].mean}
    np.testing.assert_allclose(np.bincount(drawn[:, 0].astype(int)) / 4000, found[0].shares, atol=0.04)


@pytest.mark.parametrize(
    "column, message",
    [
        (np.array(["a", None, "b"], dtype=object), "is missing at row 1; the model needs it of every row"),
        (np.array([1.5, 2.5, np.nan]), "is missing at row 2"),
        (np.array(["a", "a", "a"], dtype=object), r"has one value only \(a\)"),
        (np.array(["a", "b", "c"], dtype=object), "has 3 categories in 3 rows"),
    ],
)
def test_columns_that_say_nothing_or_too_little(column, message):
    with pytest.raises(DataError, match=message):
        infer_covariates({"batch": column}, "X")


def test_files_objects_and_frames_give_the_same_covariates(tmp_path):
    cells, _ = planted_cells(60)
    names = ["batch", "age"]
    read = read_file(write_h5ad(tmp_path / "x.h5ad", cells), covariates=names)
    given = dataset_of(cells, covariates=names)
    frame = pandas.DataFrame(cells.X.astype(int), columns=cells.var_names).assign(**cells.obs[names].reset_index())
    framed = dataset_of(frame.drop(columns="index"), covariates=names)
    for data in (read, given, framed):
        assert data.kind == "counts"
        assert data.schema.covariates == read.schema.covariates
        np.testing.assert_array_equal(data.x_train, read.x_train)
        np.testing.assert_array_equal(data.covariates_train, read.covariates_train)
        np.testing.assert_array_equal(
            data.covariates_test[:, 0], (cells.obs["batch"] == "b").to_numpy()[data.test_rows]
        )
    (by_name,) = dataset_of(cells, covariates="batch").schema.covariates  # a str is one name, and not its letters
    assert (
        by_name == read_file(tmp_path / "x.h5ad", covariates="batch").schema.covariates[0] == read.schema.covariates[0]
    )
    assert read.checksum == given.checksum != read_file(tmp_path / "x.h5ad").checksum
    assert read.row_names == given.row_names == tuple(cells.obs.index)
    assert Schema.from_json(read.schema.to_json()) == read.schema
    whole = dataset_of(cells, covariates=names, hold_out=False)
    assert (len(whole.covariates_train), len(whole.covariates_test)) == (60, 0)
    np.testing.assert_array_equal(rows_under(given, read.schema).covariates, read.covariates_test)


def test_other_cells_need_known_categories_or_one_value_for_all(tmp_path):
    cells, _ = planted_cells(40)
    schema = dataset_of(cells, covariates=["batch"]).schema
    others = types.SimpleNamespace(**{**vars(cells), "obs": cells.obs.assign(batch="new")})
    path = write_h5ad(tmp_path / "y.h5ad", others)
    for road in (lambda **given: rows_under(others, schema, **given), lambda **given: read_rows(path, schema, **given)):
        with pytest.raises(DataError, match=r"holds 'new', which the fit has not seen \(it knows 'a', 'b'\)") as caught:
            road()
        assert len(str(caught.value)) <= 300
        np.testing.assert_array_equal(road(covariates={"batch": "b"}).covariates, np.ones((40, 1)))
        with pytest.raises(DataError, match="has no 'donor'"):
            road(covariates={"donor": "b"})
    del others.obs["batch"]
    with pytest.raises(DataError, match="obs of the AnnData has no 'batch'"):
        rows_under(others, schema)
    with pytest.raises(DataError, match="no such columns; give a table, or cells with obs"):
        dataset_of(cells.X, covariates=["batch"])
    with pytest.raises(DataError, match=r"X has no covariate 'batch', which the model is given; name one value"):
        covariate_numbers({}, schema.covariates, "X")
