"""Cells by genes: .h5ad files, AnnData objects and 10x folders are the same rows under the names of genes."""

import gzip
import types

import numpy as np
import pandas
import pytest
import scipy.io
import scipy.sparse

from lowerbound.data import DataError, read_file, read_rows
from lowerbound.data.given import dataset_of, rows_under

h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(0)
X = RNG.poisson(RNG.gamma(0.5, 2, 8), (40, 8)).astype(np.float32)
GENES = [f"gene{i}" for i in range(8)]
TYPES = RNG.choice(["B", "T"], 40)
LAYOUTS = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "dense": np.asarray}


def write_matrix(group, name, matrix):
    if not scipy.sparse.issparse(matrix):
        group[name] = matrix
        return
    made = group.create_group(name)
    made.attrs["encoding-type"], made.attrs["shape"] = f"{matrix.format}_matrix", matrix.shape
    for part in ("data", "indices", "indptr"):
        made[part] = getattr(matrix, part)


def write_h5ad(path, x, *, genes=GENES, layers=None, raw=None):
    """What anndata 0.12 writes, as far as it is read here."""
    with h5py.File(path, "w") as file:
        write_matrix(file, "X", x)
        for name, layer in (layers or {}).items():
            write_matrix(file.require_group("layers"), name, layer)
        if raw is not None:
            write_matrix(file.create_group("raw"), "X", raw)
            file["raw/var/_index"] = list(genes)
            file["raw/var"].attrs["_index"] = "_index"
        file["var/name"] = list(genes)
        file["var"].attrs["_index"] = "name"
        file["obs/_index"] = [f"cell{i}" for i in range(x.shape[0])]
        file["obs"].attrs["_index"] = "_index"
        file["obs/type/categories"], file["obs/type/codes"] = ["B", "T"], (TYPES == "T").astype(np.int8)
    return path


def annotated(x, *, genes=GENES, layers=None):
    """An object with what an AnnData has."""
    obs = pandas.DataFrame({"type": pandas.Categorical(TYPES)})
    return types.SimpleNamespace(X=x, layers=layers or {}, obs=obs, var_names=pandas.Index(genes), raw=None)


