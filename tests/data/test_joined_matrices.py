"""Genes and the proteins in `obsm` as one matrix, of an object and of its file."""

import h5py
import numpy as np
import pandas
import pytest
import scipy.sparse
from some_cells import NUM_GENES, planted_cells, write_h5ad

from lowerbound.data import DataError
from lowerbound.data.column_blocks import numbered_blocks
from lowerbound.data.given import dataset_of
from lowerbound.data.joined_matrices import joined_matrices

NAMES = ["CD3", "CD19"]


@pytest.fixture(scope="module")
def cells():
    made, _ = planted_cells(30)
    counts = np.random.default_rng(0).poisson(5, (30, 2))
    made.obsm = {"protein": pandas.DataFrame(counts, columns=NAMES, index=made.obs.index), "adt": counts}
    return made


@pytest.fixture(scope="module")
def file(cells, tmp_path_factory):
    path = write_h5ad(tmp_path_factory.mktemp("joined") / "x.h5ad", cells)
    with h5py.File(path, "a") as opened:
        opened["obsm/adt"] = cells.obsm["adt"]
        table = opened.create_group("obsm/protein")
        table.attrs.update({"encoding-type": "dataframe", "column-order": NAMES, "_index": "_index"})
        table["_index"] = list(cells.obs.index)
        for name in NAMES:
            table[name] = cells.obsm["protein"][name].to_numpy()
    return path


@pytest.mark.parametrize("key, names", [("protein", NAMES), ("adt", ["0", "1"])])
def test_an_object_and_its_file_give_the_same_rows_and_blocks(cells, file, key, names):
    found = [dataset_of(data, array=f"X,{key}") for data in (cells, file)]
    for dataset in found:
        assert dataset.schema.column_names == (*cells.var_names, *(f"{key}_{name}" for name in names))
        assert numbered_blocks(dataset, None) == f"X=0-{NUM_GENES - 1};{key}={NUM_GENES}-{NUM_GENES + 1}"
    assert found[0].checksum == found[1].checksum
    rows = np.concatenate([np.asarray(found[0].x_train), np.asarray(found[0].x_test)])
    assert sorted(rows.sum(1)) == sorted(cells.X.sum(1) + cells.obsm["adt"].sum(1))


def test_a_sparse_matrix_stays_sparse():
    x, names = joined_matrices(scipy.sparse.csr_matrix(np.eye(3)), list("abc"), {"p": (np.ones((3, 1)), None)})
    assert scipy.sparse.issparse(x)
    assert (x.toarray()[:, 3] == 1).all()
    assert names == ["a", "b", "c", "p_0"]


@pytest.mark.parametrize(
    "array, words",
    [
        ("X,rna", "obsm of .* has no 'rna' but"),
        ("X,adt,adt", "name each matrix once"),
        ("X,", "name each matrix once"),
    ],
)
def test_refusals(cells, file, array, words):
    for data in (cells, file):
        with pytest.raises(DataError, match=words):
            dataset_of(data, array=array)


def test_matrices_of_other_cells_and_confusing_names_are_refused():
    with pytest.raises(DataError, match=r"has shape \(2, 1\) and there are 3 cells"):
        joined_matrices(np.eye(3), list("abc"), {"p": (np.ones((2, 1)), None)})
    with pytest.raises(DataError, match="'p_a' begins like the columns"):
        joined_matrices(np.eye(3), ["a", "p_a", "b"], {"p": (np.ones((3, 1)), None)})
