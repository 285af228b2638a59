"""A sparse matrix that stays sparse gives the same data, the same model and the same scores as a dense one."""

import types

import numpy as np
import pytest
import scipy.sparse
import torch
from some_cells import planted_cells, write_h5ad

import lowerbound as lb
from lowerbound.data import read_file
from lowerbound.data.blocks import row_blocks
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.sparse import SparseRows

RNG = np.random.default_rng(0)
X = RNG.poisson(RNG.gamma(0.3, 3, 9), (50, 9))


@pytest.fixture
def stays_sparse(monkeypatch):
    """Every sparse matrix stays sparse, and is never asked for as a whole."""

    def refuse(self, dtype=None, copy=None):
        raise AssertionError("all rows were made dense")

    monkeypatch.setattr("lowerbound.data.sparse.STAY_SPARSE_ABOVE", 0)
    monkeypatch.setattr(SparseRows, "__array__", refuse)


def of(cells, matrix):
    return types.SimpleNamespace(**{**vars(cells), "X": matrix})


def test_rows_are_those_of_the_dense_matrix():
    rows = SparseRows(scipy.sparse.csr_matrix(X.astype(np.uint8)), np.dtype(np.float32))
    dense = X.astype(np.float32)
    order = np.array([4, 0, 4, 49])
    for found, expected in (
        (rows[order], dense[order]),
        (rows[3:7], dense[3:7]),
        (rows[:, 2], dense[:, 2]),
        (rows[:, [5, 1]][:], dense[:, [5, 1]]),
        (np.asarray(rows), dense),
        (rows[:0], dense[:0]),
    ):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert (rows[0, 0], rows.max(), rows.shape, len(rows), rows.size) == (dense[0, 0], X.max(), X.shape, 50, X.size)
    assert rows.nbytes == dense.nbytes
    blocks = [(start, block.shape) for start, block in row_blocks(rows, block_bytes=36 * 20)]
    assert blocks == [(0, (20, 9)), (20, (20, 9)), (40, (10, 9))]


def test_the_same_data(tmp_path, stays_sparse):
    cells, _ = planted_cells(60)
    cells.X[:, 3] *= 20  # a gene beyond 1,000 counts
    dense = dataset_of(cells, "type", covariates=["batch"])
    for data in (
        dataset_of(of(cells, scipy.sparse.csr_matrix(cells.X)), "type", covariates=["batch"]),
        dataset_of(of(cells, scipy.sparse.csc_matrix(cells.X)), "type", covariates=["batch"]),
    ):
        assert isinstance(data.x_train, SparseRows)
        assert data.schema == dense.schema
        assert data.checksum == dense.checksum
        np.testing.assert_array_equal(data.x_train[data.train_rows], dense.x_train)
        np.testing.assert_array_equal(data.x_test, dense.x_test)
        np.testing.assert_array_equal(data.covariates_train, dense.covariates_train)
        np.testing.assert_array_equal(data.y_train, dense.y_train)
    assert not isinstance(read_file(write_h5ad(tmp_path / "x.h5ad", cells)).x_train, SparseRows)  # was dense there


def test_the_same_fit_and_scores(stays_sparse):
    cells, _ = planted_cells(60)
    sparse = of(cells, scipy.sparse.csr_matrix(cells.X))
    settings = {"steps": 4, "latent_dim": 2, "hidden": [8], "device": "cpu", "covariates": ["batch"]}
    one, other = (lb.fit(data, "cells", **settings) for data in (cells, sparse))
    weights = other.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in one.model.state_dict().items())
    np.testing.assert_array_equal(one.score(cells, num_samples=3), other.score(sparse, num_samples=3))
    np.testing.assert_array_equal(one.encode(cells).mean, other.encode(sparse).mean)
    assert one.evaluate(num_samples=3) == other.evaluate(num_samples=3)
    found = [f.differential_expression(d, "type", "T", num_draws=20) for f, d in ((one, cells), (other, sparse))]
    assert found[0].equals(found[1])


def test_other_genes_are_left_out_of_a_sparse_matrix(stays_sparse):
    cells, _ = planted_cells(40)
    schema = dataset_of(cells).schema
    more = scipy.sparse.csr_matrix(np.concatenate([cells.X[:, ::-1], cells.X[:, :1]], 1))
    others = of(cells, more)
    others.var_names = [*cells.var_names[::-1], "another"]
    np.testing.assert_array_equal(rows_under(others, schema).x[:], cells.X)