def write_10x(folder, x, features, *, end=""):
    folder.mkdir()
    scipy.io.mmwrite(folder / "matrix.mtx", scipy.sparse.coo_matrix(x.T.astype(int)))
    (folder / "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(len(x))))
    (folder / "features.tsv").write_text("".join("\t".join(words) + "\n" for words in features))
    for file in list(folder.iterdir()) if end else ():
        (folder / f"{file.name}{end}").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_road_gives_the_same_data(tmp_path, layout):
    matrix = LAYOUTS[layout](X)
    read = read_file(write_h5ad(tmp_path / "x.h5ad", matrix), label="type")
    given = dataset_of(annotated(matrix), "type")
    assert (read.kind, read.schema.container, read.default_likelihood) == ("counts", "h5ad", "negative-binomial")
    for data in (read, given):
        assert data.feature_names == tuple(GENES)
        assert data.label_names == ("B", "T")
        np.testing.assert_array_equal(data.x_train, X[data.train_numbers])
        np.testing.assert_array_equal(data.y_test, (TYPES == "T")[data.test_rows])
    np.testing.assert_array_equal(rows_under(annotated(matrix), read.schema).y, TYPES == "T")


def test_genes_are_matched_by_name(tmp_path):
    schema = read_file(write_h5ad(tmp_path / "x.h5ad", X)).schema
    order = [*range(7, -1, -1), 3]
    others = [f"gene{i}" for i in order[:-1]] + ["another"]
    path = write_h5ad(tmp_path / "other.h5ad", scipy.sparse.csr_matrix(X[:, order]), genes=others)
    np.testing.assert_array_equal(read_rows(path, schema).x, X)
    np.testing.assert_array_equal(rows_under(annotated(X[:, order], genes=others), schema).x, X)
    np.testing.assert_array_equal(rows_under(pandas.DataFrame(X, columns=GENES), schema).x, X)
    write_h5ad(path, X, genes=["z", *GENES[1:]])
    with pytest.raises(DataError, match=r"lacks 1 of the 8 genes of the model \('gene0'\)"):
        read_rows(path, schema)


def test_the_layer_of_the_fit_is_that_of_other_data(tmp_path):
    layers = {"counts": scipy.sparse.csc_matrix(X)}
    path = write_h5ad(tmp_path / "x.h5ad", np.log1p(X), layers=layers, raw=scipy.sparse.csr_matrix(X + 1))
    schema = read_file(path, array="counts").schema
    assert type(schema).from_json(schema.to_json()) == schema
    np.testing.assert_array_equal(read_rows(path, schema).x, X)
    np.testing.assert_array_equal(read_rows(path, schema, array="raw").x, X + 1)
    np.testing.assert_array_equal(rows_under(annotated(np.log1p(X), layers=layers), schema).x, X)
    with pytest.raises(DataError, match=r"has no layer 'counts' \(named here or in the fit\) but 'X'; name one"):
        read_rows(write_h5ad(tmp_path / "y.h5ad", X), schema)
    with pytest.raises(DataError, match="the AnnData has no layer 'counts'"):
        rows_under(annotated(X), schema)
    with pytest.raises(DataError, match="array goes with a file or an AnnData"):
        dataset_of(X, array="counts")


def test_genes_that_are_seen_in_every_cell_are_counts_too(tmp_path):
    data = read_file(write_h5ad(tmp_path / "x.h5ad", X + 50))
    assert data.kind == "counts"
    table = read_file(write_h5ad(tmp_path / "y.h5ad", np.where(np.arange(8) == 2, 5000, X + 50)), kind="table")
    assert [item.name for item in table.schema.left_out] == ["gene1", "gene2"]  # one never varies in X
    np.testing.assert_array_equal(table.schema.laid_out(table.x_test), table.x_test)
    frame = pandas.DataFrame({"obs": [1.0, 2.5, 4.0], "kind": ["a", "b", "a"]})
    np.testing.assert_array_equal(rows_under(frame, dataset_of(frame, "kind").schema).y, [0, 1, 0])


def test_10x_folders(tmp_path):
    features = [(f"ENSG{i}", "TWIN" if i < 2 else f"gene{i}", "Gene Expression") for i in range(7)]
    features.append(("AB1", "antibody", "Antibody Capture"))
    plain = write_10x(tmp_path / "plain", X, features)
    packed = write_10x(tmp_path / "packed", X, features, end=".gz")
    for folder in (plain, packed):
        data = read_file(folder)
        assert data.feature_names == ("TWIN (ENSG0)", "TWIN (ENSG1)", *GENES[2:7])
        np.testing.assert_array_equal(data.x_train, X[data.train_numbers, :7])
        assert any("1 features" in note and "Gene Expression" in note for note in data.notes)
    (plain / "barcodes.tsv").unlink()
    with pytest.raises(DataError, match=r"has no barcodes.tsv"):
        read_file(plain)
    (plain / "barcodes.tsv").write_text("one\n")
    with pytest.raises(DataError, match="is 8 x 40 and there are 8 features and 1 barcodes"):
        read_file(plain)


@pytest.mark.parametrize(
    "x, genes, message",
    [
        (np.log1p(X), GENES, r"which is no count; expected 0, 1, 2, …: name a layer of counts with array=NAME"),
        (X - 1, GENES, "holds -1, which is no count"),
        (np.where(X == 0, np.nan, X), GENES, "holds nan, which is no count"),
        (X * 1e30, GENES, "which is no count"),
        (scipy.sparse.csr_matrix(X / 2), GENES, "holds 0.5, which is no count"),
        (X, ["gene1", *GENES[1:]], "has two genes named 'gene1'"),
        (X, GENES[1:], r"has shape \(40, 8\) and 7 names of genes"),
    ],
)
def test_what_is_no_table_of_counts_is_one_sentence(tmp_path, x, genes, message):
    path = write_h5ad(tmp_path / "x.h5ad", x, genes=genes)
    for road in (lambda: dataset_of(annotated(x, genes=genes)), lambda: read_file(path)):
        with pytest.raises(DataError, match=message) as caught:
            road()
        assert len(str(caught.value)) <= 300


def test_damaged_files_are_one_sentence(tmp_path):
    path = write_h5ad(tmp_path / "x.h5ad", scipy.sparse.csr_matrix(X))
    with h5py.File(path, "a") as file:
        file["X/indices"][0] = 99
    with pytest.raises(DataError, match="is not a readable"):
        read_file(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="is not a readable"):
        read_file(path)
    with pytest.raises(DataError, match=r"obs of y.h5ad has no 'kind'"):
        read_file(write_h5ad(tmp_path / "y.h5ad", X), label="kind")
